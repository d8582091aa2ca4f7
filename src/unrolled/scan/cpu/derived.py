"""Blocks and memory of the kernels that run after a forward pass, over the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrange import Tasks
from .fields import FIELDS, MOST_STATES
from .layer import Group

_PARAMETERS = ("ih", "hh", "b_ih", "b_hh", "hr")
_STATES = [f"{name}{k}" for k in range(MOST_STATES) for name in ("dfinal", "dinitial")]
BASES = ("zeros", "rest", *_PARAMETERS, *[f"d_{name}" for name in _PARAMETERS], *_STATES)
"""What addresses of a call are relative to: parts of its memory, parameters, gradients."""
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
        self._words = self._flat.data
        for start, words in zip(starts, done, strict=False):
            self._flat[start : start + len(words)] = words
        self.tasks = [self._flat.ctypes.data + 8 * int(start) for start in starts[:-1]]
        """Where the tasks lie."""
        places = [(i * size + word, *rest) for i, b in enumerate(blocks) for word, *rest in b.addresses]
        for start, one in zip(starts, tasks, strict=False):
            places += [(start + word, *rest) for word, *rest in one.addresses]
        self._places, self._bases, self._offsets = np.array(places, dtype=np.int64).T
        self._moves: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for group in {id(b.group): b.group for b in blocks}.values():
            own = [(i * size, b) for i, b in enumerate(blocks) if b.group is group]
            moves = [(i + to, word) for i, b in own for to, word in b.moves(moving)]
            self._moves.append((group.block, *np.array(moves, dtype=np.int64).T))
        self.settle()

    def settle(self) -> None:
        """Takes up what was set since, in the blocks or in their groups'."""
        size = len(FIELDS)
        for index, block in enumerate(self._blocks):
            own = self._flat[index * size : (index + 1) * size]
            own[:] = block.group.block
            own[[*block.fields]] = [*block.fields.values()]

    def address(self, block: Derived) -> int:
        """Where a block lies."""
        return self._flat.ctypes.data + 8 * len(FIELDS) * self._blocks.index(block)

    def begin(self, bases: np.ndarray) -> None:
        """Writes what this call changes."""
        for source, to, words in self._moves:
            self._flat[to] = source[words]
        self._flat[self._places] = bases[self._bases] + self._offsets

    def write(self, block: Derived, names: list[int], values: Sequence[int]) -> None:
        """Fields of one block for this call, after `begin`."""
        start = len(FIELDS) * self._blocks.index(block)
        for name, value in zip(names, values, strict=True):
            self._words[start + name] = value


class Memory:
    """A plan of memory in two parts, of which the first begins as zeros."""

    def __init__(self) -> None:
        self.zeros = self.rest = 0

    def take(self, floats: int) -> int:
        """The offset in bytes, in the second part, of so many floats on cache lines of their own."""
        self.rest += -(-floats // 16) * 16
        return 4 * (self.rest - -(-floats // 16) * 16)

    def take_zeros(self, floats: int) -> int:
        """As `take`, in the first part."""
        self.zeros += -(-floats // 16) * 16
        return 4 * (self.zeros - -(-floats // 16) * 16)
