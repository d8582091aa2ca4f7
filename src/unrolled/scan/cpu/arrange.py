"""Copies between PyTorch's tensors and the kernels' panels as one kernel, transposing where it must.

A task moves one matrix. `turn`: (rows, cols) -> [panel of rows][col][W], and `turn_back`; `cut`:
(rows, cols) -> [panel of cols][row][W], and `join`; `add`, as `join`, to what the matrix holds. What lies
past the last row or column is zero in panels and is not written in tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from .cache import library
from .emit import I64, PTR, Function, Module, Value
from .fills import Fills
from .machine import Machine
from .pool import Jobs, Pool, Work
from .products import for_widths
from .shape import copies, get, put

TASK = ("kind", "matrix", "row", "rows", "cols", "panels", "panel", "line", "added")
"""Of the matrix: its address, the bytes between rows, its size; of the panels: their address, the bytes
between panels and between lines; a vector that is added to every row (cut alone), or 0."""
_HEAD = 2
_POINTERS = ("matrix", "panels", "added")

TURN, CUT, TURN_BACK, JOIN, ADD = range(5)


class Sizes(NamedTuple):
    """A matrix's rows, columns and bytes between rows; the bytes between panels and between lines."""

    rows: int
    cols: int
    row: int
    panel: int
    line: int


class Tasks:
    """Tasks of one call of the kernel, whose addresses are bases that only a call knows, and offsets.

    bases: the number of each base, by name.
    """

    def __init__(self, bases: Mapping[str, int]) -> None:
        self._words: list[int] = []
        self._numbers = bases
        self.bases = len(bases)
        self.addresses: list[tuple[int, int, int]] = []
        """(word of the block, number of the base, offset) of every address."""

    def __len__(self) -> int:
        return len(self._words) // len(TASK)

    def add(self, kind: int, sizes: Sizes, **at: tuple[str, int]) -> None:
        """One more; at: the base's name and the offset in bytes of matrix, panels, added."""
        start = _HEAD + len(self._words)
        self._words += [kind, 0, sizes.row, sizes.rows, sizes.cols, 0, sizes.panel, sizes.line, 0]
        self.addresses += [(start + TASK.index(n), self._numbers[base], o) for n, (base, o) in at.items()]

    def block(self, workers: int) -> np.ndarray:
        """What the kernel is told, all but the addresses."""
        return np.array([len(self), workers, *self._words], dtype=np.int64)


def jobs(address: int, workers: int) -> Jobs:
    """The kernel's jobs for a block, which must stay where it is."""
    return [[(address, rank)] for rank in range(workers)]


class Copies:
    """Tasks laid out for `count` workers; one call has them at a time."""

    def __init__(self, tasks: Tasks, count: int, machine: Machine) -> None:
        self._block, self._fills = tasks.block(count), Fills(tasks.bases)
        for word, base, offset in tasks.addresses:
            self._fills.add(self._block, word, base, offset)
        own = kernel(machine), jobs(self._block.ctypes.data, count)
        self._work = Work([[self._fills.work(count)], [own]])

    def run(self, bases: Sequence[int], pool: Pool | None) -> None:
        """Does them all; without a pool they are for one worker."""
        self._fills.give(*bases)
        if pool is None:
            self._work.alone()
        else:
            pool.run(self._work)


@cache
def kernel(machine: Machine) -> int:
    """The address of arrange(block, rank)."""
    return library(lambda: _emit(machine), "arrange", ("arrange",), machine)["arrange"]


def _emit(machine: Machine) -> str:
    module = Module(machine.width)
    copies(module)
    kinds: list[Callable[[Function, _Words], None]] = [_turn, _cut, _turn_back, _join, _add]
    for emit in kinds:
        f = module.function(emit.__name__.lstrip("_"), [(PTR, "task"), (I64, "rank"), (I64, "workers")])
        emit(f, _Words(f))
        f.finish()
    f = module.function("arrange", [(PTR, "block"), (I64, "rank")], public=True)
    block, rank = f.arguments
    workers = f.load(I64, f.at(block, 8), 8)
    with f.loop(0, f.load(I64, block, 8)) as i:
        words = f.at(block, i * (8 * len(TASK)) + 8 * _HEAD)
        which = f.load(I64, words, 8)
        for kind, emit in enumerate(kinds):
            with f.when(f.compare("eq", which, kind)):
                f.call("void", emit.__name__.lstrip("_"), [words, rank, workers])
    f.finish()
    return str(module)


class _Words:
    """A task's words as a kernel reads them."""

    def __init__(self, f: Function) -> None:
        task, self._rank, self.workers = f.arguments
        for index, name in enumerate(TASK[1:], 1):
            type = PTR if name in _POINTERS else I64
            setattr(self, name, f.load(type, f.at(task, 8 * index), 8))

    matrix: Value
    row: Value
    rows: Value
    cols: Value
    panels: Value
    panel: Value
    line: Value
    added: Value

    def share(self, count: Value) -> tuple[Value, Value]:
        """This worker's part of so many pieces."""
        return count * self._rank // self.workers, count * (self._rank + 1) // self.workers


def _turn(f: Function, t: _Words) -> None:
    width = f.width
    p0, p1 = t.share((t.rows + (width - 1)) // width)
    with f.loop(p0, p1) as p:
        left, target = t.rows - p * width, f.at(t.panels, p * t.panel)
        source = f.at(t.matrix, p * width * t.row)
        with f.loop(0, (t.cols + (width - 1)) // width) as k:
            lanes = t.cols - k * width
            square = []
            for i in range(width):
                there = f.choose(f.compare("sgt", left, i), lanes, f.int(0))
                square.append(get(f, f.at(source, t.row * i + k * f.bytes), there))
            for j, column in enumerate(transposed(f, square)):
                with f.when(f.compare("sgt", lanes, j)):
                    f.store(column, f.at(target, (k * width + j) * t.line), f.bytes)


def _turn_back(f: Function, t: _Words) -> None:
    width = f.width
    p0, p1 = t.share((t.rows + (width - 1)) // width)
    with f.loop(p0, p1) as p:
        left, source = t.rows - p * width, f.at(t.panels, p * t.panel)
        target = f.at(t.matrix, p * width * t.row)
        with f.loop(0, (t.cols + (width - 1)) // width) as k:
            lanes = t.cols - k * width
            square = []
            for j in range(width):
                there = f.choose(f.compare("sgt", lanes, j), f.int(width), f.int(0))
                square.append(get(f, f.at(source, (k * width + j) * t.line), there))
            for i, row in enumerate(transposed(f, square)):
                with f.when(f.compare("sgt", left, i)):
                    put(f, row, f.at(target, t.row * i + k * f.bytes), lanes)


_ABREAST = 4
"""Panels that are cut at a time, so that a matrix larger than the caches is read by lines side by side."""


def _cut(f: Function, t: _Words) -> None:
    count = (t.cols + (f.width - 1)) // f.width
    (r0, r1), (p0, p1) = t.share(t.rows), t.share(count)
    # Who shares a product has its panels in these parts, and finds them in the own caches. One row is one
    # worker's.
    many, enough = f.compare("sgt", t.rows, 1), f.compare("sge", count, t.workers)
    apart = f.op("i1", f"and i1 {many.name}, {enough.name}")
    r0, r1 = f.choose(apart, f.int(0), r0), f.choose(apart, t.rows, r1)
    p0, p1 = f.choose(apart, p0, f.int(0)), f.choose(apart, p1, count)

    def some(panels: int, first: Value) -> None:
        places = [first + i for i in range(panels)]
        lanes = [t.cols - p * f.width for p in places]
        sums = [f.variable(f.constant(0.0)) for _ in places]
        with f.when(f.compare("ne", t.added, f.null())):
            for p, own, total in zip(places, lanes, sums, strict=True):
                f.set(total, get(f, f.at(t.added, p * f.bytes), own))
        added = [f.get(f.vector, total) for total in sums]
        with f.loop(r0, r1) as r:
            for p, own, more in zip(places, lanes, added, strict=True):
                value = get(f, f.at(t.matrix, r * t.row + p * f.bytes), own)
                total = f.op(f.vector, f"fadd {f.vector} {value.name}, {more.name}")
                # Panels of one line may begin anywhere, and the next ones on the lanes that are left.
                f.store(total, f.at(t.panels, p * t.panel + r * t.line))

    for_widths(f, p0, p1, (_ABREAST, 1), some)


def _join(f: Function, t: _Words, more: bool = False) -> None:
    r0, r1 = t.share(t.rows)
    with f.loop(r0, r1) as r, f.loop(0, (t.cols + (f.width - 1)) // f.width) as p:
        value = f.load(f.vector, f.at(t.panels, p * t.panel + r * t.line))
        target, lanes = f.at(t.matrix, r * t.row + p * f.bytes), t.cols - p * f.width
        if more:
            value = f.op(f.vector, f"fadd {f.vector} {get(f, target, lanes).name}, {value.name}")
        put(f, value, target, lanes)


def _add(f: Function, t: _Words) -> None:
    _join(f, t, more=True)


def transposed(f: Function, square: list[Value]) -> list[Value]:
    """W vectors of W lanes, turned: halves across the diagonal change places, then halves of halves."""
    width, half = f.width, f.width // 2
    while half:
        low = [i if not i & half else width + i - half for i in range(width)]
        high = [i + half if not i & half else width + i for i in range(width)]
        for i in range(width):
            if not i & half:
                a, b = square[i], square[i + half]
                square[i], square[i + half] = f.pick(a, b, low), f.pick(a, b, high)
        half //= 2
    return square
