"""Symbols and their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from ..errors import Error
from .batch import Batch

Row = str | Sequence[str]
"""One sequence of symbols: a str is read character by character, a list symbol by symbol."""


class Vocabulary:
    """The symbols a model knows, numbered from 0 in the order of their first appearance.

    symbols: a text (each character is a symbol) or an iterable of symbols; repeats count once.
    unknown, padding: symbols numbered after the others; text outside the vocabulary is encoded as
        `unknown` if there is one; positions past a row's end hold `padding` (0 without one).

    >>> Vocabulary("helo").encode("hello")
    tensor([0, 1, 2, 2, 3])
    """

    def __init__(
        self, symbols: Iterable[str], *, unknown: str | None = None, padding: str | None = None
    ) -> None:
        found = dict.fromkeys(symbols)
        for special in (unknown, padding):
            if special is not None:
                found.pop(special, None)
                found[special] = None
        for symbol in found:
            if not isinstance(symbol, str) or not symbol:
                raise Error(f"Vocabulary: {symbol!r} is not a symbol; wanted strings that are not empty")
        if unknown is not None and unknown == padding:
            raise Error(f"Vocabulary: unknown and padding are both {unknown!r}; they must differ")
        if not found:
            raise Error("Vocabulary: no symbols; wanted a text or a list with at least one")
        self.symbols: tuple[str, ...] = tuple(found)
        self.unknown = unknown
        self.padding = padding
        self._index = {symbol: i for i, symbol in enumerate(self.symbols)}
        single = [(ord(s), i) for i, s in enumerate(self.symbols) if len(s) == 1]
        table = np.array(sorted(single), dtype=np.int64).reshape(-1, 2)
        self._points, self._point_index = table[:, 0], table[:, 1]

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.symbols, self.unknown, self.padding))

    def __repr__(self) -> str:
        shown = " ".join(repr(s) for s in self.symbols[:8])
        return f"Vocabulary({len(self)} symbols: {shown}{' …' if len(self) > 8 else ''})"

    def index(self, symbol: str) -> int:
        """The number of one symbol; raises Error if it is not in the vocabulary."""
        if symbol in self._index:
            return self._index[symbol]
        if self.unknown is not None:
            return self._index[self.unknown]
        raise Error(self._refusal(symbol))

    @overload
    def encode(self, text: str) -> Tensor: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def encode(self, text: Sequence[Row]) -> Batch: ...
    def encode(self, text: str | Sequence[Row]) -> Tensor | Batch:
        """Numbers for symbols: one text gives (time,) int64, a list of rows gives a Batch.

        A row is a text, or a list of symbols. Raises Error naming a symbol outside the vocabulary
        (if it has no unknown symbol) and where it stands.
        """
        if isinstance(text, str):
            return torch.from_numpy(self._characters(text))
        rows = [self._row(row) for row in text]
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        filler = 0 if self.padding is None else self._index[self.padding]
        longest = max(map(len, rows), default=0)
        indices = torch.full((len(rows), longest), filler, dtype=torch.int64)
        for i, row in enumerate(rows):
            indices[i, : len(row)] = torch.from_numpy(row)
        return Batch(indices, lengths, self)

    @overload
    def decode(self, indices: Batch) -> list[str | list[str]]: ...
    @overload
    def decode(self, indices: Tensor | Sequence[int]) -> str | list[str]: ...
    def decode(self, indices: Batch | Tensor | Sequence[int]) -> Any:
        """Symbols for numbers: (time,) gives a text, a Batch gives a list of its rows without padding.

        Where a symbol is longer than one character, each row is a list of symbols instead of a text.
        """
        if isinstance(indices, Batch):
            pairs = zip(indices.indices.cpu(), indices.lengths.tolist(), strict=True)
            return [self.decode(row[:length]) for row, length in pairs]
        numbers = indices.tolist() if isinstance(indices, Tensor) else list(indices)
        for i in numbers:
            if not isinstance(i, int) or not 0 <= i < len(self):
                raise Error(f"Vocabulary.decode: {i!r} is not a number from 0 to {len(self) - 1}")
        symbols = [self.symbols[i] for i in numbers]
        specials = {self.unknown, self.padding}
        if all(len(s) == 1 or s in specials for s in self.symbols):
            return "".join(s for s in symbols if s != self.padding)
        return [s for s in symbols if s != self.padding]

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as plain data, for JSON."""
        return {"symbols": list(self.symbols), "unknown": self.unknown, "padding": self.padding}

    @classmethod
    def from_dict(cls, data: Any) -> Vocabulary:
        """The vocabulary that `to_dict` described; raises Error if the data is something else."""
        if not isinstance(data, dict) or not isinstance(data.get("symbols"), list):
            raise Error("Vocabulary: wanted an object with a list 'symbols'")
        symbols = data["symbols"]
        vocabulary = cls(symbols, unknown=data.get("unknown"), padding=data.get("padding"))
        if list(vocabulary.symbols) != symbols:
            raise Error("Vocabulary: the list 'symbols' repeats a symbol or misplaces a special one")
        return vocabulary

    def to_json(self) -> str:
        """The vocabulary as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """The vocabulary in a JSON text; raises Error if it holds something else."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise Error(f"Vocabulary: not JSON: {error}") from error
        return cls.from_dict(data)

    def _row(self, row: Row) -> np.ndarray:
        if isinstance(row, str):
            return self._characters(row)
        return np.fromiter((self.index(symbol) for symbol in row), dtype=np.int64, count=len(row))

    def _characters(self, text: str) -> np.ndarray:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        if not len(self._points):
            known, slots = np.zeros(len(points), dtype=bool), np.zeros(len(points), dtype=np.int64)
        else:
            places = np.minimum(np.searchsorted(self._points, points), len(self._points) - 1)
            known, slots = self._points[places] == points, self._point_index[places]
        if known.all():
            return slots
        if self.unknown is None:
            where = int(np.argmin(known))
            raise Error(self._refusal(text[where], f" at position {where}"))
        return np.where(known, slots, self._index[self.unknown])

    def _refusal(self, symbol: object, where: str = "") -> str:
        point = f" (U+{ord(symbol):04X})" if isinstance(symbol, str) and len(symbol) == 1 else ""
        return (
            f"symbol {symbol!r}{point}{where} is not among the {len(self)} symbols of the vocabulary; "
            f"leave it out, or make the vocabulary with unknown=…"
        )
