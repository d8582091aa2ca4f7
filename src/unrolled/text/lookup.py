"""From symbols to their numbers: an array of codes at once, or a dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, repeat

import numpy as np

from ..errors import Error
from .units import Character, Coded, Unit

STEP = 1 << 20
"""Characters that are looked up at a time."""

_LINE_FEED = 10
"""Its code in every unit whose symbols are numbers."""


class Lookup:
    """The numbers of a text's symbols.

    numbers: of each symbol. unknown: the number for the others; None: they are an error.
    """

    def __init__(self, unit: Unit, numbers: Mapping[str, int], unknown: int | None) -> None:
        self._unit, self._numbers = unit, numbers
        self._unknown = -1 if unknown is None else unknown
        self.dtype = np.min_scalar_type(len(numbers) - 1)
        if isinstance(unit, Coded):
            # One slot more than there are codes: what lies beyond is clipped to it, and unknown too.
            codes = {code: i for s, i in numbers.items() if (code := unit.code(s)) is not None}
            self._slots = np.full(max(codes, default=0) + 2, self._unknown, dtype=np.int32)
            self._slots[list(codes)] = list(codes.values())

    def __call__(self, text: str) -> np.ndarray:
        """(time,) of the type `dtype`, the smallest unsigned integer that holds every number.

        Raises Error naming a symbol that has no number.
        """
        if isinstance(self._unit, Coded):
            parts = [self._coded(self._unit, text, i) for i in range(0, len(text), STEP)]
            return np.concatenate(parts) if parts else np.zeros(0, dtype=self.dtype)
        return self._named(self._unit.cut(text))

    def rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        """What a call gives for each text: together, where a character is a symbol."""
        if isinstance(self._unit, Character):
            try:
                whole = self("".join(texts))
            except Error:
                pass  # one by one below, which names the place within its text
            else:
                return np.split(whole, np.cumsum([len(text) for text in texts])[:-1]) if texts else []
        return [self(text) for text in texts]

    def _named(self, symbols: Sequence[str]) -> np.ndarray:
        found = np.fromiter(map(self._numbers.get, symbols, repeat(self._unknown)), np.int64, len(symbols))
        if len(found) and found.min() < 0:
            where = int(np.argmin(found))
            raise self.refusal(symbols[where], f" (symbol {where + 1:,} of the text)")
        return found.astype(self.dtype)

    def lines(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """(numbers, ends): those of the text, and where among them each line that has its line feed ends.

        A block of at most STEP characters, or little more. Raises Error as a call does.
        """
        if isinstance(self._unit, Coded):
            codes = self._unit.codes(text)
            return self._found(self._unit, codes, 0), np.flatnonzero(codes == _LINE_FEED) + 1
        *ended, begun = text.split("\n")
        rows = [self._unit.cut(line + "\n") for line in ended]
        ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
        if begun:
            rows.append(self._unit.cut(begun))
        return self._named(list(chain.from_iterable(rows))), ends

    def _coded(self, unit: Coded, text: str, begin: int) -> np.ndarray:
        return self._found(unit, unit.codes(text[begin : begin + STEP]), begin)

    def _found(self, unit: Coded, codes: np.ndarray, begin: int) -> np.ndarray:
        found = self._slots.take(codes, mode="clip")
        if len(found) and found.min() < 0:
            where = int(np.argmin(found))
            place = f" at position {begin + where}" if isinstance(unit, Character) else ""
            raise self.refusal(unit.symbol(int(codes[where])), place)
        return found.astype(self.dtype)

    def refusal(self, symbol: object, where: str = "") -> Error:
        """The error that says a symbol has no number."""
        point = f" (U+{ord(symbol):04X})" if isinstance(symbol, str) and len(symbol) == 1 else ""
        return Error(
            f"symbol {symbol!r}{point}{where} is not among the {len(self._numbers)} symbols of the "
            f"vocabulary; leave it out, or make the vocabulary with unknown=… (`unrolled train --least 2`)"
        )
