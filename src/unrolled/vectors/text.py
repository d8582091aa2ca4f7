"""Vectors as text: a line `word number … number` for each word, after a header or without one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

import numpy as np

from ..errors import Error
from .stream import LONGEST_WORD, Pieces, Rows, read_rows
from .table import WordVectors

WIDEST = 1_000_000
"""The most numbers of one vector that are believed."""

LONGEST_LINE = 1 << 26
_COUNT = re.compile(rb"[+-]?\d{1,18}")


def header(line: bytes) -> tuple[int, int] | None:
    """(words, dimension) if the line is a header; raises Error for one that cannot be true."""
    parts = line.split()
    if len(parts) != 2 or not all(_COUNT.fullmatch(part) for part in parts):
        return None
    count, dimension = (int(part) for part in parts)
    if count < 1 or not 1 <= dimension <= WIDEST:
        raise Error(
            f"the header promises {count} words of dimension {dimension}; "
            f"wanted at least 1 of each, and no vector wider than {WIDEST:,}"
        )
    return count, dimension


def read(pieces: Pieces, strict: bool) -> WordVectors:
    """The vectors in the lines; the first line may be a header. Raises Error for a wrong line."""
    position, promised, line = 0, None, pieces.line(0)
    found = header(line)
    if found is not None:
        promised = found[0]
        position = min(len(line) + 1, pieces.filled)
        line = pieces.line(position)
        if not line.strip():
            raise Error(f"the header promises {promised} words but no line follows; is the file truncated?")
    numbers = _width(line)
    if not numbers:
        raise Error(
            f"the first line is {_shown(line)}; wanted a header of two counts, or a word and its numbers"
        )
    if found is not None and numbers != found[1]:
        raise Error(
            f"the header promises vectors of dimension {found[1]}, but the first one has {numbers} numbers"
        )
    rows = Rows(numbers, promised)
    reader = _Reader(numbers)
    position = read_rows(pieces, position, rows, reader.step, strict)
    if promised is not None:
        if rows.row < promised:
            raise Error(
                f"the header promises {promised:,} words but {rows.row:,} follow; is the file truncated?"
            )
        if not only_blank(pieces, position):
            raise Error(f"the header promises {promised:,} words but the file goes on after as many")
    return WordVectors(rows.words, rows.finished(), replaced=rows.replaced)


def _width(line: bytes) -> int:
    """How many numbers end the line: the dimension, by its first row."""
    parts = line.replace(b"\t", b" ").split()
    count = 0
    for part in reversed(parts[1:]):
        try:
            float(part)
        except ValueError:
            break
        count += 1
    return count


def only_blank(pieces: Pieces, position: int) -> bool:
    """Whether nothing but white space follows from there to the end of the file."""
    while True:
        if pieces.data[position : pieces.filled].tobytes().strip():
            return False
        if pieces.ended:
            return True
        pieces.slide(pieces.filled)
        position = 0


class _Reader:
    def __init__(self, dimension: int) -> None:
        self.left = np.empty((max(4096, dimension), 4), dtype=np.int64)

    def step(self, pieces: Pieces, position: int, rows: Rows, words: np.ndarray) -> tuple[int, int, bool]:
        """Parses the whole lines of the piece, as far as rows has room."""
        from . import parse

        data = pieces.data
        if pieces.ended and pieces.filled and data[pieces.filled - 1] != 10:
            data[pieces.filled] = 10
            pieces.filled += 1
        end = _after_last_newline(data, pieces.filled)
        if end <= position:
            if pieces.filled - position > LONGEST_LINE:
                raise Error(
                    f"the line of row {rows.row + 1} is longer than {LONGEST_LINE:,} bytes; "
                    f"wanted a word and its numbers"
                )
            return position, 0, False
        filled = 0
        while True:
            why, position, stop, rows.row, filled, lefts = parse.text_rows(
                data, position, end, rows.matrix, rows.row, words, filled, self.left
            )
            with np.errstate(over="ignore"):  # the table refuses what overflows
                for row, column, begin, after in self.left[:lefts]:
                    rows.matrix[row, column] = float(data[begin:after].tobytes())
            if why == parse.CONSUMED:
                return position, filled, False
            if why == parse.FULL and rows.row == len(rows.matrix):
                return position, filled, True
            if why != parse.FULL:
                self._refuse(why, data[position:stop].tobytes() if stop > position else b"", stop, rows)

    def _refuse(self, why: int, token: bytes, stop: int, rows: Rows) -> None:
        from . import parse

        number, dimension = rows.row + 1, rows.matrix.shape[1]
        where = (
            f"row {number:,} (line {number + (rows.promised is not None):,} of the file, blank lines apart)"
        )
        if why in (parse.TOO_FEW, parse.TOO_MANY):
            raise Error(
                f"{where} has {stop} numbers, the rows before have {dimension}; wanted rows of equal "
                f"width: is the file truncated, or its first line no header?"
            )
        wanted = {
            parse.NO_WORD: "begins with a space; wanted a word, then its numbers",
            parse.LONG_WORD: f"begins with a word of more than {LONGEST_WORD} bytes",
            parse.NO_NUMBER: f"holds {_shown(token)} where a number is wanted",
            parse.NOT_FINITE: f"holds {_shown(token)}; wanted finite numbers",
        }
        raise Error(f"{where} {wanted[why]}")


def _after_last_newline(data: np.ndarray, filled: int) -> int:
    for end in range(filled, 0, -4096):
        places = np.flatnonzero(data[max(0, end - 4096) : end] == 10)
        if len(places):
            return max(0, end - 4096) + int(places[-1]) + 1
    return 0


def _shown(text: bytes) -> str:
    return repr((text if len(text) <= 40 else text[:40] + b"...").decode(errors="backslashreplace"))


def lines(vectors: WordVectors) -> Iterator[bytes]:
    """A line for each word; nine digits bring back the same float32."""
    pattern = " %.9g" * vectors.dimension + "\n"
    for begin in range(0, len(vectors), 1024):
        rows = vectors.matrix[begin : begin + 1024].tolist()
        words = vectors.words[begin : begin + 1024]
        yield "".join(word + pattern % tuple(row) for word, row in zip(words, rows, strict=True)).encode()


def write(file: IO[bytes], vectors: WordVectors, with_header: bool) -> None:
    """Writes the lines, after a header `words dimension` or without one."""
    if with_header:
        file.write(f"{len(vectors)} {vectors.dimension}\n".encode())
    for text in lines(vectors):
        file.write(text)
