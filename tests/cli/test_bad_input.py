"""Wrong files of vectors, tables and indexes on the command line: a sentence, status 2, no file left."""

import gzip
import struct

import pytest

import unrolled as ur

ROW = struct.pack("<2f", 1, 2)
VECTORS = {
    "counts of 10^12": (b"1000000000000 2\na 1 2\n", "promises 1,000,000,000,000 words but 1 follow"),
    "a width of 10^12": (b"2 1000000000000\na 1 2\n", "promises 2 words of dimension 1000000000000"),
    "10^12 in binary": (
        b"1000000000000 2\na " + ROW,
        "promises 1,000,000,000,000 words of dimension 2 but",
    ),
    "negative counts": (b"-3 2\na 1 2\n", "promises -3 words of dimension 2; wanted at least 1"),
    "a negative width": (b"3 -2\na 1 2\n", "promises 3 words of dimension -2; wanted at least 1"),
    "no numbers": (b"many wide\na 1 2\n", "the first line is 'many wide'; wanted a header of two counts"),
    "unequal rows": (b"a 1 2\nb 1 2 3\n", "row 2 (line 2 of the file, blank lines apart) has 3 numbers"),
    "NaN": (b"a 1 2\nb nan 1\n", "row 2 (line 2 of the file, blank lines apart) holds 'nan'"),
    "NaN in binary": (
        b"1 2\na " + struct.pack("<2f", 1, float("nan")),
        "vector of 'a' (number 1) holds nan",
    ),
    "a word twice": (b"a 1 2\nb 1 2\na 3 4\n", "'a' is there twice, as number 1 and number 3"),
    "cut text": (b"3 2\na 1 2\nb 1", "row 2 (line 3 of the file, blank lines apart) has 1 numbers"),
    "cut binary": (b"2 2\na " + ROW + b"b " + ROW[:5], "promises 2 words of dimension 2 but 1 follow"),
    "cut gzip": (gzip.compress(b"a 1 2\n" * 5000)[:-20], "truncated or damaged gzip"),
    "fastText's own": (b"\xba\x16\x4f\x2f\x0c\0\0\0", "a fastText model (.bin), not a table of words"),
}
TABLES = {
    "no rows": ("text,label\n", "t.csv has no rows"),
    "empty": ("", "t.csv has no rows"),
    "no such column": ("texts,label\na,b\n", "t.csv has no column 'text'; its first line has texts, label"),
    "a column twice": ("text,text,label\na,b,c\n", "t.csv has more than one column 'text'"),
    "an uneven row": ("text,label\na,b\na\n", "t.csv, line 3: 1 columns; wanted 2"),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_wrong_file_of_vectors(refused, tmp_path, name):
    content, message = VECTORS[name]
    (tmp_path / "v").write_bytes(content)
    (tmp_path / "q").write_text("a b c d\n")
    for command in (
        ["nearest", "v", "a"],
        ["evaluate", "v", "--analogies", "q"],
        ["map", "v", "-o", "m.html"],
    ):
        assert message in refused("vectors", *command)


def test_words_that_are_not_utf8_under_strict(refused, tmp_path):
    (tmp_path / "v").write_bytes(b"caf\xe9 1 2\na 1 2\n")
    for command in (["nearest", "v", "a"], ["map", "v", "-o", "m.html"]):
        assert "word number 1, b'caf\\xe9', is not UTF-8" in refused("vectors", *command, "--strict")


@pytest.mark.parametrize("name", TABLES)
def test_a_wrong_table(refused, tmp_path, name):
    content, message = TABLES[name]
    (tmp_path / "t.csv").write_text(content)
    columns = ["--text", "text", "--label", "label"]
    for command in (
        ["vectors", "train", "word2vec", "t.csv", "-o", "v.txt", "--column", "text"],
        ["compare-inputs", "t.csv", *columns],
        ["train", "classify", "t.csv", "--out", "m", *columns],
        ["train", "language", "t.csv", "--out", "m", "--column", "text"],
    ):
        assert message in refused(*command)


def test_an_index_of_another_source(refused, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"the text of {name}\n" * 20)
    ur.text.Index.build(
        tmp_path / "one.txt", place=tmp_path / "i", unit="character", min_count=1, unknown=None
    )
    command = ("train", "language", "two.txt", "--out", "m", "--index", "i", "--steps", 1)
    assert "i is the index of another source" in refused(*command)
    (tmp_path / "i").write_bytes((tmp_path / "i").read_bytes()[:-9])
    assert "i is not an index of unrolled, or truncated" in refused(*command)
