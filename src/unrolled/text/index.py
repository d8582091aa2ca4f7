"""A corpus as numbers in one file that is mapped into memory: built once, read at any place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from .. import files
from ..errors import Error
from .corpus import Corpus
from .vocabulary import Vocabulary

MAGIC = b"unrolled index 1"
_LENGTH = struct.Struct("<Q")
_DTYPES = ("uint8", "int16", "int32")

Stage = Callable[[str, int, int], None]
"""Called with what is being done, the bytes read so far, and how many there are."""


class Index:
    """The numbers of a corpus's symbols, and where its sentences end, mapped from a file.

    numbers: (symbols,) uint8, int16 or int32, the smallest that holds the vocabulary; pages are read from
        the disk when they are looked at.
    ends: (sentences,) int64, where each sentence ends; sentences are those of `Corpus`.
    source: the fingerprint of the corpus and of how it was cut.

    The file: MAGIC, the numbers, zeros up to a multiple of 8 bytes, the ends, a JSON object, and that
    object's length in bytes as 8 bytes, little-endian like all numbers.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens an index file; raises Error if it is none, or truncated."""
        self.path = Path(path)
        described, size = _described(self.path)
        self.source, self.name = described["source"], described["name"]
        self.vocabulary = Vocabulary.from_dict(described.get("vocabulary"))
        kind, symbols, sentences = (described[name] for name in ("dtype", "symbols", "sentences"))
        dtype = np.dtype(kind).newbyteorder("<")
        begin = len(MAGIC)
        after = _aligned(begin + symbols * dtype.itemsize)
        if after + 8 * sentences != size:
            raise Error(
                f"{self.path} is no whole index: {symbols:,} symbols and {sentences:,} sentences do not "
                f"fill it; remove it, and it is built again"
            )
        # Copy on write: torch wants arrays that it may write to, and the file is never changed.
        self.numbers: np.ndarray = _mapped(self.path, dtype, begin, symbols)
        self.ends: np.ndarray = _mapped(self.path, np.dtype("<i8"), after, sentences)

    @classmethod
    def build(
        cls,
        paths: str | Path | Sequence[str | Path],
        *,
        place: str | Path | None = None,
        column: str | None = None,
        vocabulary: Vocabulary | None = None,
        report: Stage | None = None,
        **options: Any,
    ) -> Index:
        """The index of a corpus: the one that is there, or else built and kept for the next time.

        paths, column: as for `Corpus`. vocabulary: reads the corpus once; None: the one that
        `Vocabulary.from_corpus` makes with `options`, in a pass of its own.
        place: the index file; None: in the folder UNROLLED_CACHE, or else the user's cache, by fingerprint.

        The file is written beside its place and renamed into it, so two processes may build it at once.
        Memory: a few blocks of the corpus, and the distinct symbols.
        Raises Error if the corpus cannot be read, or an index of another one, or of an earlier state of
        it, is at `place`.
        """
        corpus = Corpus(paths, column=column)
        source = _fingerprint(corpus, vocabulary, options)
        target = cache() / f"{source[:32]}.index" if place is None else Path(place)
        if target.exists():
            found = cls(target)
            if found.source != source:
                raise Error(
                    f"{target} is the index of another source ({found.name}), of an earlier state of it, "
                    f"or with other options; remove it, or choose another place for that of {corpus}"
                )
            return found
        tell = report or (lambda stage, done, total: None)
        files.check_writable(target.parent)
        if vocabulary is None:
            vocabulary = Vocabulary.from_corpus(
                paths, column=column, report=lambda done, total: tell("counting", done, total), **options
            )
        with files.writing(target) as file:
            _write(file, corpus, vocabulary, source, lambda done, total: tell("indexing", done, total))
        return cls(target)

    def __len__(self) -> int:
        return len(self.numbers)

    def __repr__(self) -> str:
        return f"Index({self.name}: {len(self):,} symbols, {len(self.ends):,} sentences)"

    def window(self, begin: int, length: int) -> np.ndarray:
        """(length,) the numbers from a place on, of the array's type, without a copy.

        Raises Error for a window that is not wholly inside.
        """
        if not 0 <= begin <= begin + length <= len(self):
            raise Error(
                f"{self.path}: no window of {length} symbols at {begin}; wanted one within 0 to {len(self)}"
            )
        return self.numbers[begin : begin + length]

    def sentence(self, number: int) -> np.ndarray:
        """(symbols,) the numbers of a sentence, counted from 0, without a copy; raises Error for none."""
        if not 0 <= number < len(self.ends):
            raise Error(f"{self.path}: no sentence {number}; wanted 0 to {len(self.ends) - 1}")
        begin = int(self.ends[number - 1]) if number else 0
        return self.numbers[begin : int(self.ends[number])]

    def lengths(self) -> np.ndarray:
        """(sentences,) int64, the symbols of each."""
        return np.diff(self.ends, prepend=0)


def cache() -> Path:
    """Where index files are kept: UNROLLED_CACHE, or `unrolled` in the user's folder of caches."""
    if given := os.environ.get("UNROLLED_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unrolled"


def _fingerprint(corpus: Corpus, vocabulary: Vocabulary | None, options: dict[str, Any]) -> str:
    cut = json.dumps(options, sort_keys=True) if vocabulary is None else vocabulary.to_json()
    return hashlib.sha256(f"{corpus.fingerprint()} {cut}".encode("utf-8", "surrogatepass")).hexdigest()


def _write(
    file: IO[bytes],
    corpus: Corpus,
    vocabulary: Vocabulary,
    source: str,
    report: Callable[[int, int], None],
) -> None:
    kind = next(d for d in _DTYPES if len(vocabulary) <= np.iinfo(d).max + 1)
    symbols = sentences = 0
    file.write(MAGIC)
    with tempfile.TemporaryFile() as ends:

        def end(places: np.ndarray) -> None:
            nonlocal sentences
            ends.write(places.astype("<i8").tobytes())
            sentences += len(places)

        for blocks in corpus.texts(report):
            last = symbols
            for numbers, places in vocabulary.sentences(blocks):
                file.write(numbers.astype(np.dtype(kind).newbyteorder("<"), copy=False).tobytes())
                end(places + symbols)
                last = symbols + int(places[-1]) if len(places) else last
                symbols += len(numbers)
            if last < symbols:
                end(np.array([symbols]))  # a last line without its line feed
        file.write(bytes(_aligned(file.tell()) - file.tell()))
        ends.seek(0)
        shutil.copyfileobj(ends, file, 1 << 20)
    described = {
        "source": source,
        "name": str(corpus),
        "dtype": kind,
        "symbols": symbols,
        "sentences": sentences,
        "vocabulary": vocabulary.to_dict(),
    }
    text = json.dumps(described).encode()
    file.write(text + _LENGTH.pack(len(text)))


def _described(place: Path) -> tuple[dict[str, Any], int]:
    """The JSON object at the end, checked, and where it begins."""
    wrong = Error(f"{place} is not an index of unrolled, or truncated; remove it, and it is built again")
    try:
        with place.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if file.read(len(MAGIC)) != MAGIC or size < len(MAGIC) + _LENGTH.size:
                raise wrong
            file.seek(size - _LENGTH.size)
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            begin = size - _LENGTH.size - length
            if begin < len(MAGIC):
                raise wrong
            file.seek(begin)
            described = json.loads(file.read(length))
    except OSError as error:
        raise Error(f"cannot read {place}: {error.strerror or error}; wanted an index") from error
    except (ValueError, RecursionError) as error:
        raise wrong from error
    if not isinstance(described, dict) or described.get("dtype") not in _DTYPES:
        raise wrong
    counts = (described.get("symbols"), described.get("sentences"))
    names = (described.get("source"), described.get("name"))
    if not all(type(n) is int and n >= 0 for n in counts) or not all(isinstance(n, str) for n in names):
        raise wrong
    return described, begin


def _mapped(place: Path, dtype: np.dtype[Any], offset: int, count: int) -> np.ndarray:
    if not count:
        return np.zeros(0, dtype=dtype)
    return np.asarray(np.memmap(place, dtype=dtype, mode="c", offset=offset, shape=(count,)))


def _aligned(place: int) -> int:
    return -(-place // 8) * 8
