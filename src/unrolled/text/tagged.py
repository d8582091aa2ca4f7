"""Sentences of words with a tag each: CoNLL-U, and plain files of two columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import Error
from .reading import Report, kind, read_lines

COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
"""The columns of CoNLL-U, https://universaldependencies.org/format.html."""


class Sentence(NamedTuple):
    """Words and as many tags."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_sentences(path: str | Path, tag: str = "UPOS") -> list[Sentence]:
    """The sentences of a .conllu file, or of any other of words and tags, each with .gz or without.

    CoNLL-U: the syntactic words (FORM) and the column `tag`; comments, ranges of words (1-2) and empty
    nodes (1.1) are left out. Any other file: one word a line, first the word, last its tag, with tabs or
    spaces between; `tag` is not looked at. In both, an empty line ends a sentence.

    Raises Error if the file cannot be read, has no sentence, or has a line of another form.
    """
    return list(iterate_sentences(path, tag))


def iterate_sentences(
    path: str | Path, tag: str = "UPOS", report: Report | None = None
) -> Iterator[Sentence]:
    """The sentences of `read_sentences` one at a time, for a file larger than memory."""
    place = Path(path)
    is_conllu = kind(place) == ".conllu"
    if is_conllu and tag not in COLUMNS:
        raise Error(f"{place}: {tag!r} is not a column of CoNLL-U; wanted one of {', '.join(COLUMNS)}")
    column = COLUMNS.index(tag) if is_conllu else -1
    pairs: list[tuple[str, str]] = []
    found = False
    lines = (line.rstrip("\r\n") for line in read_lines(place, report))
    for number, line in enumerate(lines, 1):
        if not line.strip():
            if pairs:
                found = True
                yield _sentence(pairs)
            pairs = []
        elif not is_conllu:
            pairs.append(_two_columns(place, number, line))
        elif pair := _conllu(place, number, line, column):
            pairs.append(pair)
    if pairs:
        yield _sentence(pairs)
    elif not found:
        raise Error(f"{place} has no sentences; wanted a word and a tag a line, and empty lines between")


def _sentence(pairs: list[tuple[str, str]]) -> Sentence:
    words, tags = zip(*pairs, strict=True)
    return Sentence(words, tags)


def _conllu(place: Path, number: int, line: str, column: int) -> tuple[str, str] | None:
    if line.startswith("#"):
        return None
    cells = line.split("\t")
    if len(cells) != len(COLUMNS):
        raise Error(f"{place}, line {number}: {len(cells)} columns; wanted the {len(COLUMNS)} of CoNLL-U")
    if "-" in cells[0] or "." in cells[0]:
        return None
    if not cells[0].isdecimal():
        raise Error(f"{place}, line {number}: ID is {cells[0]!r}; wanted a number, as 3, 3-4 or 3.1")
    return cells[1], cells[column]


def _two_columns(place: Path, number: int, line: str) -> tuple[str, str]:
    # A tab wins, so that a word may hold a space.
    cells = line.split("\t") if "\t" in line else line.split()
    if len(cells) < 2 or not cells[0] or not cells[-1]:
        raise Error(f"{place}, line {number}: {line!r} is not a word and its tag")
    return cells[0], cells[-1]
