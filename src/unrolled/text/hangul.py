"""Hangul: syllables to jamo and back by arithmetic (The Unicode Standard, section 3.12).

A precomposed syllable is S = 0xAC00 + (l·21 + v)·28 + t, with l of 19 leading consonants, v of 21 vowels
and t of 27 trailing consonants, or 0 for none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

SYLLABLE, LEADING, VOWEL, TRAILING = 0xAC00, 0x1100, 0x1161, 0x11A7
LEADS, VOWELS, TRAILS = 19, 21, 28
SYLLABLES = LEADS * VOWELS * TRAILS

LITERAL = 0x110000
"""Added to the code point of a jamo that stands in the text itself, to tell it from a syllable's part."""
ESCAPE = "\\"
"""Put before such a jamo in the name of its symbol."""

_OPEN = "".join(map(chr, range(SYLLABLE, SYLLABLE + SYLLABLES, TRAILS)))
_LEAD, _VOWEL = "[\u1100-\u115f\ua960-\ua97c]", "[\u1160-\u11a7\ud7b0-\ud7c6]"
_TRAIL = "[\u11a8-\u11ff\ud7cb-\ud7fb]"
BLOCK = re.compile(f"{_LEAD}*(?:{_VOWEL}+|[{_OPEN}]{_VOWEL}*|[가-힣]){_TRAIL}*|{_LEAD}+|{_TRAIL}+|(?s:.)")
"""A syllable, precomposed or in conjoining jamo (rules GB6 to GB8 of UAX #29), or any other character."""


def is_conjoining(point: int) -> bool:
    """Whether a code point is a jamo of which modern syllables are made."""
    return (
        LEADING <= point < LEADING + LEADS
        or VOWEL <= point < VOWEL + VOWELS
        or TRAILING < point < TRAILING + TRAILS
    )


def decompose(points: np.ndarray) -> np.ndarray:
    """Code points (n,) to codes (m,) int64, m from n to 3n: a syllable gives the code points of its two or
    three jamo, a jamo of the text its code point + LITERAL, and anything else its code point."""
    points = points.astype(np.int64)
    offset = points - SYLLABLE
    syllable = (offset >= 0) & (offset < SYLLABLES)
    trail = np.where(syllable, offset % TRAILS, 0)
    count = 1 + syllable + (trail > 0)
    place = np.cumsum(count) - count
    codes = np.empty(int(count.sum()), dtype=np.int64)
    literal = (points >= LEADING) & (points < LEADING + LEADS)
    literal |= (points >= VOWEL) & (points < VOWEL + VOWELS)
    literal |= (points > TRAILING) & (points < TRAILING + TRAILS)
    lead = LEADING + offset // (VOWELS * TRAILS)
    codes[place] = np.where(syllable, lead, np.where(literal, points + LITERAL, points))
    codes[place[syllable] + 1] = VOWEL + offset[syllable] // TRAILS % VOWELS
    codes[place[trail > 0] + 2] = TRAILING + trail[trail > 0]
    return codes


def symbol(code: int) -> str:
    """The name of a code that `decompose` gives."""
    return ESCAPE + chr(code - LITERAL) if code >= LITERAL else chr(code)


def code(name: str) -> int | None:
    """The code of a name, or None where `decompose` gives no such code."""
    if len(name) == 1:
        return ord(name)
    if len(name) == 2 and name[0] == ESCAPE and is_conjoining(ord(name[1])):
        return ord(name[1]) + LITERAL
    return None


def compose(symbols: Iterable[str]) -> Iterator[str]:
    """The text of names of codes, a piece as soon as it is sure: lead and vowel (and trail) are a syllable.

    A part of a syllable without the others stands for itself.
    """
    begun = 0  # The code point of a leading consonant, or of a syllable that may get a trailing one.
    for name in symbols:
        point = ord(name) if len(name) == 1 else 0
        if LEADING <= begun < LEADING + LEADS and VOWEL <= point < VOWEL + VOWELS:
            begun = SYLLABLE + ((begun - LEADING) * VOWELS + point - VOWEL) * TRAILS
            continue
        if begun >= SYLLABLE and TRAILING < point < TRAILING + TRAILS:
            yield chr(begun + point - TRAILING)
            begun = 0
            continue
        if begun:
            yield chr(begun)
            begun = 0
        if LEADING <= point < LEADING + LEADS:
            begun = point
        else:
            yield name if code(name) is None or point else name[-1]
    if begun:
        yield chr(begun)
