"""Files of word vectors: told apart by their first bytes, not by their names; written whole or not."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .. import files
from ..errors import Error
from ..text.reading import BYTE_ORDER_MARK, GZIP
from . import binary, packed, text
from .stream import LONGEST_WORD, Pieces, opened
from .table import WordVectors

FORMATS = {
    "word2vec-text": "a header line, then a line for each word",
    "word2vec-binary": "a header line, then a record for each word and a newline, as word2vec.c writes it",
    "word2vec-binary-gensim": "the same without the newlines",
    "glove": "a line for each word and no header",
    "fasttext": "fastText's .vec: as word2vec-text",
    "safetensors": "tensors `matrix` and `vocabulary`; read without being copied into memory",
}

SUFFIXES = {
    ".txt": "word2vec-text",
    ".vec": "fasttext",
    ".bin": "word2vec-binary",
    ".glove": "glove",
    ".safetensors": "safetensors",
}

_EXPORT = "save its vectors in word2vec's format instead"
_OTHERS = [
    (
        b"\xba\x16\x4f\x2f",
        f"a fastText model (.bin), not a table of words; {_EXPORT}: fastText writes a .vec too",
    ),
    (b"\x80", f"a Python pickle (as gensim's save makes), which is never opened; {_EXPORT}"),
    (b"PK\x03\x04", f"a zip archive (as torch.save and np.savez make); unpack it, or {_EXPORT}"),
    (b"\x93NUMPY", f"a NumPy array, which has no words; {_EXPORT}"),
    (b"\x89HDF", f"an HDF5 file; {_EXPORT}"),
    (b"SQLite format 3", f"an SQLite database (as Magnitude makes); {_EXPORT}"),
    (b"GGUF", f"a GGUF language model; {_EXPORT}"),
    (b"BZh", "packed by bzip2; unpack it first"),
    (b"\xfd7zXZ", "packed by xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd; unpack it first"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"<", "a page of HTML or XML: did the download answer with an error page?"),
    (b"{", "JSON text"),
]


def read(path: str | Path, *, strict: bool = False) -> WordVectors:
    """The words and vectors of a file of one of the FORMATS; text and word2vec binary may be gzipped.

    A word that is not UTF-8 is read with `\\\\x` escapes in the place of the wrong bytes, counted in
    `.replaced` and warned of; strict: it raises Error instead. Memory: the matrix (half as much again
    while it grows), the words, and 48 MiB. A safetensors file's matrix is mapped, not read.

    Raises Error for a file of another kind (named), a header that promises what is not there, rows of
    unequal width, a number that is none or not finite, a repeated word, and a truncated file.
    """
    place = Path(path)
    with opened(place) as file:
        pieces = Pieces(file)
        pieces.slide(0)
        start = pieces.data[: min(pieces.filled, 1 << 16)].tobytes()
        if start.startswith(BYTE_ORDER_MARK):  # no part of the first word
            pieces.slide(len(BYTE_ORDER_MARK))
            start = start.removeprefix(BYTE_ORDER_MARK)
        try:
            if _is_safetensors(start):
                _refuse_packed(place)
                return packed.read(place)
            vectors = (binary if _is_binary(start) else text).read(pieces, strict)
        except Error as error:
            raise error if str(error).startswith(str(place)) else Error(f"{place}: {error}") from error
    if vectors.replaced:
        warnings.warn(
            f"{place}: {vectors.replaced} words are not UTF-8; their wrong bytes are read as \\x escapes",
            stacklevel=2,
        )
    return vectors


def _is_safetensors(start: bytes) -> bool:
    return len(start) > 9 and start[8:10] == b'{"' and int.from_bytes(start[:8], "little") < 1 << 32


def _refuse_packed(place: Path) -> None:
    with place.open("rb") as file:
        if file.read(2) == GZIP:
            raise Error("a gzipped safetensors file cannot be mapped into memory; unpack it with gunzip")


def _is_binary(start: bytes) -> bool:
    """Whether it is word2vec's binary and not text; raises Error for what is neither."""
    if not start.strip():
        raise Error("the file is empty; wanted words and their vectors")
    line, _, rest = start.partition(b"\n")
    headed = text.header(line) is not None
    for magic, what in _OTHERS:
        if start.startswith(magic) and not _is_row(line):
            raise Error(f"this is {what}")
    if headed:
        return not _is_row(rest.partition(b"\n")[0]) and (_has_controls(rest) or _is_records(line, rest))
    if _has_controls(line):
        raise Error(f"this is no file of word vectors known here; wanted one of {', '.join(FORMATS)}")
    return False


def _is_row(line: bytes) -> bool:
    """Whether the line (or what is there of it) is a word and numbers."""
    parts = line.split()[1:3]
    try:
        return bool([float(part) for part in parts])
    except ValueError:
        return False


def _is_records(line: bytes, rest: bytes) -> bool:
    """Whether a small file's header is followed by so many words, each with its numbers in binary."""
    (count, dimension), position = text.header(line) or (0, 0), 0
    for _ in range(count):
        space = rest.find(b" ", position)
        if space < 0 or position > len(rest):
            return False
        begin, position = space + 1, space + 1 + 4 * dimension
        if not rest[begin:position].strip(b"0123456789.,+-eE \t\r\n"):
            return False  # numbers, though no reader of text takes them
        position += rest[position : position + 1] == b"\n"
    return position == len(rest)


def _has_controls(start: bytes) -> bool:
    return any(byte < 9 or 13 < byte < 28 for byte in start)


def write(vectors: WordVectors, path: str | Path, format: str | None = None) -> None:
    """Writes the vectors to the file, whole or not at all; a name that ends in .gz is gzipped.

    format: one of FORMATS; None: by the name's ending, SUFFIXES. Text carries nine digits, which bring
    back the same float32. Raises Error for an unknown format, a word that the format cannot hold, and a
    file that cannot be written (what was there is still there).
    """
    place = Path(path)
    packed_up = place.suffix.lower() == ".gz"
    format = check_format(place, format)
    if format != "safetensors":
        _check_words(vectors, format)
    with files.writing(place) as raw, _gzipped(raw) if packed_up else _plain(raw) as file:
        if format == "safetensors":
            packed.write(file, vectors)
        elif format.startswith("word2vec-binary"):
            binary.write(file, vectors, newlines=format == "word2vec-binary")
        else:
            text.write(file, vectors, with_header=format != "glove")


def check_format(path: str | Path, format: str | None = None) -> str:
    """The format that `write` will use; raises Error if there is none, so that one knows beforehand."""
    place = Path(path)
    packed_up = place.suffix.lower() == ".gz"
    if format is None:
        suffix = Path(place.stem if packed_up else place.name).suffix.lower()
        if suffix not in SUFFIXES:
            known = ", ".join(f"{ending} ({name})" for ending, name in SUFFIXES.items())
            raise Error(f"{place}: its ending tells no format; wanted {known}, or format=…")
        format = SUFFIXES[suffix]
    if format not in FORMATS:
        raise Error(f"format {format!r} is not one of {', '.join(FORMATS)}")
    if packed_up and format == "safetensors":
        raise Error(f"{place}: a gzipped safetensors file could not be mapped; leave out .gz")
    return format


def _check_words(vectors: WordVectors, format: str) -> None:
    for word in vectors.words:
        if not word or any(space in word for space in " \t\n\r\x0b\x0c") or not _readable(word):
            raise Error(f"{format} cannot hold the word {word!r}; safetensors can")
    first = vectors.words[0] if len(vectors) else ""
    if first.startswith("\ufeff"):
        raise Error(
            f"{format} cannot begin with {first!r}, which reads as a byte order mark; safetensors can"
        )
    if format == "glove" and vectors.dimension == 1 and first.lstrip("+-").isdecimal():
        raise Error(f"glove cannot begin with the word {first!r}, whose line reads as a header; others can")


def _readable(word: str) -> bool:
    """Whether files can hold it, and readers find its end."""
    try:
        return len(word.encode()) <= LONGEST_WORD
    except UnicodeEncodeError:  # half of a pair that stands for one character
        return False


@contextmanager
def _gzipped(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    # The time is left out: the same vectors should be the same bytes.
    with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
        yield file  # pyright: ignore[reportReturnType]


@contextmanager
def _plain(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    yield raw
