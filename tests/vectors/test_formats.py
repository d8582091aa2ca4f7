"""Files of vectors: what is written comes back, what others wrote is read, what is wrong is refused."""

import gzip
import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import unrolled as ur
from unrolled.vectors import stream
from unrolled.vectors.formats import SUFFIXES

WORDS = ["the", "naïve", "한국어", "don't", "😀", "0.5", "</s>", ","]


def table(words=WORDS, dimension=5, seed=0):
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(len(words), dimension)).astype(np.float32)
    return ur.vectors.WordVectors(words, matrix)


def same(a, b):
    return a.words == b.words and a.matrix.dtype == np.float32 and np.array_equal(a.matrix, b.matrix)


@pytest.mark.parametrize(
    ("format", "packed"),
    [(f, p) for f in ur.vectors.FORMATS for p in ("", ".gz") if f + p != "safetensors.gz"],
)
def test_every_format_brings_back_the_same_bits(tmp_path, format, packed):
    for dimension in (1, 5, 33):
        vectors = table(dimension=dimension)
        place = tmp_path / f"v{packed}"
        ur.vectors.write(vectors, place, format)
        assert same(ur.vectors.read(place), vectors)


@pytest.mark.parametrize("format", ["word2vec-text", "glove", "word2vec-binary"])
def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path, format):
    vectors, place = table(), tmp_path / "v"
    ur.vectors.write(vectors, place, format)
    place.write_bytes(b"\xef\xbb\xbf" + place.read_bytes())
    assert same(ur.vectors.read(place), vectors)


@pytest.mark.parametrize("ending", SUFFIXES)
def test_the_ending_tells_the_format(tmp_path, ending):
    vectors = table()
    ur.vectors.write(vectors, tmp_path / f"v{ending}")
    assert same(ur.vectors.read(tmp_path / f"v{ending}"), vectors)
    with pytest.raises(ur.Error, match="its ending tells no format"):
        ur.vectors.write(vectors, tmp_path / "v.pickle")
    with pytest.raises(ur.Error, match="format 'word2vec' is not one of"):
        ur.vectors.write(vectors, tmp_path / "v", "word2vec")
    with pytest.raises(ur.Error, match=r"leave out \.gz"):
        ur.vectors.write(vectors, tmp_path / "v.safetensors.gz")


def test_small_pieces_read_as_large_ones(tmp_path, monkeypatch):
    """Records that are cut by the end of a piece, a matrix that has to grow."""
    vectors = table([f"word{i}" for i in range(500)], 7)
    monkeypatch.setattr(stream, "PIECE", 100)
    for format in ("word2vec-binary", "word2vec-binary-gensim", "glove", "fasttext"):
        for name in ("v", "v.gz"):
            ur.vectors.write(vectors, tmp_path / name, format)
            assert same(ur.vectors.read(tmp_path / name), vectors)


def test_a_safetensors_matrix_is_mapped_and_any_reader_reads_it(tmp_path):
    vectors = table()
    ur.vectors.write(vectors, tmp_path / "v.safetensors")
    matrix = ur.vectors.read(tmp_path / "v.safetensors").matrix
    assert isinstance(matrix.base, np.memmap)
    assert not matrix.flags.writeable
    tensors = safetensors.numpy.load_file(tmp_path / "v.safetensors")
    assert np.array_equal(tensors["matrix"], vectors.matrix)
    assert json.loads(tensors["vocabulary"].tobytes()) == WORDS


def test_words_with_spaces_blank_lines_tabs_and_returns(tmp_path):
    (tmp_path / "v").write_bytes(b"a\t1  2 \r\n\n. . . 3 4\r\nat me@home 5 -6e0\n")
    vectors = ur.vectors.read(tmp_path / "v")
    assert vectors.words == ("a", ". . .", "at me@home")
    assert vectors.matrix.tolist() == [[1, 2], [3, 4], [5, -6]]
    with pytest.raises(ur.Error, match=r"cannot hold the word '\. \. \.'"):
        ur.vectors.write(vectors, tmp_path / "w", "glove")
    ur.vectors.write(vectors, tmp_path / "w", "safetensors")
    assert same(ur.vectors.read(tmp_path / "w"), vectors)


NUMBERS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-3e38, 3e38).map(repr),
    st.floats(-3e38, 3e38).map("{:.30e}".format),
    st.decimals(-1000, 1000, places=25).map("{:f}".format),
    st.from_regex(
        r"[+-]?([0-9]{1,30}(\.[0-9]{0,25})?|\.[0-9]{1,25})([eE][+-]?[0-2]?[0-9])?", fullmatch=True
    ),
)


def middles():
    """The middle between two float32, exactly, and a hair to either side: where rounding is hardest."""
    for x in np.random.default_rng(1).normal(size=50).astype(np.float32):
        middle = (float(x) + float(np.nextafter(x, np.float32(9)))) / 2
        for y in (middle, np.nextafter(middle, -9.0), np.nextafter(middle, 9.0)):
            yield f"{y:.60f}"
            yield repr(float(y))


def parsed(numbers, place):
    place.write_text(" ".join(["word", *numbers]))
    return ur.vectors.read(place).matrix[0]


@given(st.lists(NUMBERS.filter(lambda x: abs(float(x)) < 1e19), min_size=1, max_size=20))
def test_numbers_are_read_as_python_reads_them(tmp_path_factory, numbers):
    place = tmp_path_factory.getbasetemp() / "numbers.txt"
    expected = np.array([float(x) for x in numbers]).astype(np.float32)
    assert parsed(numbers, place).tobytes() == expected.tobytes()


def test_the_hardest_numbers_are_read_as_python_reads_them(tmp_path):
    numbers = [
        *middles(),
        "1e-45",
        "1e-46",
        "-0",
        "-0.0",
        "1e-400",
        "0e999999999",
        "1.17549435e-38",
        "+1e-39",
    ]
    expected = np.array([float(x) for x in numbers]).astype(np.float32)
    assert parsed(numbers, tmp_path / "v").tobytes() == expected.tobytes()


ROW = b"a 1 2\n"
WRONG = {
    "empty": (b"", "the file is empty"),
    "blank": (b"\n \n", "the file is empty"),
    "lying": (
        b"1000000000000 2\na 1 2\n",
        "promises 1,000,000,000,000 words but 1 follow; is the file trunc",
    ),
    "lying width": (b"1 1000000000000\na 1 2\n", "promises 1 words of dimension 1000000000000; wanted"),
    "other width": (b"1 3\na 1 2\n", "promises vectors of dimension 3, but the first one has 2"),
    "negative": (b"-5 2\na 1 2\n", "promises -5 words of dimension 2; wanted at least 1"),
    "zero": (b"0 2\n", "promises 0 words"),
    "no numbers": (b"five two\na 1 2\n", "the first line is 'five two'; wanted a header"),
    "header only": (b"5 2\n", "promises 5 words but no line follows"),
    "more": (b"1 2\na 1 2\nb 1 2\n", "promises 1 words but the file goes on"),
    "narrow": (
        b"a 1 2\nb 1\n",
        "row 2 (line 2 of the file, blank lines apart) has 1 numbers, the rows before",
    ),
    "wide": (b"2 2\na 1 2\nb 1 2 3\n", "row 2 (line 3 of the file, blank lines apart) has 3 numbers"),
    "cut": (b"a 1 2\nb 1 2\nc", "row 3 (line 3 of the file, blank lines apart) has 0 numbers"),
    "number": (b"a 1 2\nb 1 0x2\n", "row 2 (line 2 of the file, blank lines apart) holds '0x2' where"),
    "nan": (b"a 1 2\nb 1 NaN\n", "holds 'NaN'; wanted finite numbers"),
    "infinity": (b"a 1 2\nb -inf 1\n", "holds '-inf'; wanted finite numbers"),
    "too large": (b"a 1 2\nb 1e39 1\n", "the vector of 'b' (number 2) holds inf"),
    "twice": (b"a 1 2\nb 1 2\na 1 3\n", "the word 'a' is there twice, as number 1 and number 3"),
    "no word": (b"a 1 2\n 1 2\n", "row 2 (line 2 of the file, blank lines apart) begins with a space"),
    "long word": (b"a 1 2\n" + b"b" * 70000 + b" 1 2\n", "a word of more than 65536 bytes"),
    "binary": (bytes(range(256)) * 9, "no file of word vectors known here"),
    "cut binary": (
        b"2 2\na " + struct.pack("2f", 1, 2) + b"b \0\0\0",
        "promises 2 words of dimension 2 but 1 f",
    ),
    "lying binary": (b"999999999999 2\na " + struct.pack("2f", 1, 2), "promises 999,999,999,999 words of"),
    "wide binary": (
        b"1 1000000\na " + struct.pack("2f", 1, 2),
        "promises 1 words of dimension 1000000 but 0",
    ),
    "more binary": (b"1 2\na " + struct.pack("2f", 1, 2) + b"\nb \0", "the file goes on after as many"),
    "nan binary": (b"1 2\na " + struct.pack("2f", 1, np.nan), "the vector of 'a' (number 1) holds nan"),
    "no word binary": (b"2 2\na " + struct.pack("2f", 1, 2) + b" \0\0" * 9, "does not begin with a word"),
    "long binary": (
        b"2 1\na " + struct.pack("f", 1) + b"\0" * 70000,
        "does not begin with a word and a space",
    ),
    "pickle": (b"\x80\x04\x95" + b"\0" * 20, "a Python pickle"),
    "zip": (b"PK\x03\x04" + b"\0" * 20, "a zip archive"),
    "numpy": (b"\x93NUMPY\x01\0v\0", "a NumPy array"),
    "fasttext": (b"\xba\x16\x4f\x2f\x0c\0\0\0", "a fastText model (.bin), not a table of words"),
    "html": (b"<!DOCTYPE html>\n<html>", "a page of HTML"),
    "json": (b'{"a": [1, 2]}', "JSON text"),
    "cut gzip": (gzip.compress(ROW * 1000)[:-20], "truncated or damaged gzip"),
    "broken gzip": (b"\x1f\x8b\x08junkjunkjunk", "truncated or damaged gzip"),
    "gzipped empty": (gzip.compress(b""), "the file is empty"),
    "bzip2": (b"BZh91AY", "packed by bzip2"),
}


@pytest.mark.parametrize("newlines", [True, False])
def test_a_binary_file_ends_wherever_its_pieces_do(tmp_path, monkeypatch, newlines):
    place = tmp_path / "v.bin"
    end = b"\n" if newlines else b""
    place.write_bytes(b"2 2\n" + b"".join(w + b" " + struct.pack("2f", 1, 2) + end for w in (b"a", b"b")))
    size = place.stat().st_size
    for piece in range(size - 3, size + 3):
        monkeypatch.setattr("unrolled.vectors.stream.PIECE", piece)
        assert ur.vectors.read(place).words == ("a", "b")


@pytest.mark.parametrize("word", ["+-5", "9" * 5000])
def test_a_first_line_that_only_looks_like_a_header_is_a_row(tmp_path, word):
    (tmp_path / "v.txt").write_text(f"{word} 3\n")
    assert ur.vectors.read(tmp_path / "v.txt").words == (word,)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_sentence(tmp_path, name):
    content, message = WRONG[name]
    place = tmp_path / "vectors"
    place.write_bytes(content)
    with pytest.raises(ur.Error) as caught:
        ur.vectors.read(place)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(place))
    assert "\n" not in str(caught.value)


def packed(matrix, words):
    return safetensors.numpy.save({"matrix": matrix, "vocabulary": np.frombuffer(words, np.uint8).copy()})


def test_a_wrong_safetensors_file_is_one_sentence(tmp_path):
    matrix = np.ones((2, 3), np.float32)
    good = packed(matrix, b'["a", "b"]')
    wrong = [
        (good[:-3], "truncated or not a safetensors file"),
        (good[:40], "truncated or not a safetensors file"),
        (gzip.compress(good), "unpack it with gunzip"),
        (safetensors.numpy.save({"matrix": matrix}), "wanted matrix and vocabulary"),
        (packed(matrix.astype(np.float64), b'["a", "b"]'), "matrix is F64"),
        (packed(matrix[0], b'["a", "b"]'), "matrix is F32 of shape (3,)"),
        (packed(matrix, b'["a"]'), "1 words for a matrix of 2 rows"),
        (packed(matrix, b'["a", "a"]'), "'a' is there twice"),
        (packed(matrix, b'["a", 1]'), "not a list of strings"),
        (packed(matrix, b'["a"'), "not JSON"),
        (packed(matrix, b"[" * 100_000), "not JSON"),
        (packed(matrix * np.float32(np.nan), b'["a", "b"]'), "holds nan"),
    ]
    for content, message in wrong:
        (tmp_path / "v").write_bytes(content)
        with pytest.raises(ur.Error) as caught:
            ur.vectors.read(tmp_path / "v")
        assert message in str(caught.value)


@pytest.mark.parametrize("binary", [False, True])
def test_words_that_are_not_utf8_are_counted_or_refused(tmp_path, binary):
    rows = [b"caf\xe9", b"caf\xe8", "café".encode(), b"a"]
    values = (lambda: struct.pack("2f", 0, 1e-40)) if binary else (lambda: b"1 2\n")
    (tmp_path / "v").write_bytes(b"4 2\n" + b"".join(word + b" " + values() for word in rows))
    with pytest.warns(UserWarning, match="2 words are not UTF-8"):
        vectors = ur.vectors.read(tmp_path / "v")
    assert vectors.words == (r"caf\xe9", r"caf\xe8", "café", "a")
    assert vectors.replaced == 2
    with pytest.raises(ur.Error, match=r"word number 1, .* is not UTF-8"):
        ur.vectors.read(tmp_path / "v", strict=True)


@pytest.mark.skipif(os.name != "posix", reason="limits on memory are POSIX's")
def test_memory_is_not_taken_on_a_headers_word(tmp_path):
    """10^12 words of 10^6 numbers promised in text, binary and gzip: 64 MiB more must do."""
    pytest.importorskip("resource")
    promise = b"1000000000000 1000000\na 1 2\n"
    for name, content in {
        "text": promise,
        "binary": promise[:-4] + b"\0" * 3_000_000,
        "gzip": gzip.compress(promise[:-4] + b"\0" * 3_000_000),
    }.items():
        (tmp_path / name).write_bytes(content)
    code = (
        "import resource, sys, unrolled as ur, unrolled.vectors.parse\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)\n"
        "for name in sys.argv[1:]:\n"
        "    try: ur.vectors.read(name)\n"
        "    except ur.Error as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *(str(tmp_path / n) for n in ("text", "binary", "gzip"))],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout.count("promises") == 3, done.stdout + done.stderr


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    place = tmp_path / "v.txt"
    place.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unrolled.vectors.text.lines", fail)
    with pytest.raises(ur.Error, match="No space left on device; nothing there was changed"):
        ur.vectors.write(table(), place)
    assert [p.name for p in tmp_path.iterdir()] == ["v.txt"]
    assert place.read_text() == "old"


def test_published_slices_are_read(data):
    glove = ur.vectors.read(data / "glove_slice" / "glove.6B.50d.76words.txt")
    assert (len(glove), glove.dimension, glove.words[0]) == (76, 50, "the")
    assert glove["the"][:2] == pytest.approx([0.418, 0.24968])
    russian = ur.vectors.read(data / "word_vectors" / "crime-and-punishment.vec")
    assert (len(russian), russian.dimension, russian.words[0]) == (291, 5, "и")
    with pytest.raises(ur.Error, match="a fastText model"):
        ur.vectors.read(data / "word_vectors" / "crime-and-punishment.bin")
    text = ur.vectors.read(data / "word_vectors" / "high_precision.kv.txt")
    binary = ur.vectors.read(data / "word_vectors" / "high_precision.kv.bin")
    assert text.words == binary.words == ("kangaroo.n.01", "horse.n.01")
    assert np.abs(text.matrix - binary.matrix).max() < 1e-6


@pytest.mark.filterwarnings("ignore")
def test_gensim_reads_what_is_written_and_the_other_way_round(tmp_path):
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    vectors = table([f"word{i}" for i in range(50)], 11)
    for format, binary, header in [
        ("word2vec-text", False, True),
        ("fasttext", False, True),
        ("glove", False, False),
        ("word2vec-binary", True, True),
        ("word2vec-binary-gensim", True, True),
    ]:
        place = tmp_path / "ours"
        ur.vectors.write(vectors, place, format)
        theirs = models.KeyedVectors.load_word2vec_format(str(place), binary=binary, no_header=not header)
        assert theirs.index_to_key == list(vectors.words)
        assert np.array_equal(theirs.vectors, vectors.matrix)
        theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary, write_header=header)
        assert same(ur.vectors.read(tmp_path / "theirs"), vectors)
        assert vectors.nearest("word3", 5)[0][0] == theirs.most_similar("word3")[0][0]
    theirs.save(str(tmp_path / "native"))
    with pytest.raises(ur.Error, match="a Python pickle"):
        ur.vectors.read(tmp_path / "native")


@pytest.mark.parametrize("format", ["word2vec-binary", "word2vec-binary-gensim"])
def test_small_binary_files_are_known(tmp_path, format):
    random = np.random.default_rng(0)
    for rows, width in ((1, 1), (1, 3), (2, 2), (2, 4), (3, 5)):
        for _ in range(60):
            words = [f"w{i}" for i in range(rows)]
            table = ur.vectors.WordVectors(words, random.standard_normal((rows, width)).astype(np.float32))
            ur.vectors.write(table, tmp_path / "f.bin", format)
            back = ur.vectors.read(tmp_path / "f.bin")
            assert back.words == table.words
            assert np.array_equal(back.matrix, table.matrix)


@pytest.mark.parametrize(
    ("words", "format", "message"),
    [
        (["1", "a"], "glove", "cannot begin with the word '1'"),
        (["\ufeffa", "b"], "glove", "byte order mark"),
        (["a", "\ud800"], "word2vec-text", r"cannot hold the word '\\ud800'"),
        (["a", "b" * 70_000], "word2vec-binary", "cannot hold the word"),
        (["a\x0bb", "c"], "fasttext", "cannot hold the word"),
    ],
)
def test_what_would_not_come_back_is_not_written(tmp_path, words, format, message):
    table = ur.vectors.WordVectors(words, np.ones((2, 1), np.float32))
    with pytest.raises(ur.Error, match=message):
        ur.vectors.write(table, tmp_path / "f", format)
    assert not list(tmp_path.iterdir())


def test_decimal_commas_are_no_binary(tmp_path):
    (tmp_path / "f.bin").write_bytes(b"2 2\nfoo 1,5 2,5\nbar 0,5 1,5\n")
    with pytest.raises(ur.Error, match="the first line is"):
        ur.vectors.read(tmp_path / "f.bin")
