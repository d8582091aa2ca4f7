"""The commands as a user runs them: another process, real files."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import unrolled as ur
from unrolled.cli import main

TEXT = "the quick brown fox jumps over the lazy dog\n" * 60
SMALL = ["--hidden-size", "16", "--embedding-size", "8", "--batch", "4", "--window", "16"]


def run(*arguments, status=0, under=(), **options):
    command = [*under, sys.executable, "-m", "unrolled", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Runs the command here (a process of its own takes seconds), wants status 2 and one sentence."""

    def run_here(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["unrolled", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        printed, errors = capsys.readouterr()
        assert exited.value.code == 2, errors
        assert errors.count("\n") == 1
        assert errors.startswith("unrolled: ")
        return printed, errors

    return run_here


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A text, and a model trained on it by the command."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT)
    done = run("train", "language", folder / "text.txt", "--out", folder / "model", "--steps", 40, *SMALL)
    assert "bits per character" in done.stdout
    assert f"unrolled generate {folder / 'model'}" in done.stdout.replace("\n", "")
    return folder


def test_the_lesson_prints_both_readings():
    printed = run("lesson").stdout
    for expected in ("[-0.7497, -0.6135]", "[-0.5282, -0.2473]", "[-0.5753, -0.0070]", "0 0 1 0"):
        assert expected in printed
    assert "batch 3 (words)   time 5 (letters)   feature 4" in printed


def test_training_leaves_a_model_that_is_used(trained, tmp_path):
    summary = json.loads((trained / "model" / "summary.json").read_text())
    assert summary["steps"] == 40
    arguments = ["generate", trained / "model", "--prompt", "the q", "--length", 12, "--seed", 1]
    first = run(*arguments).stdout
    assert first.startswith("the q")
    assert len(first) == 5 + 12 + 1
    assert first == run(*arguments).stdout
    assert run("generate", trained / "model", "--length", 0).stdout == "\n"
    run("show", trained / "model", "the fox", "-o", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("unit", "known", "numbers", "prompt", "expected"),
    [
        ("byte", "", list("é€".encode()), "a", "aé€"),
        ("jamo", "각", [0, 1, 2], "각", "각각"),
        ("word", "to be", [1, 0, 1], "to", "to be to be"),
        ("word", "to be", [1, 0, 1], "to\n", "to\nbe to be"),
    ],
)
def test_what_is_written_is_text_for_every_unit(
    tmp_path, monkeypatch, capsys, unit, known, numbers, prompt, expected
):
    ur.LanguageModel(ur.Vocabulary(known, unit=unit), hidden_size=4).save(tmp_path)
    written = (ur.LanguageModel.load(tmp_path).vocabulary.symbols[i] for i in numbers)
    monkeypatch.setattr(ur.LanguageModel, "generate", lambda *a, **k: written)
    monkeypatch.setattr(sys, "argv", ["unrolled", "generate", str(tmp_path), "--prompt", prompt])
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == 0
    assert capsys.readouterr().out == expected + "\n"


def test_the_demo_does_all_of_it(tmp_path):
    begin = time.monotonic()
    printed = run("demo", "--seconds", 4, cwd=tmp_path).stdout
    assert time.monotonic() - begin < 100
    assert "[-0.5753, -0.0070]" in printed
    assert "before training it writes" in printed
    assert "after training it writes" in printed
    assert "unrolled train language FILE --out DIR" in printed
    assert (tmp_path / "unrolled-demo" / "picture.png").read_bytes().startswith(b"\x89PNG")
    ur.LanguageModel.load(tmp_path / "unrolled-demo")


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_with_the_best_model_saved(tmp_path, number):
    (tmp_path / "text.txt").write_text(TEXT)
    command = [sys.executable, "-m", "unrolled", "train", "language", "text.txt", "--out", "model"]
    command += ["--minutes", "60", "--checkpoint-every", "0.2", *SMALL]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list((tmp_path / "model").glob("checkpoint*")) and process.poll() is None:
        time.sleep(0.1)  # until it is in the middle of training
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "stopped after" in printed
    assert "Traceback" not in errors
    ur.LanguageModel.load(tmp_path / "model")


def spoil(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


WRONG_TEXTS = {
    "empty": (b"", "is empty"),
    "binary": (bytes(range(256)) * 20, "is not UTF-8 text"),
    "nul": (b"abc\0def" * 100, "NUL character at position 3"),
    "short": (b"too short", "fewer than one window"),
}


@pytest.mark.parametrize("name", WRONG_TEXTS)
def test_a_wrong_text_is_one_sentence_and_status_2(tmp_path, refused, name):
    content, message = WRONG_TEXTS[name]
    file = spoil(tmp_path, name, content)
    _, errors = refused("train", "language", file, "--out", tmp_path / "model", "--steps", 1)
    assert message in errors
    assert not (tmp_path / "model").exists()


WRONG_OPTIONS = [
    (["--hidden-size", "0"], "hidden_size must be greater than zero"),
    (["--layers", "0"], "num_layers must be greater than zero"),
    (["--dropout", "2"], "dropout is 2.0"),
    (["--cell", "x"], "cell 'x' is not one of"),
    (["--minutes", "0"], "minutes is 0"),
    (["--minutes", "1"], "either a number of minutes or a number of steps"),
    (["--device", "toaster"], "device 'toaster'"),
    (["--device", "meta"], "device 'meta' cannot be used here"),
    (["--seed", str(2**63)], "training: seed is 9223372036854775808"),
    (["--hidden-size", "3000000"], "too little memory"),
    (["--out", "text.txt"], "cannot write text.txt: it is a file; wanted a folder"),
    (["--out", "/proc/nowhere"], "cannot write /proc/nowhere"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
def test_a_wrong_option_is_one_sentence_and_status_2(tmp_path, refused, options, message):
    spoil(tmp_path, "text.txt", TEXT.encode())
    steps = [] if options == ["--minutes", "0"] else ["--steps", "1"]
    arguments = ["train", "language", "text.txt", "--out", "model", *steps, *SMALL, *options]
    _, errors = refused(*arguments)
    assert message in errors
    assert (tmp_path / "text.txt").read_text() == TEXT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "nowhere"], "nowhere is not a folder"),
        (["generate", "."], "is not a model"),
        (["generate", "{model}", "--prompt", "é"], "symbol 'é' (U+00E9)"),
        (["generate", "{model}", "--prompt", ""], "prompt has no symbols"),
        (["generate", "{model}", "--temperature", "-1"], "temperature is -1"),
        (["generate", "{model}", "--top-k", "0"], "top_k is 0"),
        (["generate", "{model}", "--seed", str(10**30)], "seed is 1000000"),
        (["show", "{model}", ""], "the text is empty"),
        (["show", "{model}", "fox", "-o", "a.jpeg"], "pictures are"),
        (["show", "{model}", "fox", "-o", "/proc/nowhere/a.png"], "cannot write /proc/nowhere"),
        (["show", "nowhere", "fox"], "nowhere is not a folder"),
        (["train", "language", "nowhere", "--out", "m"], "cannot read nowhere"),
        (["train", "language", "{model}", "--out", "m"], "no file here ends in .txt"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_status_2(trained, refused, arguments, message):
    arguments = [a.replace("{model}", str(trained / "model")) for a in arguments]
    printed, errors = refused(*arguments)
    assert message in errors
    assert printed.strip() == ""


def test_a_wrong_call_in_a_process_of_its_own(tmp_path):
    done = run("generate", "nowhere", status=2, cwd=tmp_path)
    assert done.stderr.startswith("unrolled: nowhere is not a folder")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes are POSIX's")
def test_a_full_disk_leaves_the_model_that_was_there(trained, tmp_path):
    """A limit on file sizes stands for the full disk: the system refuses to write on."""
    folder = tmp_path / "model"
    ur.LanguageModel.load(trained / "model").save(folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    arguments = ["train", "language", trained / "text.txt", "--out", folder, "--overwrite", "--steps", 5]
    limited = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh"]  # blocks of 512 bytes
    done = run(*arguments, *SMALL, status=2, under=limited)
    assert re.search(r"cannot write .*: File too large; nothing there was changed", done.stderr)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_the_version_and_the_help():
    assert run("--version").stdout.strip() == ur.__version__
    assert "lesson" in run("--help").stdout
    assert run(status=2).stdout != ""
