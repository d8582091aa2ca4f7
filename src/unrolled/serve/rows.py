"""Rows: one sequence of symbols that a request wants read, and what it wants to hear of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..models.language import draw_symbol
from .limits import diverged
from .reader import Reader
from .sessions import Session

CHUNK = 64
"""The most symbols of a row in one batch: a long text does not keep the short ones waiting."""
NUMBERS = 4_000_000
"""The most probabilities that one batch computes."""

Tell = Callable[[Any], None]
"""Called in the event loop, with what a row came to or the exception that ended it."""


class Whole(Protocol):
    """A model that reads whole texts; cost: about how many seconds it reads at a symbol."""

    cost: float

    def whole(self, texts: Sequence[str], tops: Sequence[int]) -> list[Any]:
        """What to tell of each text."""
        ...


class TextRow:
    """A whole text for a model that does not read symbol by symbol."""

    def __init__(self, reader: Whole, text: str, tell: Tell, top: int) -> None:
        self.reader, self.text, self.tell, self.top = reader, text, tell, top
        self.dropped = False


class Row:
    """The last predictions of a text that is read from its beginning."""

    each = False

    def __init__(self, reader: Reader, symbols: np.ndarray, tell: Tell, top: int) -> None:
        self.reader, self.symbols, self.tell, self.top = reader, symbols, tell, top
        self.at = 0
        self.state = b""
        self.dropped = False
        """Set where nobody waits any more: the row is left out of the next batch."""

    @property
    def left(self) -> int:
        """How many symbols are still to be read."""
        return len(self.symbols) - self.at

    def heard(self, told: Told) -> Any:
        """Takes in what a batch read of this row; returns what to tell, or None to go on."""
        return None if self.left else told.next(0, self.top)


class StepRow(Row):
    """The prediction after each symbol that a session reads on."""

    each = True

    def __init__(
        self, reader: Reader, symbols: np.ndarray, tell: Tell, top: int, id: str, see: bool
    ) -> None:
        super().__init__(reader, symbols, tell, top)
        self.id, self.see = id, see
        self.before: Session | None = None
        self._parts: list[str] = []

    @property
    def after(self) -> Session:
        """The session once this row is read."""
        before = self.before or Session(self.reader.fingerprint, 0, b"")
        return Session(before.model, before.symbols + len(self.symbols), self.state)

    def begin(self, session: Session) -> None:
        """Starts, or starts anew, from what the session holds."""
        self.before, self.state, self.at, self._parts = session, session.state, 0, []

    def heard(self, told: Told) -> Any:
        """As the base's."""
        names = self.reader.json
        first = self.at - told.count
        for i in range(told.count):
            index = int(self.symbols[first + i])
            more = told.seen(i, index) if self.see else ""
            self._parts.append(f'"symbol":{names[index]},"next":{told.next(i, self.top)}{more}')
        return None if self.left else self.answer()

    def answer(self, layers: Sequence[str] = ()) -> str:
        """The step's answer in JSON; layers: what is seen of the layers after each symbol, in JSON too."""
        parts = self._parts
        if layers:
            parts = [f'{part},"layers":{seen}' for part, seen in zip(parts, layers, strict=True)]
        all = "},{".join(parts)
        return f'{{"symbols":{self.after.symbols},"predictions":[{"{" + all + "}" if parts else ""}]}}'


class GeneratedRow(Row):
    """Symbols drawn one after the other; each is told as it comes, and None after the last."""

    def __init__(
        self,
        reader: Reader,
        symbols: np.ndarray,
        tell: Tell,
        length: int,
        temperature: float,
        top_k: int | None,
        seed: int,
    ) -> None:
        super().__init__(reader, symbols, tell, 0)
        self.length, self.temperature, self.top_k = length, temperature, top_k
        self._generator = torch.Generator().manual_seed(seed)

    def heard(self, told: Told) -> Any:
        """As the base's."""
        if self.left:
            return None
        index = draw_symbol(told.probabilities(0).log(), self.temperature, self.top_k, self._generator)
        self.length -= 1
        self.symbols, self.at = np.array([index]), 0
        return self.reader.vocabulary.symbols[index]


class Told:
    """One row's part of a reading."""

    def __init__(
        self, reading: Any, likeliest: tuple[list, list], begin: int, count: int, names: list[str]
    ):
        self._reading, self._likeliest, self._begin, self.count = reading, likeliest, begin, count
        self._names = names

    def probabilities(self, i: int) -> Tensor:
        """(vocabulary,) after the row's i-th asked-for step."""
        return self._reading.probabilities[self._begin + i]

    def next(self, i: int, top: int) -> str:
        """The likeliest next symbols after that step, as a JSON object, the likeliest first."""
        if not top:
            return "{}"
        values, indices = (part[self._begin + i] for part in self._likeliest)
        names = self._names
        pairs = zip(indices[:top], values, strict=False)
        return "{" + ",".join([f"{names[index]}:{value:.6g}" for index, value in pairs]) + "}"

    def seen(self, i: int, index: int) -> str:
        """The symbol's number and the hidden state after it, as more JSON fields."""
        hidden = ",".join([f"{value:.6g}" for value in self._reading.hidden[self._begin + i].tolist()])
        return f',"index":{index},"hidden":[{hidden}]'


def read(reader: Reader, rows: Sequence[Row]) -> tuple[list[Any], int]:
    """Reads each row on by up to CHUNK symbols: what to tell of each, None to go on, and how many symbols
    were read. A row whose probabilities are no numbers is refused."""
    chunk = max(1, min(CHUNK, NUMBERS // (len(rows) * len(reader.vocabulary))))
    some = [row for row in rows if row.left]
    if not some:
        return [_unread(row) for row in rows], 0
    pieces = [row.symbols[row.at : row.at + chunk] for row in some]
    reading = reader.read([row.state for row in some], pieces, [row.each for row in some])
    top = max(row.top for row in some)
    likeliest: tuple[list, list] = ([], [])
    if top:
        values, indices = reading.probabilities.topk(top)
        likeliest = values.tolist(), indices.tolist()
    total = float(reading.probabilities.sum())
    results: dict[Row, Any] = {}
    begin = 0
    for row, piece, count, state in zip(some, pieces, reading.steps, reading.states, strict=True):
        row.at += len(piece)
        row.state = state
        if total != total and not reading.probabilities[begin : begin + count].isfinite().all():
            results[row] = diverged()
        else:
            results[row] = row.heard(Told(reading, likeliest, begin, count, reader.json))
        begin += count
    told = [results[row] if row in results else _unread(row) for row in rows]
    return told, sum(map(len, pieces))


def _unread(row: Row) -> Any:
    """What is told of a row without symbols: a step of nothing."""
    return row.answer() if isinstance(row, StepRow) else None
