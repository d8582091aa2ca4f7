"""Rows out of a file of vectors piece by piece, so that memory grows with what was read, not promised."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import Error
from ..text.reading import GZIP

PIECE = 1 << 24
LONGEST_WORD = 1 << 16
"""Bytes that are read at once."""


@contextmanager
def opened(place: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked if it is gzip; raises Error if it cannot be read or unpacked."""
    try:
        with place.open("rb") as plain:
            if plain.peek(2)[:2] == GZIP:  # pyright: ignore[reportAttributeAccessIssue]
                with gzip.open(plain) as unpacked:
                    yield unpacked  # pyright: ignore[reportReturnType]
            else:
                yield plain
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Error(f"{place} is truncated or damaged gzip ({error}); copy it again") from error
    except OSError as error:
        raise Error(f"cannot read {place}: {error.strerror or error}; wanted a file of vectors") from error


class Pieces:
    """A window over a file's bytes that slides on: `data[:filled]`, whose first byte is number `offset`."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.data = np.empty(PIECE + 1, dtype=np.uint8)  # one byte more for a last newline
        self.filled = 0
        self.offset = 0
        self.ended = False

    def slide(self, consumed: int) -> None:
        """Lets go of the first `consumed` bytes and reads on; twice the room where none were consumed."""
        kept = self.data[consumed : self.filled].copy()
        if not consumed and self.filled == len(self.data) - 1:
            self.data = np.empty(2 * self.filled + 1, dtype=np.uint8)
        self.data[: len(kept)] = kept
        self.offset += consumed
        self.filled = len(kept)
        while self.filled < len(self.data) - 1 and not self.ended:
            room: Any = self.data[self.filled : -1]
            read = self.file.readinto(room)  # pyright: ignore[reportAttributeAccessIssue]
            self.ended = not read
            self.filled += read

    def line(self, begin: int) -> bytes:
        """The line that begins there, as far as it is in the window, without its newline."""
        size = 4096
        while True:
            part = self.data[begin : min(self.filled, begin + size)].tobytes()
            found = part.find(b"\n")
            if found >= 0:
                return part[:found]
            if begin + size >= self.filled:
                return part
            size *= 2


class Rows:
    """A matrix and its words that grow while rows are read into them."""

    def __init__(self, dimension: int, promised: int | None) -> None:
        rows = max(1, PIECE // (4 * dimension))
        self.matrix = np.empty((rows if promised is None else min(rows, promised), dimension), np.float32)
        self.promised = promised
        self.row = 0
        self.replaced = 0
        self.words: list[str] = []

    def grow(self) -> None:
        """Room for half as many rows again, but for no more than the header says there are."""
        rows = self.row + self.row // 2 + 1
        if self.promised is not None:
            rows = min(rows, self.promised)
        # In place: the system remaps large blocks instead of copying them.
        self.matrix.resize((rows, self.matrix.shape[1]), refcheck=False)

    def add_words(self, text: bytes, strict: bool) -> None:
        """Appends words, each of which ends in a newline."""
        try:
            self.words += text.decode().split("\n")[:-1]
        except UnicodeDecodeError:
            for word in text.split(b"\n")[:-1]:
                self._add_word(word, strict)

    def _add_word(self, word: bytes, strict: bool) -> None:
        try:
            self.words.append(word.decode())
        except UnicodeDecodeError as error:
            if strict:
                raise Error(
                    f"word number {len(self.words) + 1}, {word!r}, is not UTF-8; "
                    f"read without strict to have such bytes as \\x escapes, or convert the file"
                ) from error
            self.words.append(word.decode(errors="backslashreplace"))
            self.replaced += 1

    def finished(self) -> np.ndarray:
        """(words, dimension) float32, cut to the rows that were read."""
        self.matrix.resize((self.row, self.matrix.shape[1]), refcheck=False)
        return self.matrix


Step = Callable[[Pieces, int, Rows, np.ndarray], tuple[int, int, bool]]
"""(pieces, position, rows, words) → (position of the next record, bytes of words, are rows full)."""


def read_rows(pieces: Pieces, position: int, rows: Rows, step: Step, strict: bool) -> int:
    """Calls the step until the file ends, or the promised rows are there; returns the position reached."""
    while True:
        words = np.empty(len(pieces.data), dtype=np.uint8)
        position, filled, full = step(pieces, position, rows, words)
        rows.add_words(words[:filled].tobytes(), strict)
        if full and rows.row == rows.promised:
            return position
        if full:
            rows.grow()
        elif pieces.ended:
            return position
        else:
            pieces.slide(position)
            position = 0
