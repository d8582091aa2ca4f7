"""Words of blocks that are written anew in every call, all by one kernel: Python takes a tenth of a
microsecond for each of them, and a call has up to a few hundred."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from .cache import library
from .emit import I64, PTR, Module
from .machine import machine
from .pool import Jobs


class Fills:
    """What is written, each word as another one plus an offset; that other is one of the bases that a call
    gives, addresses mostly, or a word of a block."""

    def __init__(self, bases: int) -> None:
        self.bases = np.zeros(bases, dtype=np.int64)
        self.give: Callable[..., None] = partial(struct.Struct(f"{bases}q").pack_into, self.bases.data, 0)
        """Notes the bases, each an argument, for `fill`, or for `work`."""
        self._table: list[int] = []
        self.words: set[int] = set()
        """All words of blocks that are given: `add`'s, whose blocks are alike."""
        self._kept: list[Any] = [self.bases]
        self._sealed: tuple[int, int] | None = None
        self._kernel, self._call = _code()

    def add(self, block: np.ndarray, word: int, base: int, offset: int = 0) -> None:
        """block[word] is to be base number `base` + offset."""
        self.copy(block, word, self.bases, base, offset)
        self.words.add(word)

    def copy(self, array: np.ndarray, index: int, source: np.ndarray, other: int, offset: int = 0) -> None:
        """array[index] is to be source[other] + offset."""
        places = (array.ctypes.data + 8 * index, source.ctypes.data + 8 * other)
        self._table += [*places, offset]
        self._kept += [array, source]
        self._sealed = None

    def fill(self) -> None:
        """Fills in the bases as they are."""
        self._call(*(self._sealed or self._seal()))

    def work(self, workers: int) -> tuple[int, Jobs]:
        """Filling in as a piece of work, when all has been added: the first of so many workers does it."""
        return self._kernel, [[self._sealed or self._seal()], *[[] for _ in range(workers - 1)]]

    def _seal(self) -> tuple[int, int]:
        table = np.array(self._table, dtype=np.int64)
        self._kept = [*{id(k): k for k in self._kept}.values(), table]
        self._sealed = table.ctypes.data, len(table) // 3
        return self._sealed


@cache
def _code() -> tuple[int, Any]:
    address = library(_emit, "fill", ("fill",), machine())["fill"]
    return address, ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)


def _emit() -> str:
    """fill(table, count): of each row, (where, from where, offset), the word there becomes the sum."""
    module = Module(machine().width)
    f = module.function("fill", [(PTR, "table"), (I64, "count")], public=True)
    table, count = f.arguments
    with f.loop(0, count) as i:
        row = f.at(table, i * 24)
        word = f.load(I64, f.load(PTR, f.at(row, 8), 8), 8) + f.load(I64, f.at(row, 16), 8)
        f.store(word, f.load(PTR, row, 8), 8)
    f.finish()
    return str(module)
