"""One layer's forward pass laid out: rows shared out, memory given to each, and who does what."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from . import ahead
from .deal import Deal
from .division import division
from .fields import FIELDS
from .geometry import Geometry
from .machine import L1
from .pool import Jobs
from .products import Tiles
from .room import memory, whole_lines
from .sync import LINE

_ENOUGH = 48
"""Rows of a chunk, for which it is worth reading the input's weights from the third cache."""


class Rows(NamedTuple):
    """The rows of a group: which rows of the batch, how many of them each step runs, and where each
    ends; longest first."""

    rowmap: np.ndarray
    active: np.ndarray
    ends: np.ndarray
    full: bool

    @classmethod
    def of(cls, rows: np.ndarray, time: int, full: bool) -> Rows:
        """All rows running all steps; full: whether that stays so, or lengths are dealt to it (`deal`)."""
        ends = np.full(len(rows), time, dtype=np.int64)
        return cls(rows, np.full(time + 1, len(rows), dtype=np.int64), ends, full)


class Group:
    """One group's fields and memory: everything but the tensors of a particular call.

    workers: how many share its units. fed: whether another one makes the input product (`ahead`). elastic:
    whether it runs as many steps as a call has, up to those of the geometry."""

    def __init__(
        self,
        geometry: Geometry,
        rows: Rows,
        workers: int,
        fed: bool,
        training: bool,
        indexed: bool,
        packed: bool,
        elastic: bool,
    ) -> None:
        self.rows, self.geometry, self.elastic = rows, geometry, elastic
        self.pieces: np.ndarray | None = None
        """The rows of each piece of its products after a backward scan (`segments`)."""
        self.block = np.zeros(len(FIELDS), dtype=np.int64)
        self.address = self.block.ctypes.data
        self._alive: list[Any] = []
        stack, shape, width = geometry.stack, geometry.shape, geometry.width
        count, time = len(rows.rowmap), geometry.time
        hidden, out = geometry.hidden_panels, geometry.out_panels
        # Panels an odd number of cache lines apart do not meet in the same sets of the cache.
        self.lines = (time + 1) * count | 1
        weights_leave = self._weights_leave(workers, indexed)
        ring = chunk = self._chunk(indexed, weights_leave)
        if fed:
            # A tile's rows are multiplied at once.
            chunk = max(1, shape.cut(geometry.x_columns).whole // ahead.CHUNKS // count)
            ring = max(2, ring // (ahead.CHUNKS * chunk)) * ahead.CHUNKS * chunk
        x_lines = ring * count | 1
        strides = geometry.x_strides(x_lines)
        full, tail = divmod(geometry.input_size, width)
        h_full, h_tail = divmod(stack.output_size, width)
        p_full, p_tail = divmod(stack.hidden_size, width)
        self.set(
            steps=time,
            rows=count,
            chunk=chunk,
            ring=ring,
            workers=workers,
            panels=hidden,
            hidden=stack.hidden_size,
            out_panels=out,
            out_size=stack.output_size,
            in_panels=geometry.in_panels,
            in_full=full,
            in_tail=tail,
            h_full=h_full,
            h_tail=h_tail,
            p_full=p_full,
            p_tail=p_tail,
            panel_step=self._panel_step(workers),
            fetch=not fed and weights_leave,
            in_size=geometry.input_size,
            feed=geometry.feed["follow" if fed else "feed"] if shape.reads_input else 0,
            x_panels=geometry.x_panels,
            xp_row=4 * strides[0],
            xp_panel=4 * strides[1],
            xp_gate=4 * strides[2],
            xp_step=panel_step(shape.cut(geometry.x_columns), chunk * count),
            s_lines=self.lines,
            x_lines=x_lines,
        )
        self.set(
            full=rows.full,
            padded=not rows.full and not packed,
            rowmap=rows.rowmap.ctypes.data,
            active=rows.active.ctypes.data,
            ends=rows.ends.ctypes.data,
        )
        self.keep("starts", np.zeros(time, dtype=np.int64))
        columns = geometry.x_columns
        for name, own in (("tiles_x", columns), ("tiles_r", shape.r_columns), ("tiles_p", 1)):
            self.keep(name, shape.cut(own).table())
        sizes = {"zeros": width * 2, "progress": LINE // 4 * ahead.LINES, "barrier": LINE // 4 * workers}
        sizes |= {f"start{k}": geometry.state_panels(k) * count * width for k in range(shape.states)}
        sizes |= self.state_sizes(ring=True)
        # The last row's last gate is read as whole vectors.
        sizes["xp"] = x_lines * (geometry.x_panels | 1) * columns * width + width
        if not indexed:
            sizes["xa"] = geometry.in_panels * x_lines * width
        self._lay_out(sizes)

    def _panel_step(self, workers: int) -> int:
        """Panels of the recurrent product that pass over all row tiles together; of one row so few that the
        first cache still has some when the next step begins with the last (`products.for_panels`)."""
        geometry, columns = self.geometry, self.geometry.shape.r_columns
        if len(self.rows.rowmap) > 1:
            return panel_step(geometry.shape.cut(columns), len(self.rows.rowmap))
        panel = 4 * columns * geometry.stack.output_size * geometry.width
        larger = panel * (geometry.hidden_panels // workers) >= L1
        # A tile needs three sums or more, each waiting for itself; a projection's has one a panel.
        enough = columns >= 3 and not geometry.shape.projected
        return 1 if enough and larger and panel <= L1 // 2 else 4

    def _chunk(self, indexed: bool, weights_leave: bool) -> int:
        """The steps of a chunk, whose input product stays in the second cache.

        weights_leave: whether the weights do not, so that a chunk of few rows would read them for little.
        """
        geometry, rows = self.geometry, max(1, len(self.rows.rowmap))
        panels = geometry.x_panels * geometry.x_columns + (0 if indexed else geometry.in_panels)
        room = geometry.shape.machine.l2 // 4 // 4
        chunk = room // max(1, panels * geometry.width * rows)
        if weights_leave:
            chunk = max(chunk, _ENOUGH // rows)
        return max(1, min(geometry.time, chunk))

    def _weights_leave(self, workers: int, indexed: bool) -> bool:
        """Whether a worker's input and recurrent weights leave the second cache between one step, or chunk,
        and the next, so that a tile fetches what is read next, while it computes.

        Otherwise the first tile of rows waits for them, since a processor by itself fetches no farther than
        to the end of a page of 4 KB; if there is but one tile of rows, all wait, whoever fetches.
        """
        geometry, stack = self.geometry, self.geometry.stack
        weights = stack.output_size * geometry.shape.r_columns * geometry.hidden_panels
        if geometry.shape.reads_input and not indexed:
            weights += geometry.input_size * geometry.x_columns * geometry.x_panels
        return 4 * geometry.width * weights // workers > geometry.shape.machine.l2

    def state_sizes(self, ring: bool) -> dict[str, int]:
        """The memory of the states of which there are two steps' in turns, or of those with every one's."""
        geometry, shape = self.geometry, self.geometry.shape
        each = (2 * len(self.rows.rowmap) + 1 if ring else self.lines) * geometry.width
        sizes = {
            f"state{k}": geometry.state_panels(k) * each
            for k in range(shape.states)
            if shape.ring(k) is ring
        }
        if shape.projected and shape.ring(None) is ring:
            sizes["raw"] = geometry.hidden_panels * each
        return sizes

    def set(self, **fields: int) -> None:
        """Writes fields."""
        for name, value in fields.items():
            self.block[FIELDS[name]] = value

    def keep(self, name: str, array: np.ndarray) -> None:
        """An array's address in a field, and the array alive."""
        self._alive.append(array)
        self.block[FIELDS[name]] = array.ctypes.data

    def _lay_out(self, sizes: dict[str, int]) -> None:
        # Each begins on a cache line of its own.
        starts, total = {}, 0
        for name, size in sizes.items():
            starts[name] = total
            total += whole_lines(size)
        self.scratch = memory(total)
        base = self.scratch.data_ptr()
        for name, start in starts.items():
            self.block[FIELDS[name]] = base + 4 * start
        self.scratch[: starts["barrier"] + sizes["barrier"]] = 0


def panel_step(cut: Tiles, rows: int) -> int:
    """Panels that pass over all row tiles together: few, so that their weights stay in the first
    cache, or many where there is but one tile."""
    if cut.single(rows):
        return 8
    return max(cut.widths[cut.largest])


class Layer:
    """A layer's groups in both directions, for one split over workers; calls fill in their tensors."""

    def __init__(
        self,
        geometry: Geometry,
        workers: int,
        training: bool,
        indexed: bool,
        lengths: bool,
        packed: bool = False,
        elastic: bool = False,
    ) -> None:
        self.geometry, self.lengths, self.packed, self.elastic = geometry, lengths, packed, elastic
        directions = geometry.stack.directions
        features = geometry.input_size if geometry.shape.reads_input and not indexed else 0
        apart, together, fed = division(geometry, features, workers, training)
        self.directions: list[list[Group]] = []
        for _ in range(directions):
            # The larger ones first, as `deal` deals.
            parts = np.array_split(np.arange(geometry.batch, dtype=np.int64), apart)
            rows = [Rows.of(_mixed(part), geometry.time, not lengths) for part in parts]
            kind = together, fed, training, indexed, packed, elastic
            self.directions.append([Group(geometry, r, *kind) for r in rows])
        self.groups = [g for own in self.directions for g in own]
        jobs = assign([g.address for g in self.groups], 2 if fed else together, workers)
        self._ahead = None
        if fed:
            jobs, runs = ([[j for j in own if j[1] == rank] for own in jobs] for rank in range(2))
            self._ahead = geometry.feed["ahead"], runs
        self._jobs = jobs
        arrays = [[g.rows[:3] for g in own] for own in self.directions]
        self.deal = Deal(arrays, geometry.batch, geometry.time) if lengths else None
        """Deals the rows anew, by their lengths, before the kernel runs."""

    def phases(self, kernel: int, workers: int) -> list[list[tuple[int, Jobs]]]:
        """What so many workers do, of whom the first deals the rows."""
        before = [[self.deal.work(workers)]] if self.deal else []
        return [*before, self.scan(kernel)]

    def scan(self, kernel: int) -> list[tuple[int, Jobs]]:
        """What they do when the rows are dealt."""
        return [(kernel, self._jobs), *([self._ahead] if self._ahead else [])]


_LAST = 16
"""Rows before the end of which the processor has to see no pattern."""


def _mixed(rows: np.ndarray) -> np.ndarray:
    """The rows, the last of them in an order without a pattern.

    Processors fetch what a loop will write next, as they see it: of rows that are written one after the
    other also those that come after a group's last. So they take them from the core that writes them.
    """
    last = rows[-_LAST:]
    order = random.Random(0).sample(range(len(last)), len(last))
    return np.concatenate([rows[:-_LAST], last[order]])


def assign(blocks: Sequence[int], together: int, workers: int) -> list[list[tuple[int, int]]]:
    """Each worker's (block, rank): `together` workers meet in every block, in the same order."""
    jobs: list[list[tuple[int, int]]] = [[] for _ in range(workers)]
    for index, block in enumerate(blocks):
        for rank in range(together):
            jobs[(index * together + rank) % workers].append((block, rank))
    return jobs


def place(tensor: Tensor, reverse: bool, offset: int = 0, batch_first: bool = True) -> tuple[int, int, int]:
    """Address of the first step's first row, and the bytes between rows and steps; of a packed one (rows,
    feature), whose steps lie where `starts` says, 0."""
    if tensor.dim() == 2 and tensor.is_floating_point():
        return tensor.data_ptr(), tensor.element_size() * tensor.stride(0), 0
    row, step = tensor.stride()[:2] if batch_first else tensor.stride()[1::-1]
    size, address = tensor.element_size(), tensor.data_ptr()
    if not reverse:
        return address, row * size, step * size
    last = tensor.shape[1 if batch_first else 0] - 1 + offset
    return address + last * step * size, row * size, -step * size
