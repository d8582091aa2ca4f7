"""The vocabulary of the texts that a model is trained on."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Error
from ..text import Vocabulary, counting
from ..text.units import Coded, make_unit

UNKNOWN = "<unknown>"


def vocabulary_of(texts: Sequence[str], unit: str, least: int, lower: bool = False) -> Vocabulary:
    """The symbols that occur at least so often in the texts, the most frequent first, and an unknown one.

    Raises Error if there is no such symbol, or no such unit.
    """
    cutter = make_unit(unit, lower)
    if unit == "byte":
        return Vocabulary(unit=unit)
    # Symbols that are numbers are counted fastest in one piece; other units need the texts' borders.
    pieces = [["".join(texts)]] if isinstance(cutter, Coded) else ([text] for text in texts)
    symbols = counting.kept(counting.count(pieces, cutter), least, None)
    if not symbols:
        raise Error(f"training: no symbol occurs {least} times in the texts; wanted texts with symbols")
    return Vocabulary(symbols, unit=unit, unknown=UNKNOWN, lower=lower)
