"""What a text does from symbol to symbol, as numbers that a unit's values can be compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

OPENING = {"(": ")", "[": "]", "{": "}", "（": "）", "［": "］", "｛": "｝"}
QUOTES = {"“": "”", "„": "“", "«": "»", "「": "」", "『": "』"}


@dataclass(frozen=True)
class Track:
    """One number a symbol, as it stands after the symbol was read.

    values: (time,) float32. binary: whether they are 0 and 1 only.
    """

    name: str
    values: Tensor
    binary: bool


def text_tracks(symbols: Sequence[str]) -> list[Track]:
    """Every track of a text.

    position in line: symbols since the last line break. line length: symbols of the whole line that the
    symbol is in, what comes after it included; a line break begins the line after it. inside quotes:
    between "…" or typographic pairs (the single quote is an apostrophe too often). inside brackets,
    bracket depth: of round, square and curly ones. A blank line closes all quotes and brackets. capital,
    digit: the symbol begins with one. word boundary: the symbol is neither letter nor digit. position in
    word: symbols since one.
    """
    position, depth = _position_in_line(symbols), list(_depth(symbols))
    boundary = [not symbol[0].isalnum() for symbol in symbols]
    found: dict[str, tuple[Sequence[float], bool]] = {
        "position in line": (position, False),
        "line length": (_line_length(position), False),
        "inside quotes": (list(_quoted(symbols)), True),
        "inside brackets": ([d > 0 for d in depth], True),
        "bracket depth": (depth, False),
        "capital": (_each(symbols, str.isupper), True),
        "digit": (_each(symbols, str.isdigit), True),
        "word boundary": (boundary, True),
        "position in word": (_since(boundary), False),
    }
    return [
        Track(name, torch.tensor(values, dtype=torch.float32), binary)
        for name, (values, binary) in found.items()
    ]


def label_tracks(labels: Sequence[str]) -> list[Track]:
    """For each label that stands at some symbols and not at others: 1 where it does."""
    return [
        Track(f"label {label}", torch.tensor([one == label for one in labels], dtype=torch.float32), True)
        for label in sorted(set(labels))
    ]


def joined(tracks: Sequence[Sequence[Track]]) -> list[Track]:
    """The tracks of many texts, each text by itself, end to end."""
    return [
        Track(parts[0].name, torch.cat([part.values for part in parts]), parts[0].binary)
        for parts in zip(*tracks, strict=True)
    ]


def _each(symbols: Sequence[str], test: Callable[[str], bool]) -> list[bool]:
    return [test(symbol[0]) for symbol in symbols]


def _position_in_line(symbols: Sequence[str]) -> list[int]:
    return _since([symbol == "\n" for symbol in symbols])


def _since(breaks: Sequence[bool]) -> list[int]:
    """Symbols since the last break; 0 at a break."""
    found, count = [], 0
    for here in breaks:
        count = 0 if here else count + 1
        found.append(count)
    return found


def _line_length(position: Sequence[int]) -> list[int]:
    lengths, length = [0] * len(position), 0
    for t in reversed(range(len(position))):
        at_end = t + 1 == len(position) or position[t + 1] == 0
        length = position[t] if at_end else length
        lengths[t] = length
    return lengths


def _marks(symbols: Sequence[str]) -> Iterator[str]:
    """The symbols, with a blank line's second line break as an empty string."""
    before = ""
    for symbol in symbols:
        yield "" if symbol == before == "\n" else symbol
        before = symbol


def _depth(symbols: Sequence[str]) -> Iterator[int]:
    waiting: list[str] = []
    for symbol in _marks(symbols):
        if not symbol:
            waiting.clear()
        for character in symbol:
            if character in OPENING:
                waiting.append(OPENING[character])
            elif character in waiting:  # what was opened after it was never closed
                while waiting.pop() != character:
                    pass
        yield len(waiting)


def _quoted(symbols: Sequence[str]) -> Iterator[bool]:
    closing = ""
    for symbol in _marks(symbols):
        if not symbol:
            closing = ""
        for character in symbol:
            if closing:
                closing = "" if character == closing else closing
            else:
                closing = '"' if character == '"' else QUOTES.get(character, "")
        yield bool(closing)
