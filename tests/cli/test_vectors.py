"""The commands about word vectors as a user runs them."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import unrolled as ur
from unrolled.cli import main


@pytest.fixture
def here(monkeypatch, capsys, tmp_path):
    """Runs a command in this process; gives status, output and errors."""

    def run_here(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["unrolled", "vectors", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        printed, errors = capsys.readouterr()
        return exited.value.code, printed, errors

    return run_here


WORDS = ["man", "king", "woman", "queen", "한국어", "</script>{{BELOW}}", "$x$"]


@pytest.fixture
def file(tmp_path):
    matrix = np.array([(1, 0), (1, 1), (0, 0.1), (0.1, 1), (-1, 0), (0, -1), (-1, -1)], dtype=np.float32)
    ur.vectors.write(ur.vectors.WordVectors(WORDS, matrix), tmp_path / "v.txt")
    return tmp_path / "v.txt"


def test_nearest_and_analogy(here, file):
    status, printed, _ = here("nearest", file, "man", "-n", 2)
    assert status == 0
    assert printed.splitlines() == [" 0.7071  king", " 0.0995  queen"]
    status, printed, _ = here("nearest", file, "man", "king", "woman", "-n", 1)
    assert printed.split()[1] == "queen"
    assert here("analogy", file, "man", "king", "woman", "-n", 1) == (0, printed, "")
    assert here("analogy", file, "man", "king", "nobody")[::2] == (
        2,
        "unrolled: the word 'nobody' is not among the 7 words of these vectors\n",
    )


def test_evaluate_prints_scores_coverage_intervals_and_protocol(here, file, tmp_path):
    (tmp_path / "a.txt").write_text(": family\nman king woman queen\nman king aunt queen\n")
    (tmp_path / "s.tsv").write_text("man\tking\t9\nman\tqueen\t5\nman\t한국어\t1\nman\twoman\t2\n")
    status, printed, _ = here("evaluate", file, "--analogies", "a.txt", "--similarity", "s.tsv")
    assert status == 0
    assert re.search(r"family\W+1\.000\W+0\.207–1\.000\W+1\W+2 \(50 %\)", printed)
    assert "Spearman's ρ" in printed
    assert "protocol: all words, letter case ignored, items with an unknown word left out" in printed
    _, printed, _ = here("evaluate", file, "--analogies", "a.txt", "--missing", "wrong", "--case")
    assert re.search(r"family\W+0\.500", printed)
    assert "letter case kept, items with an unknown word counted as wrong" in printed


@pytest.mark.parametrize("ending", ["html", "png", "svg"])
def test_a_map_is_drawn(here, file, tmp_path, ending):
    if ending != "html":
        pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    status, printed, errors = here("map", file, "-o", f"map.{ending}")
    assert (status, printed) == (0, f"drew 7 words into map.{ending}\n"), errors
    content = (tmp_path / f"map.{ending}").read_bytes()
    if ending == "png":
        assert content.startswith(b"\x89PNG")
    if ending == "html":
        page = content.decode()
        data = re.search(r'<script id="words" type="application/json">(.*?)</script>', page)
        assert data is not None
        assert [word for word, _, _ in json.loads(data[1])] == WORDS
        assert page.count("{{") == 1
        assert page.count("<title>v.txt</title>") == page.count("<h1>v.txt</h1>") == 1
        assert not re.search(r"(src|href)=", page)


def test_no_word_breaks_out_of_the_map(tmp_path):
    from unrolled.see.map import draw_map

    words = ["<!--<script>", "</script>", "&lt;"]
    vectors = ur.vectors.WordVectors(words, np.eye(3, dtype=np.float32))
    draw_map(vectors, tmp_path / "m.html")
    page = (tmp_path / "m.html").read_text()
    data = re.search(r'<script id="words" type="application/json">(.*?)</script>', page)
    assert data is not None
    assert "<" not in data[1]
    assert [word for word, _, _ in json.loads(data[1])] == words


def test_the_map_is_the_plane_of_most_variance():
    from unrolled.see.map import flat

    random = np.random.default_rng(0)
    matrix = random.normal(size=(40, 6)).astype(np.float32)
    vectors = ur.vectors.WordVectors([f"w{i}" for i in range(40)], matrix)
    places, share = flat(vectors, 30)
    rows = matrix[:30] / np.linalg.norm(matrix[:30], axis=1, keepdims=True)
    rows -= rows.mean(0)
    _, values, _ = np.linalg.svd(rows)
    assert share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum(), rel=1e-4)
    assert np.sort((places**2).sum(0))[::-1] == pytest.approx(values[:2] ** 2, rel=1e-4)
    assert flat(ur.vectors.WordVectors(["a", "b", "c"], np.eye(3, 1, dtype=np.float32)), 3)[0].shape == (
        3,
        2,
    )


TEXT = "\n".join(" ".join(f"w{(i * j) % 17}" for j in range(1, 12)) for i in range(400))


def test_training_leaves_a_file_that_is_read(here, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    status, printed, errors = here("train", "word2vec", "text.txt", "-o", "w.bin", "--dimension", 8)
    assert status == 0, errors
    assert "done after" in printed
    assert "unrolled vectors nearest w.bin w" in printed
    vectors = ur.vectors.read(tmp_path / "w.bin")
    assert vectors.matrix.shape == (17, 8)
    _, printed, _ = here("train", "glove", "text.txt", "-o", "g.safetensors", "--epochs", 2)
    assert ur.vectors.read(tmp_path / "g.safetensors").dimension == 100
    assert "loss" in printed


def test_vectors_are_learned_from_tables_folders_and_several_files(here, tmp_path):
    lines = TEXT.splitlines()
    rows = "".join(f"1\t{line}. W1! cafe\u0301\n" for line in lines)
    (tmp_path / "t.tsv").write_text(f"id\ttext\n{rows}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("\n".join(lines[:200]))
    (tmp_path / "b.gz").write_bytes(gzip.compress("\n".join(lines[200:]).encode()))
    options = ("-o", "w.txt", "--dimension", 4, "--epochs", 1, "--overwrite")
    for corpus, words in {
        ("folder", "b.gz"): {f"w{i}" for i in range(17)},
        ("t.tsv", "--column", "text"): {"W1!"},
        ("t.tsv", "--column", "text", "--lower"): {"w1!"},
        # As train reads words: in NFC.
        ("t.tsv", "--column", "text", "--unit", "word", "--lower"): {"!", ".", "w0", "w1", "café"},
    }.items():
        status, _, errors = here("train", "word2vec", *corpus, *options)
        assert status == 0, errors
        found = set(ur.vectors.read(tmp_path / "w.txt").words)
        assert words <= found
        assert ("w1!" in found) == ("w1!" in words)
    assert not list(tmp_path.glob("*.checkpoint"))


def test_vectors_that_are_there_are_replaced_only_when_asked(here, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "w.txt").write_text("mine")
    again = ("train", "word2vec", "text.txt", "-o", "w.txt", "--dimension", 4, "--epochs", 1)
    status, _, errors = here(*again)
    assert (status, errors.count("\n")) == (2, 1)
    assert "w.txt already holds vectors; choose another name, or say --overwrite" in errors
    assert (tmp_path / "w.txt").read_text() == "mine"
    (tmp_path / "w.txt.checkpoint").write_bytes(b"unfinished")
    assert "holds an unfinished training" in here(*again)[2]
    status, _, errors = here(*again, "--overwrite")
    assert status == 0, errors
    assert len(ur.vectors.read(tmp_path / "w.txt")) == 17
    assert not (tmp_path / "w.txt.checkpoint").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")
def test_ctrl_c_keeps_what_was_learned(here, tmp_path):
    (tmp_path / "text.txt").write_text(f"{TEXT}\n" * 20)
    command = [sys.executable, "-m", "unrolled", "vectors", "train", "word2vec", "text.txt", "-o", "w.txt"]
    process = subprocess.Popen(
        [*command, "--epochs", "3000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "COLUMNS": "200"},
    )
    assert process.stdout is not None
    seen = ""
    while "words/s" not in seen:
        character = process.stdout.read(1)
        assert character, process.stderr.read() if process.stderr else ""
        seen += character
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "stopped at" in printed
    assert "Traceback" not in errors
    assert len(ur.vectors.read(tmp_path / "w.txt")) == 17
    assert "--resume goes on" in printed
    assert (tmp_path / "w.txt.checkpoint").exists()
    status, _, errors = here("train", "word2vec", "text.txt", "-o", "w.txt", "--resume")
    assert (status, errors.count("\n")) == (2, 1)
    assert "is a training with epochs 3000, not 5; give what it began with" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nearest", "nowhere", "a"], "cannot read nowhere"),
        (["nearest", "{file}", "prince"], "'prince' is not among the 7 words"),
        (["nearest", "{file}", "man", "king"], "got 2 words; wanted one, or three"),
        (["nearest", "{file}", "man", "-n", "0"], "count is 0"),
        (["nearest", "{bad}", "a"], "row 2 (line 2 of the file, blank lines apart) has 1 numbers"),
        (["nearest", "{latin}", "a", "--strict"], "is not UTF-8"),
        (["evaluate", "{file}"], "nothing to evaluate by"),
        (["evaluate", "{file}", "--analogies", "{file}"], "wanted four"),
        (["evaluate", "{file}", "--similarity", "nowhere"], "cannot read nowhere"),
        (["evaluate", "{file}", "--similarity", "{file}", "--restrict", "2"], "restrict is 2"),
        (["map", "{file}", "-o", "m.gif"], "maps are .html"),
        (["map", "{file}", "--words", "2"], "wanted at least 3"),
        (["map", "{file}", "-o", "/proc/nowhere/m.html"], "cannot write /proc/nowhere"),
        (["train", "word2vec", "nowhere", "-o", "w.txt"], "cannot read nowhere"),
        (["train", "word2vec", "{file}", "-o", "w.model"], "its ending tells no format"),
        (["train", "word2vec", "{file}", "-o", "w.txt"], "no word of the corpus comes 5 times"),
        (["train", "word2vec", "{file}", "-o", "/proc/nowhere/w.txt"], "cannot write /proc/nowhere"),
        (["train", "word2vec", "{file}", "-o", "w.txt", "--architecture", "lstm"], "'lstm' is not one of"),
        (["train", "glove", "{file}", "-o", "w.txt", "--memory", "nan"], "memory is nan GiB"),
        (["train", "glove", "{latin}", "-o", "w.txt"], "not UTF-8 text"),
        (["train", "glove", "{file}", "-o", "w.txt", "--resume"], "nothing to resume"),
        (["train", "glove", "{file}", "-o", "w.txt", "--checkpoint-every", "0"], "every 0.0 seconds"),
        (["train", "glove", "{file}", "-o", "w.txt", "--unit", "jamo"], "'jamo' is neither"),
        (["train", "glove", "{file}", "-o", "w.txt", "--column", "a"], "has no column 'a'"),
        (["train", "glove", "{table}", "-o", "w.txt", "--column", "text"], "has no rows"),
        (["train", "glove", "{table}", "-o", "w.txt", "--column", "txet"], "has no column 'txet'"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_status_2(here, file, tmp_path, arguments, message):
    (tmp_path / "bad").write_text("a 1 2\nb 1\n")
    (tmp_path / "latin").write_bytes(b"caf\xe9 1 2\n")
    (tmp_path / "t.csv").write_text("text,label\n")
    before = sorted(tmp_path.iterdir())
    places = {
        "file": file,
        "bad": tmp_path / "bad",
        "latin": tmp_path / "latin",
        "table": tmp_path / "t.csv",
    }
    status, _, errors = here(*(a.format(**places) for a in arguments))
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert errors.startswith("unrolled: ")
    assert sorted(tmp_path.iterdir()) == before


def test_words_that_are_not_utf8_are_said(here, tmp_path):
    (tmp_path / "latin").write_bytes(b"caf\xe9 1 2\na 1 2\n")
    status, printed, errors = here("nearest", tmp_path / "latin", "a")
    assert (status, printed) == (0, " 1.0000  caf\\xe9\n")
    assert "1 words are not UTF-8" in errors
