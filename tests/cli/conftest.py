"""What the tests of the commands share."""

import sys

import pytest

from unrolled.cli import main


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Runs a command that must be refused in one sentence and leave the folder as it was; the sentence."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["unrolled", *map(str, arguments)])
        before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
        with pytest.raises(SystemExit) as exited:
            main()
        errors = capsys.readouterr().err
        assert exited.value.code == 2, errors
        assert errors.startswith("unrolled: ")
        assert errors.count("\n") == 1
        assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
        return errors

    return run


@pytest.fixture
def accepted(monkeypatch, capsys, tmp_path):
    """Runs a command in a folder of its own that must succeed; what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unrolled", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        printed, errors = capsys.readouterr()
        assert not exited.value.code, errors
        return printed

    return run
