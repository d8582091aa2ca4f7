"""The vocabulary of the texts that a model is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from ..errors import Error
from ..text import Vocabulary, counting
from ..text.units import Byte, Coded, Form, make_unit, normal

UNKNOWN = "<unknown>"
AS_IT_IS = "none"


def form(normalize: str, unit: str) -> Form | None:
    """The form of Unicode in which a model reads texts, from the option `normalize`.

    "": NFC, in which an accented letter or a Hangul syllable is one symbol however it was typed; bytes are
    those of the text as it is. "none": as it is. Raises Error for a name that is none of these or a form.
    """
    if normalize == "":
        return None if unit == Byte.name else "NFC"
    if normalize == AS_IT_IS:
        return None
    for known in get_args(Form):
        if normalize == known:
            return known
    raise Error(
        f"training: normalize is {normalize!r}; wanted {', '.join(get_args(Form))}, or {AS_IT_IS} for "
        f"texts as they are"
    )


def vocabulary_of(
    texts: Sequence[str], unit: str, least: int, lower: bool = False, normalize: Form | None = None
) -> Vocabulary:
    """The symbols that occur at least so often in the texts, the most frequent first, and an unknown one.

    Raises Error if there is no such symbol, or no such unit.
    """
    cutter = make_unit(unit, lower)
    if unit == Byte.name:
        return Vocabulary(unit=unit, normalize=normalize)
    # Each by itself: the end of one and the beginning of the next are not one letter.
    texts = [normal(text, normalize) for text in texts]
    # Symbols that are numbers are counted fastest in one piece; other units need the texts' borders.
    pieces = [["".join(texts)]] if isinstance(cutter, Coded) else ([text] for text in texts)
    symbols = counting.kept(counting.count(pieces, cutter), least, None)
    if not symbols:
        raise Error(f"training: no symbol occurs {least} times in the texts; wanted texts with symbols")
    return Vocabulary(symbols, unit=unit, unknown=UNKNOWN, lower=lower, normalize=normalize)
