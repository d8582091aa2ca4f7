"""Blocks and memory of the kernels that run after a forward pass, over the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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


class Blocks:
    """The memory of derived blocks, written all at once when a call begins."""

    def __init__(self, blocks: Sequence[Derived]) -> None:
        self._blocks = blocks
        self._words = np.zeros((len(blocks), len(FIELDS)), dtype=np.int64)
        self._flat = self._words.reshape(-1)
        groups = {id(b.group): b.group for b in blocks}
        self._groups = [
            (g.block, np.array([i for i, b in enumerate(blocks) if b.group is g])) for g in groups.values()
        ]
        places = [(self._at(i, word), *rest) for i, b in enumerate(blocks) for word, *rest in b.addresses]
        self._places, self._bases, self._offsets = np.array(places, dtype=np.int64).T
        copies = [
            (self._at(i, w), self._at(i, other)) for i, b in enumerate(blocks) for w, other in b.copies
        ]
        self._to, self._from = np.array(copies, dtype=np.int64).reshape(-1, 2).T
        self.settle()

    def _at(self, index: int, word: int) -> int:
        return index * len(FIELDS) + word

    def settle(self) -> None:
        """Takes up what was set since."""
        fields = [
            (self._at(i, w), value) for i, b in enumerate(self._blocks) for w, value in b.fields.items()
        ]
        self._names, self._values = np.array(fields, dtype=np.int64).T

    def address(self, block: Derived) -> int:
        """Where a block lies."""
        return self._words[self._blocks.index(block)].ctypes.data

    def begin(self, bases: np.ndarray) -> None:
        """Writes all fields for a call."""
        for source, rows in self._groups:
            self._words[rows] = source
        self._flat[self._to] = self._flat[self._from]
        self._flat[self._names] = self._values
        self._flat[self._places] = bases[self._bases] + self._offsets

    def write(self, block: Derived, names: list[int], values: Sequence[int]) -> None:
        """Fields of one block for this call, after `begin`."""
        self._words[self._blocks.index(block), names] = values


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
