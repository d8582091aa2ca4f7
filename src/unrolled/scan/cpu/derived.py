"""Blocks and memory of the kernels that run after a forward pass, over the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrange import Tasks
from .fields import FIELDS, MOST_STATES
from .fills import Fills
from .layer import Group
from .room import whole_lines

_PARAMETERS = ("ih", "hh", "b_ih", "b_hh", "hr")
_STATES = [f"{name}{k}" for k in range(MOST_STATES) for name in ("dfinal", "dinitial")]
GIVEN = ["dout", "dout_row", "dout_step", "dout_low"]
RESULT = ["result", "result_row", "result_step"]
BASES = ("zeros", "rest", *_PARAMETERS, *[f"d_{n}" for n in _PARAMETERS], *_STATES, *GIVEN, *RESULT)
"""What a call gives: the addresses of parts of its memory, of parameters and gradients; and where the
output's gradient lies, and that of the input goes."""
BASE = {name: index for index, name in enumerate(BASES)}


class Derived:
    """A group's fields as they are when a call begins, but for those set here."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.fields: dict[int, int] = {}
        self.addresses: list[tuple[int, int, int]] = []
        self.copies: list[tuple[int, int]] = []

    def set(self, **fields: int) -> None:
        """These fields are so in every call."""
        self.fields |= {FIELDS[name]: value for name, value in fields.items()}

    def place(self, base: str, **offsets: int) -> None:
        """These fields are an address that a call gives, plus an offset in bytes."""
        self.addresses += [(FIELDS[name], BASE[base], offset) for name, offset in offsets.items()]

    def take(self, names: Sequence[str]) -> None:
        """These fields are what a call gives under the same names."""
        for name in names:
            self.place(name, **{name: 0})

    def same(self, name: str, other: str) -> None:
        """This field is as that one of the group's."""
        self.copies.append((FIELDS[name], FIELDS[other]))

    def moves(self, moving: Sequence[int]) -> list[tuple[int, int]]:
        """Its words that are the group's, with those that they are in the group's, of all that move."""
        own = {*self.fields, *(word for word, *_ in self.addresses), *(to for to, _ in self.copies)}
        return [(word, word) for word in moving if word not in own] + self.copies


class Blocks:
    """The memory of derived blocks, and of tasks that `arrange` does; what a call changes in them is
    written all at once when it begins.

    moving: the words of a group's block that differ from call to call.
    """

    def __init__(
        self, blocks: Sequence[Derived], tasks: Sequence[Tasks], workers: int, moving: Sequence[int]
    ) -> None:
        self._blocks, size = blocks, len(FIELDS)
        done = [t.block(workers) for t in tasks]
        starts = np.cumsum([len(blocks) * size, *map(len, done)])
        self._flat = np.zeros(starts[-1], dtype=np.int64)
        for start, words in zip(starts, done, strict=False):
            self._flat[start : start + len(words)] = words
        self.tasks = [self._flat.ctypes.data + 8 * int(start) for start in starts[:-1]]
        """Where the tasks lie."""
        self.fills = Fills(len(BASES))
        """What a call changes, when it begins."""
        for i, block in enumerate(blocks):
            for to, word in block.moves(moving):
                self.fills.copy(self._flat, i * size + to, block.group.block, word)
            for word, base, offset in block.addresses:
                self.fills.add(self._flat, i * size + word, base, offset)
        for start, one in zip(starts, tasks, strict=False):
            for word, base, offset in one.addresses:
                self.fills.add(self._flat, int(start) + word, base, offset)
        for index, block in enumerate(blocks):
            own = self._flat[index * size : (index + 1) * size]
            own[:] = block.group.block
            own[[*block.fields]] = [*block.fields.values()]

    def address(self, block: Derived) -> int:
        """Where a block lies."""
        return self._flat.ctypes.data + 8 * len(FIELDS) * self._blocks.index(block)


class Memory:
    """A plan of memory in two parts, of which the first begins as zeros."""

    def __init__(self) -> None:
        self.zeros = self.rest = 0

    def take(self, floats: int) -> int:
        """The offset in bytes, in the second part, of so many floats on cache lines of their own."""
        start = self.rest
        self.rest += whole_lines(floats)
        return 4 * start

    def take_zeros(self, floats: int) -> int:
        """As `take`, in the first part."""
        start = self.zeros
        self.zeros += whole_lines(floats)
        return 4 * start
