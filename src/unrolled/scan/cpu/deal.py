"""Rows of many lengths dealt to a layer's groups, longest first, by a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from torch import Tensor

from .cache import library
from .emit import I64, PTR, Function, Module, Value
from .machine import machine
from .pool import Jobs
from .ragged import Ragged

_HEAD, _GROUP = 6, 4
LENGTHS, STEPS = 0, 3
"""The words of a deal that say where the lengths are, int64, and how many steps there are."""


class Deal:
    """groups: for each direction, the arrays (rowmap, active, ends) of each of its groups, which it writes.

    rowmap: which rows of the batch a group has; active: how many of them each step runs, the last of all
    none; ends: the steps that each row has run when it ends, -1 if it has none.
    """

    def __init__(self, groups: Sequence[Sequence[tuple[np.ndarray, ...]]], batch: int, time: int) -> None:
        arrays = [[*own, direction] for direction, some in enumerate(groups) for own in some]
        counts = np.zeros(time + 1, dtype=np.int64)
        words = [0, counts.ctypes.data, batch, time, len(groups[0]), len(groups)]
        for *own, direction in arrays:
            words += [*(array.ctypes.data for array in own), direction]
        self.words = np.array(words, dtype=np.int64)
        self._kept = arrays, counts

    def give(self, lengths: Tensor | Ragged) -> None:
        """Notes where the lengths are."""
        self.words[LENGTHS] = lengths.data_ptr() if isinstance(lengths, Tensor) else lengths.address

    def work(self, workers: int) -> tuple[int, Jobs]:
        """What one of so many workers does: the kernel, and everyone's (block, rank)."""
        return _kernel(), [[(self.words.ctypes.data, 0)], *[[] for _ in range(workers - 1)]]


@cache
def _kernel() -> int:
    return library(_emit, "deal", ("deal",), machine())["deal"]


def _emit() -> str:
    """deal(words, rank): rows sorted by counting, those of one length as in the batch. The
    groups take turns at them."""
    module = Module(machine().width)
    f = module.function("deal", [(PTR, "words"), (I64, "rank")], public=True)
    words = f.arguments[0]
    lengths, counts = (f.load(PTR, f.at(words, 8 * i), 8) for i in range(2))
    batch, time, groups, directions = (f.load(I64, f.at(words, 8 * i), 8) for i in range(2, _HEAD))

    def count(length: Value) -> Value:
        return f.at(counts, length * 8)

    def length(row: Value) -> Value:
        # What another thread writes meanwhile may make it wrong, but nothing may be written elsewhere.
        found = f.least(f.load(I64, f.at(lengths, row * 8), 8), time)
        return f.choose(f.compare("slt", found, 0), f.int(0), found)

    with f.loop(0, time + 1) as t:
        f.store(f.int(0), count(t), 8)
    with f.loop(0, batch) as row:
        own = count(length(row))
        f.store(f.load(I64, own, 8) + 1, own, 8)
    # Of every length, how many rows are longer: so many run the step of that number.
    longer = f.variable(f.int(0))
    with f.loop(0, time + 1) as t:
        own = count(time - t)
        same = f.load(I64, own, 8)
        f.store(f.get(I64, longer), own, 8)
        f.set(longer, f.get(I64, longer) + same)
    with f.loop(0, directions) as direction, f.loop(0, groups) as group:
        _, active, _, backwards = _group(f, words, direction * groups + group)
        with f.loop(0, time) as step:
            rows = f.load(I64, count(f.choose(backwards, time - 1 - step, step)), 8)
            f.store((rows - group + groups - 1) // groups, f.at(active, step * 8), 8)
        f.store(f.int(0), f.at(active, time * 8), 8)
    with f.loop(0, batch) as row:
        own = length(row)
        place = f.load(I64, count(own), 8)
        f.store(place + 1, count(own), 8)
        turn = place // groups
        with f.loop(0, directions) as direction:
            rowmap, _, ends, backwards = _group(f, words, direction * groups + place - turn * groups)
            f.store(row, f.at(rowmap, turn * 8), 8)
            end = f.choose(f.compare("eq", own, 0), f.int(-1), f.choose(backwards, time, own))
            f.store(end, f.at(ends, turn * 8), 8)
    f.finish()
    return str(module)


def _group(f: Function, words: Value, number: Value) -> tuple[Value, Value, Value, Value]:
    """A group's rowmap, active and ends, and whether it reads from the end."""
    here = f.at(words, number * (8 * _GROUP) + 8 * _HEAD)
    rowmap, active, ends = (f.load(PTR, f.at(here, 8 * i), 8) for i in range(3))
    return rowmap, active, ends, f.compare("ne", f.load(I64, f.at(here, 24), 8), 0)
