"""A corpus as numbers: its words counted and every token's number in a temporary file, in one pass."""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import Error
from ..text import Corpus

SEPARATOR = -1
"""Stands between two sentences."""

Source = str | Path | Corpus | Iterable[Iterable[str]]
"""A file or folder of texts, or a `Corpus` of them (tables, several files): words between white space,
sentences as `Corpus` says; or sentences as lists of words."""

_LONGEST = 1 << 26
_FLUSH = 1 << 20


@dataclass(frozen=True)
class Encoded:
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

    def fingerprint(self) -> str:
        """A checksum of the words, their counts and all tokens."""
        total = hashlib.sha256("\n".join(self.words).encode("utf-8", "surrogatepass"))
        total.update(self.counts.tobytes())
        for begin in range(0, len(self.tokens), _FLUSH):
            total.update(self.tokens[begin : begin + _FLUSH].tobytes())
        return total.hexdigest()


def encode(source: Source, min_count: int, report: Callable[[float], None] | None = None) -> Encoded:
    """Reads the corpus once; keeps the words that come at least `min_count` times.

    report: called with the share of the files that was read. Memory: the distinct words and 20 MiB; the
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
        return Encoded(tuple(words[i] for i in kept), counts[kept], tokens, int(counts.sum()))


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

    if isinstance(source, str | Path):
        source = Corpus(source)
    sentences = _lines(source, report) if isinstance(source, Corpus) else _sentences(source)
    for words, ended in sentences:
        buffer.extend(map(number, words))
        if ended:
            buffer.append(SEPARATOR)
        if len(buffer) >= _FLUSH:
            flush()
    if not numbering:
        raise Error(f"{source if isinstance(source, Corpus) else 'the corpus'} has no words; wanted a text")
    flush()
    file.flush()
    return numbering, counts


def _sentences(source: Iterable[Iterable[str]]) -> Iterator[tuple[list[str], bool]]:
    for sentence in source:
        words = list(sentence)
        if isinstance(sentence, str) or not all(isinstance(word, str) and word for word in words):
            raise Error(f"a corpus in memory is lists of words that are not empty; got {sentence!r:.80}")
        yield words, True


def _lines(corpus: Corpus, report: Callable[[float], None]) -> Iterator[tuple[list[str], bool]]:
    """(words, whether the sentence ends there), from blocks that are cut at a space."""
    for blocks in corpus.texts(lambda done, size: report(done / max(1, size))):
        rest = ""
        for block in blocks:
            text = rest + block
            cut = max(text.rfind(" "), text.rfind("\n")) + 1
            rest = text[cut:]
            if len(rest) > _LONGEST:
                raise Error(
                    f"{corpus}: no space in {_LONGEST:,} characters; wanted words with white space between"
                )
            *ended, begun = text[:cut].split("\n")
            for line in ended:
                yield line.split(), True
            yield begun.split(), False
        yield rest.split(), True


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
