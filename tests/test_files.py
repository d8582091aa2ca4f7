"""Files are whole or not there, and what a killed process left beside them does not stay."""

import os
import signal
import subprocess
import sys

import pytest

import unrolled as ur
from unrolled import files

WRITER = """
import sys
from pathlib import Path
from unrolled import files
with files.writing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing a file `big` into the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "big")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    yield process
    process.kill()
    process.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="locks and SIGKILL are POSIX's")
def test_what_a_killed_process_left_is_removed_and_nothing_else(writer, tmp_path):
    (tmp_path / ".mine.partial").write_bytes(b"of somebody else")
    (tmp_path / "model").write_bytes(b"old")
    before = names(tmp_path)
    assert len(before) == 3
    files.check_writable(tmp_path)
    files.write(tmp_path, {"model": b"new"})
    assert names(tmp_path) == before  # the other process still writes
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert names(tmp_path) == before
    files.check_writable(tmp_path)
    assert names(tmp_path) == [".mine.partial", "model"]
    assert (tmp_path / "model").read_bytes() == b"new"


@pytest.mark.skipif(os.name != "posix", reason="locks and SIGKILL are POSIX's")
def test_a_training_that_is_resumed_or_begun_anew_removes_it(writer, tmp_path):
    from unrolled.training import Options, Plan, train_language

    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert any(name.endswith(files.SUFFIX) for name in names(tmp_path))
    train_language("hello " * 50, tmp_path, Plan(steps=1), Options(hidden_size=4, window=8, batch=2))
    assert not any(name.endswith(files.SUFFIX) for name in names(tmp_path))


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
def test_a_file_swept_before_it_was_locked_is_made_again(monkeypatch, tmp_path):
    lock, swept = files.fcntl.flock, []

    def late(handle, how):
        if not swept:
            swept.append(handle)
            files.sweep(tmp_path)  # of another process, a moment too early
        lock(handle, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    files.write(tmp_path, {"a": b"1"})
    assert names(tmp_path) == ["a"]


def test_it_is_in_its_place_when_it_is_whole_and_for_whom_the_umask_lets(tmp_path):
    umask = os.umask(0o027)
    try:
        with files.writing(tmp_path / "new" / "file") as file:
            file.write(b"content")
            assert not (tmp_path / "new" / "file").exists()
    finally:
        os.umask(umask)
    assert names(tmp_path / "new") == ["file"]
    assert (tmp_path / "new" / "file").read_bytes() == b"content"
    if os.name == "posix":
        assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o640


def test_what_fails_leaves_the_old_file_and_no_other(tmp_path):
    (tmp_path / "file").write_bytes(b"old")

    def fail():
        with files.writing(tmp_path / "file") as file:
            file.write(b"new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"
    with pytest.raises(ur.Error, match="nothing there was changed"):
        files.write(tmp_path / "file", {"a": b"1"})
