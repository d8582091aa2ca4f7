import json
import multiprocessing
import os
import struct

import numpy as np
import pytest

from unrolled import Error
from unrolled.text import Corpus, Index, Vocabulary, reading
from unrolled.text.units import UNITS

TEXT = "Hello, 나는 학생이다.\n\nOne two  three\r\nfour 👍🏽 five\n각 last without"


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "text.txt"
    place.write_bytes(TEXT.encode())
    return place


@pytest.mark.parametrize("block", [3, 1 << 20])
@pytest.mark.parametrize("unit", UNITS)
def test_numbers_windows_and_sentences_are_those_of_the_text(file, unit, block, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", block)
    index = Index.build(file, unit=unit)
    whole = index.vocabulary.numbers(TEXT)
    assert index.numbers.tolist() == whole.tolist()
    assert index.window(2, 5).tolist() == whole[2:7].tolist()
    *lines, last = TEXT.split("\n")
    rows = [index.vocabulary.numbers(line + "\n").tolist() for line in lines]
    rows.append(index.vocabulary.numbers(last).tolist())
    assert [index.sentence(i).tolist() for i in range(len(index.ends))] == rows
    assert index.lengths().tolist() == [len(row) for row in rows]


def test_it_is_built_once_and_again_when_the_source_changes(file, monkeypatch):
    first = Index.build(file)
    with monkeypatch.context() as patch:
        patch.setattr(Vocabulary, "from_corpus", lambda *a, **k: pytest.fail("it is there already"))
        assert Index.build(file).path == first.path
    assert Index.build(file, unit="byte").path != first.path
    file.write_bytes(TEXT.encode() + b"x")
    assert len(Index.build(file)) == len(first) + 1


def test_many_files_and_columns_are_one_corpus(tmp_path, file):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.txt").write_text("no line feed")
    (tmp_path / "a" / "2.txt").write_text("two\nlines\n")
    index = Index.build(tmp_path / "a")
    assert [index.vocabulary.decode(index.sentence(i).tolist()) for i in range(3)] == [
        "no line feed",
        "two\n",
        "lines\n",
    ]
    table = tmp_path / "t.csv"
    table.write_text('id,text\n1,"one, two"\n2,three\n')
    index = Index.build(table, column="text", unit="word")
    assert [index.vocabulary.decode(row.tolist()) for row in map(index.sentence, (0, 1))] == [
        "one , two",
        "three",
    ]
    assert Corpus(table, column="text").fingerprint() != Corpus(table, column="id").fingerprint()


def test_a_vocabulary_decides_the_type_and_what_is_unknown(file):
    vocabulary = Vocabulary(map(chr, range(1, 300)), unknown="?")
    index = Index.build(file, vocabulary=vocabulary)
    assert index.numbers.dtype == np.int16
    assert index.numbers.tolist() == vocabulary.encode(TEXT).tolist()
    with pytest.raises(Error, match="is not among the 1 symbols"):
        Index.build(file, vocabulary=Vocabulary("H"))
    assert not list(file.parent.glob("cache/.*")), "nothing half-written"


def test_an_index_of_another_source_is_refused(file, tmp_path):
    place = tmp_path / "there.index"
    Index.build(file, place=place)
    other = tmp_path / "other.txt"
    other.write_text("something else")
    with pytest.raises(Error, match=r"there\.index is the index of another source"):
        Index.build(other, place=place)
    os.utime(file, ns=(1, 1))
    with pytest.raises(Error, match="an earlier state of it"):
        Index.build(file, place=place)


def _build(file, place, barrier, found):
    barrier.wait()
    found.put(Index.build(file, place=place).numbers.sum())


def test_two_processes_may_build_it_at_once(file, tmp_path):
    file.write_bytes(TEXT.encode() * 2000)
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(2), context.Queue()
    place = tmp_path / "both.index"
    several = [context.Process(target=_build, args=(file, place, barrier, found)) for _ in range(2)]
    for process in several:
        process.start()
    sums = [found.get(timeout=60) for _ in several]
    for process in several:
        process.join()
        assert process.exitcode == 0
    assert sums[0] == sums[1] == Index(place).numbers.sum()
    assert [p.name for p in tmp_path.glob("*both*")] == ["both.index"]


def _damaged(content, name):
    length = struct.unpack("<Q", content[-8:])[0]
    header = json.loads(content[-8 - length : -8])
    if name in header:
        header[name] = {"symbols": 10**12, "sentences": -1, "dtype": "float64"}[name]
        text = json.dumps(header).encode()
        return content[: -8 - length] + text + struct.pack("<Q", len(text))
    return {
        "empty": b"",
        "text": b"some text",
        "cut": content[:-20],
        "deep": content[: -8 - length] + b"[" * 100_000 + struct.pack("<Q", 100_000),
        "length": content[:-8] + struct.pack("<Q", 10**12),
        "middle": content[:20] + content[40:],
    }[name]


@pytest.mark.parametrize(
    "name", ["symbols", "sentences", "dtype", "empty", "text", "cut", "deep", "length", "middle"]
)
def test_a_wrong_index_is_one_sentence(file, tmp_path, name):
    place = tmp_path / "x.index"
    Index.build(file, place=place)
    place.write_bytes(_damaged(place.read_bytes(), name))
    with pytest.raises(Error, match=r"x\.index is no.*remove it"):
        Index.build(file, place=place)


def test_windows_and_sentences_outside_are_refused(file):
    index = Index.build(file)
    with pytest.raises(Error, match="wanted one within 0 to"):
        index.window(len(index) - 1, 2)
    with pytest.raises(Error, match="no sentence -1"):
        index.sentence(-1)
