"""A corpus as numbers: its words counted and every token's number in a temporary file, in one pass."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import Error
from .stream import opened

SEPARATOR = -1
"""Stands between two sentences."""

Source = str | Path | Iterable[Iterable[str]]
"""A file of text, gzipped or not: a sentence a line, words between spaces; or lists of words."""

_READ = 1 << 20
_FLUSH = 1 << 20


@dataclass(frozen=True)
class Corpus:
    """What a model of words reads.

    words, counts: tuple and (words,) int64, the most frequent first (of equals the earlier one).
    tokens: (tokens,) int32, each a word's number or SEPARATOR, mapped from a temporary file that vanishes
        with it; words that are not kept are left out.
    total: words of the text, kept or not.
    """

    words: tuple[str, ...]
    counts: np.ndarray
    tokens: np.ndarray
    total: int


def encode(source: Source, min_count: int, report: Callable[[float], None] | None = None) -> Corpus:
    """Reads the corpus once; keeps the words that come at least `min_count` times.

    report: called with the share of the file that was read. Memory: the distinct words and 20 MiB; the
    temporary file takes 4 bytes a word, in the folder of TMPDIR.
    Raises Error for a file that cannot be read or is not text, and if no word is frequent enough.
    """
    with temporary() as file:
        numbering, counts = _number(source, file, report or (lambda share: None))
        kept = np.flatnonzero(counts >= min_count)
        if not len(kept):
            raise Error(
                f"no word of the corpus comes {min_count} times ({len(counts):,} distinct words, "
                f"{int(counts.sum()):,} in all); lower min_count or take more text"
            )
        kept = kept[np.argsort(-counts[kept], kind="stable")]
        new = np.full(len(counts) + 1, -2, dtype=np.int32)
        new[kept] = np.arange(len(kept), dtype=np.int32)
        new[SEPARATOR] = SEPARATOR
        words = list(numbering)
        tokens = _renumber(np.memmap(file, dtype=np.int32, mode="r+"), new)
        return Corpus(tuple(words[i] for i in kept), counts[kept], tokens, int(counts.sum()))


class _Numbering(dict[str, int]):
    """A number for each word, given at its first appearance."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


def _number(
    source: Source, file: IO[bytes], report: Callable[[float], None]
) -> tuple[_Numbering, np.ndarray]:
    numbering = _Numbering()
    number = numbering.__getitem__
    counts = np.zeros(0, dtype=np.int64)
    buffer = array("i")

    def flush() -> None:
        nonlocal counts, buffer
        numbers = np.frombuffer(buffer, dtype=np.int32)
        found = np.bincount(numbers[numbers != SEPARATOR], minlength=len(numbering))
        found[: len(counts)] += counts
        counts = found
        file.write(numbers.tobytes())
        buffer = array("i")

    sentences = _lines(Path(source), report) if isinstance(source, str | Path) else _sentences(source)
    for words, ended in sentences:
        buffer.extend(map(number, words))
        if ended:
            buffer.append(SEPARATOR)
        if len(buffer) >= _FLUSH:
            flush()
    if not numbering:
        raise Error(
            f"{source if isinstance(source, str | Path) else 'the corpus'} has no words; wanted a text"
        )
    flush()
    file.flush()
    return numbering, counts


def _sentences(source: Iterable[Iterable[str]]) -> Iterator[tuple[list[str], bool]]:
    for sentence in source:
        words = list(sentence)
        if isinstance(sentence, str) or not all(isinstance(word, str) and word for word in words):
            raise Error(f"a corpus in memory is lists of words that are not empty; got {sentence!r:.80}")
        yield words, True


def _lines(place: Path, report: Callable[[float], None]) -> Iterator[tuple[list[str], bool]]:
    """(words, whether the sentence ends there), from blocks that are cut at a space."""
    with opened(place, "a text") as file:
        size, rest, before = max(1, place.stat().st_size), b"", 0
        while block := file.read(_READ):
            block = rest + block
            cut = max(block.rfind(b" "), block.rfind(b"\n")) + 1
            yield from _split(block[:cut], place, before)
            rest = block[cut:]
            before += cut
            report(min(1.0, before / size))
            if len(rest) > 64 * _READ:
                raise Error(
                    f"{place}: no space in 64 MiB from byte {before:,} on; wanted words between spaces"
                )
        yield from _split(rest, place, before)
        yield [], True


def _split(block: bytes, place: Path, before: int) -> Iterator[tuple[list[str], bool]]:
    try:
        text = block.decode()
    except UnicodeDecodeError as error:
        raise Error(
            f"{place} is not UTF-8 text (byte {before + error.start:,} is 0x{block[error.start]:02x}); "
            f"convert it, for instance with iconv -t utf-8"
        ) from error
    if "\0" in text:
        raise Error(f"{place} is not text: it has a NUL character near byte {before:,}")
    *ended, begun = text.split("\n")
    for line in ended:
        yield line.split(), True
    yield begun.split(), False


def _renumber(tokens: np.ndarray, new: np.ndarray) -> np.ndarray:
    """In place: new[token] for each token but -2, which is left out, as are empty sentences."""
    filled, last = 0, SEPARATOR
    for begin in range(0, len(tokens), _FLUSH):
        part = new[tokens[begin : begin + _FLUSH]]
        part = part[part != -2]
        previous = np.concatenate(([last], part[:-1]))
        part = part[(part != SEPARATOR) | (previous != SEPARATOR)]
        last = part[-1] if len(part) else last
        tokens[filled : filled + len(part)] = part
        filled += len(part)
    return tokens[:filled]


@contextmanager
def temporary() -> Iterator[IO[bytes]]:
    """A file in the folder of TMPDIR that has no name, and vanishes with what is mapped from it; raises
    Error where there is no room."""
    try:
        with tempfile.TemporaryFile(prefix="unrolled-") as file:
            yield file
    except OSError as error:
        raise Error(
            f"cannot write a temporary file in {tempfile.gettempdir()}: {error.strerror or error}; "
            f"free some space, or set TMPDIR to another folder"
        ) from error
