"""Register tiles: the matrix product that all is made of but the weights' gradients (`outer`).

Operands lie in panels of one vector's width W: a matrix of rows × k as [k / W][row][W], so that the
rows of a tile are a fixed distance apart, and weights as [panel][k][column][W], so that they are read
in one stream. A tile's sums stay in registers over the whole of k, each sum one chain of fused
multiply-adds in the order of k, whatever the tile's size: a row's result does not depend on the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from .emit import I64, PTR, Function, Module, Value

_SIZES = (1, 2, 3, 4, 5, 6, 8, 9, 11, 13)
_PAIR = 2
"""Columns that a high tile has the sums of at once, where all of them would not fit the registers."""
_MOST_OF_32 = 30
"""Registers that a tile takes of 32: with 31 the compiler has a sum go to the stack and back each round."""
CAP = 64
"""Rows up to which the best cutting into tiles is looked up; beyond it the largest tile is next."""


class Tiles(NamedTuple):
    """How a product with so many columns a panel is cut: tile heights; the panels side by side that each
    height allows, widest first; and of how many columns it has the sums at once."""

    sizes: tuple[int, ...]
    widths: dict[int, tuple[int, ...]]
    spans: dict[int, int]
    columns: int

    @property
    def largest(self) -> int:
        """The height of the largest tile."""
        return self.sizes[-1]

    @property
    def whole(self) -> int:
        """The height of the largest tile that has all columns' sums at once."""
        return max(height for height, span in self.spans.items() if span == self.columns)

    def single(self, rows: int) -> bool:
        """Whether so many rows are one tile."""
        return rows <= self.largest and int(self.table()[rows]) == rows

    def fetches(self, height: int, panels: int) -> bool:
        """Whether such a tile can fetch what is read next: those into which many rows are cut."""
        return height in self.sizes[-2:] and panels == self.widths[height][0]

    def table(self) -> np.ndarray:
        """table[n]: the height of the first tile when n rows are left (n <= CAP)."""
        return _table(self.sizes)


@cache
def _table(sizes: tuple[int, ...]) -> np.ndarray:
    best, first = [0.0], [0]
    for n in range(1, CAP + 1):
        # A tile reads its weights once, which takes at least as long as four rows' arithmetic.
        options = [(max(r / 2, 2.0) + 0.2 + best[n - r], -r) for r in sizes if r <= n]
        cost, size = min(options)
        best.append(cost)
        first.append(-size)
    return np.array(first, dtype=np.int64)


@cache
def tiles(columns: int, registers: int, most: int = 8) -> Tiles:
    """The tiles of at most so many panels whose sums, weights and one broadcast fit the registers."""

    def fits(rows: int, wide: int) -> bool:
        # A single row uses each weight once, straight from memory.
        taken = rows * wide + (wide if rows > 1 else 1) + 1
        return taken <= (registers if registers < 32 else _MOST_OF_32)

    least = max(2, columns)
    sizes = [r for r in _SIZES if r == 1 or fits(r, least)]
    spans = dict.fromkeys(sizes, columns)
    if columns > _PAIR and columns % _PAIR == 0:
        # High tiles for two columns after the other two: each weight that they read serves more rows. Every
        # second height is enough, and compiles in half the time.
        high = [r for r in _SIZES if r not in spans and fits(r, _PAIR)][::-2]
        spans |= dict.fromkeys(reversed(high), _PAIR)
    widths = {
        r: tuple(
            v for v in (8, 4, 2, 1) if v == 1 or (v <= most and span == columns and fits(r, v * columns))
        )
        for r, span in spans.items()
    }
    return Tiles(tuple(spans), widths, spans, columns)


PRODUCT = [
    ("a", PTR),  # [group][panel of k][row][W]
    ("a_panel", I64),  # bytes from one panel of k to the next
    ("groups", I64),
    ("full", I64),  # panels of k that are full, in each group
    ("tail", I64),  # lanes of the panel after them
    ("b", PTR),  # weights of the first panel
    ("b_panel", I64),
    ("c", PTR),  # initial sums of the columns that have them
    ("c_panel", I64),
    ("c_row", I64),
    ("c_column", I64),
    ("bias", PTR),  # initial sums of the others, the same for every row
    ("bias_panel", I64),
    ("out", PTR),
    ("out_panel", I64),
    ("out_row", I64),
    ("ahead", PTR),  # vectors that are read soon, of which the tile fetches one for each k; or null
]


def product(
    module: Module,
    name: str,
    tile: tuple[int, int, int],
    sources: Sequence[tuple[str, int]],
    fetching: bool = False,
) -> None:
    """out[panel][row][column] = initial + Σ_k a[row][k] b[panel][k][column], k in order.

    tile: rows, panels, and the columns whose sums it has at once, for some after the others. sources: for
    each column, ("c" or "bias", position): where its initial sum lies, which may be anywhere in memory.
    fetching: whether there may be something ahead.
    """
    f = module.function(name, [(t, n) for n, t in PRODUCT])
    named = dict(zip([n for n, _ in PRODUCT], f.arguments, strict=True))
    rows, panels, span = tile
    ahead = f.variable(named["ahead"])
    for first in range(0, len(sources), span):
        columns = range(first, first + span)
        sums = _initial(f, named, rows, panels, [sources[c] for c in columns])
        part = rows, panels, columns, len(sources)
        if fetching:
            with f.when(f.compare("ne", named["ahead"], f.null())):
                _sweep(f, named, sums, part, ahead)
            with f.when(f.compare("eq", named["ahead"], f.null())):
                _sweep(f, named, sums, part, None)
        else:
            _sweep(f, named, sums, part, None)
        for v in range(panels):
            out = f.at(named["out"], named["out_panel"] * v) if v else named["out"]
            for row in range(rows):
                here = f.at(out, named["out_row"] * row) if row else out
                for index, column in enumerate(columns):
                    total = f.get(f.vector, sums[(v * rows + row) * span + index])
                    f.store(total, f.at(here, column * f.bytes), f.bytes)
    f.finish()


def _initial(
    f: Function, named: dict[str, Value], rows: int, panels: int, sources: Sequence[tuple[str, int]]
) -> list[Value]:
    """The sums of a tile, as they begin."""
    sums = []
    for v in range(panels):
        c = f.at(named["c"], named["c_panel"] * v) if v else named["c"]
        bias = f.at(named["bias"], named["bias_panel"] * v) if v else named["bias"]
        for row in range(rows):
            here = f.at(c, named["c_row"] * row) if row else c
            for where, position in sources:
                base, column = (here, named["c_column"]) if where == "c" else (bias, f.int(f.bytes))
                place = f.at(base, column * position) if position else base
                sums.append(f.variable(f.load(f.vector, place)))
    return sums


_Part = tuple[int, int, range, int]
"""What a tile sums at once: rows, panels, columns; and how many columns there are."""


def _sweep(
    f: Function, named: dict[str, Value], sums: list[Value], part: _Part, ahead: Value | None
) -> None:
    """Adds the products with every k to the sums, and fetches a vector from `ahead` for each k of a full
    panel, if that is there."""
    rows, panels, columns, wide = part
    b = [f.at(named["b"], named["b_panel"] * v) if v else named["b"] for v in range(panels)]
    weights, panel = f.variable(f.int(0)), f.variable(f.int(0))
    unroll = max(1, min(f.width, 64 // (rows * panels * len(columns))))
    unroll = 1 << (unroll.bit_length() - 1)

    def lanes(count: Value | int, unrolled: int, ahead: Value | None) -> None:
        a = f.at(named["a"], f.get(I64, panel))
        with f.loop(0, count, unrolled) as k:
            offset = f.get(I64, weights)
            streams = [f.at(pointer, offset) for pointer in b]
            source = f.at(a, k * 4)
            for u in range(unrolled):
                if ahead is not None:
                    f.prefetch(f.at(f.get(PTR, ahead), u * f.bytes))
                _step(f, sums, source, streams, part, u)
            f.set(weights, offset + unrolled * wide * f.bytes)
            if ahead is not None:
                f.set(ahead, f.at(f.get(PTR, ahead), unrolled * f.bytes))
        f.set(panel, f.get(I64, panel) + named["a_panel"])

    with f.loop(0, named["groups"]):
        with f.loop(0, named["full"]):
            lanes(f.width, unroll, ahead)
        with f.when(f.compare("sgt", named["tail"], 0)):
            lanes(named["tail"], 1, None)


def _step(f: Function, sums: list[Value], source: Value, streams: list[Value], part: _Part, u: int) -> None:
    """One k of a tile."""
    rows, panels, columns, wide = part
    span = len(columns)
    loaded = [
        [f.load(f.vector, f.at(s, (u * wide + c) * f.bytes), f.bytes) for c in columns] for s in streams
    ]
    for row in range(rows):
        a = f.splat(f.load("float", f.at(source, row * f.bytes + u * 4)))
        for v in range(panels):
            for c in range(span):
                place = sums[(v * rows + row) * span + c]
                f.set(place, f.fma(a, loaded[v][c], f.get(f.vector, place)))


def coming(
    f: Function,
    cut: Tiles,
    fetch: Value,
    weights: Value,
    panel: Value,
    next: Value,
    tile: tuple[int, int, Value],
) -> Value:
    """What a tile of a product fetches: its part of the weights that are read next, if they are to be.

    panel: bytes of a panel of weights; next: the first panel that is read next; tile: height, panels and
    first row.
    """
    height, width, row = tile
    if not cut.fetches(height, width):
        return f.null()
    columns, part = cut.columns * width, row // height * (cut.columns // cut.spans[height])
    wanted = f.op("i1", f"and i1 {f.compare('ne', fetch, 0).name}, {f.compare('slt', part, columns).name}")
    return f.choose(wanted, f.at(weights, next * panel + part * (panel // cut.columns)), f.null())


def for_tiles(
    f: Function, count: Value, table: Value, cut: Tiles, body: Callable[[int, Value], None]
) -> None:
    """Cuts `count` rows into tiles: body(height, first row) for each."""
    at = f.variable(f.int(0))
    with f.whilst() as after:
        row = f.get(I64, at)
        left = count - row
        f.leave_unless(f.compare("sgt", left, 0), after)
        looked = f.load(I64, f.at(table, f.least(left, CAP) * 8), 8)
        beyond = f.compare("sgt", left, CAP)
        size = f.op(I64, f"select i1 {beyond.name}, i64 {cut.largest}, i64 {looked.name}")
        for height in cut.sizes:
            with f.when(f.compare("eq", size, height)):
                body(height, row)
        f.set(at, row + size)


def for_panels(
    f: Function,
    begin: Value,
    end: Value,
    each: Value,
    body: Callable[[Value, Value], None],
    turned: Value | None = None,
) -> None:
    """Cuts the panels begin..end into pieces of `each`: body(first panel, end) for each; the last piece
    first if turned. Of two passes, of which one is, the second begins with what the caches still hold."""
    pieces = (end - begin + each - 1) // each
    with f.loop(0, pieces) as i:
        first = begin + (i if turned is None else f.choose(turned, pieces - 1 - i, i)) * each
        body(first, f.least(first + each, end))


def for_widths(
    f: Function, begin: Value, end: Value, widths: Sequence[int], body: Callable[[int, Value], None]
) -> None:
    """Cuts the panels begin..end, the widest tile first: body(panels, first panel) for each. The last four
    are two and two, where there are tiles of three: one alone would wait for what it loads."""
    at = f.variable(begin)
    for width in widths:
        with f.whilst() as after:
            panel = f.get(I64, at)
            left = end - panel
            fits = f.compare("sge", left, width)
            if width == 3:
                fits = f.op("i1", f"and i1 {fits.name}, {f.compare('ne', left, 4).name}")
            f.leave_unless(fits, after)
            body(width, panel)
            f.set(at, panel + width)
