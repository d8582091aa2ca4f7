"""Parameters laid out for the kernels: panels of W units, kept while the parameters are unchanged."""

from __future__ import annotations

import operator
import weakref
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..stack import Stack
from . import arrange, hoist
from .digest import Digest
from .geometry import x_columns
from .pool import Pool
from .room import borrow, whole_lines
from .shape import Shape, panels

PARTS = ("w_x", "bias_x", "w_r", "bias_r", "w_p", "vectors")


class Packed:
    """One layer's and direction's parameters in panels.

    w_x [panel][k][column][W], for indices [symbol][panel][column][W], and bias_x [panel][column][W]: the
    input product's. w_r, bias_r: the recurrent product's. w_p [panel][k][W]: the projection. vectors
    [panel][vector][W].
    """

    def __init__(self, offsets: dict[str, int], floats: int) -> None:
        self.room, self.offsets = borrow(floats), offsets
        self.address = self.room.floats.data_ptr()

    @property
    def pointers(self) -> list[int]:
        """The parts' addresses in the order of `PARTS`; 0 for a part that is not there."""
        return [self.address + self.offsets[n] if n in self.offsets else 0 for n in PARTS]


def unpacked(stack: Stack, parameters: Sequence[Tensor], zeros: Tensor) -> list[int]:
    """The addresses of the parameters themselves in the order of `PARTS`; zeros: for biases not there."""
    at = dict(zip(present(stack), [p.data_ptr() for p in parameters], strict=False))
    none = zeros.data_ptr()
    return [at["ih"], at.get("b_ih", none), at.get("hh", 0), at.get("b_hh", none), 0, 0]


_Source = tuple[str, int]
"""A parameter's name and the bytes before what is read of it."""


class Packing:
    """How one layer's parameters go into panels."""

    def __init__(self, stack: Stack, input_size: int, shape: Shape, indexed: bool) -> None:
        self._hidden, self.machine = stack.hidden_size, shape.machine
        self._width = self.machine.width
        vectors = [(f"vector{j}", 0) for j in range(len(stack.cell.vectors))]
        names = [*present(stack), *(name for name, _ in vectors), "nothing", "room"]
        self._tasks = arrange.Tasks({name: index for index, name in enumerate(names)})
        self._offsets: dict[str, int] = {}
        self._floats = 0
        self._free: defaultdict[int, list[arrange.Copies]] = defaultdict(list)
        self._zeros = torch.zeros(self._hidden, dtype=torch.float32)
        graph, dense, size = shape.graph, stack.cell.recurrent == "dense", stack.output_size
        b_ih = "b_ih" if stack.bias else "nothing"
        b_hh = "b_hh" if stack.bias and dense else "nothing"
        if graph.x_gates:
            both = [(b_ih, b_hh) if g in graph.merged else (b_ih,) for g in range(stack.cell.gates)]
            biases = [[self._gate(name, g) for name in names] for g, names in enumerate(both)]
            self._input(stack, input_size, indexed, biases)
        if dense:
            self._turn("w_r", [self._gate("hh", g, size) for g in graph.r_gates], size)
        self._lines("bias_r", [[self._gate(b_hh, g)] for g in graph.r_only])
        if stack.proj_size:
            self._turn("w_p", [("hr", 0)], stack.hidden_size, rows=stack.proj_size)
        if stack.cell.recurrent == "diagonal":
            for name in ("hh", "b_hh") if stack.bias else ("hh",):
                vectors += [self._gate(name, g) for g in range(stack.cell.gates)]
        self._lines("vectors", [[v] for v in vectors], more=len(shape.hoisted))
        self._hoist = hoist.kernel(shape) if shape.hoisted else None

    def _gate(self, name: str, gate: int, size: int = 1) -> _Source:
        return name, (4 * gate * self._hidden * size if name != "nothing" else 0)

    def _input(self, stack: Stack, cols: int, indexed: bool, biases: Sequence[Sequence[_Source]]) -> None:
        """Weights and biases of all gates: in columns, or side by side as if they were one gate's."""
        columns, vector = x_columns(stack, self._width), 4 * self._width
        rows = stack.cell.gates * self._hidden // columns
        count, wide = panels(rows, self._width), columns * vector
        panel, line = (wide, count * wide) if indexed else (cols * wide, wide)
        start = self._part("w_x", count * columns * cols)
        for column in range(columns):
            sizes = arrange.Sizes(rows, cols, row=4 * cols, panel=panel, line=line)
            source, target = self._gate("ih", column, cols), ("room", start + column * vector)
            self._tasks.add(arrange.TURN, sizes, matrix=source, panels=target)
        # A gate's last vector may go over the beginning of the next gate's, which is written after it: all
        # of them are one row, so one worker's.
        start, sizes = self._part("bias_x", count * columns + 1), arrange.Sizes(1, self._hidden, 0, wide, 0)
        for gate, own in enumerate(biases):
            added = dict(zip(("matrix", "added"), own, strict=False))
            target = ("room", start + gate * (vector if columns > 1 else 4 * self._hidden))
            self._tasks.add(arrange.CUT, sizes, panels=target, **added)

    def _turn(self, name: str, sources: Sequence[_Source], cols: int, rows: int | None = None) -> None:
        rows, line = rows or self._hidden, 4 * self._width * len(sources)
        start = self._part(name, panels(rows, self._width) * cols * len(sources))
        for column, source in enumerate(sources):
            target = ("room", start + 4 * self._width * column)
            sizes = arrange.Sizes(rows, cols, row=4 * cols, panel=cols * line, line=line)
            self._tasks.add(arrange.TURN, sizes, matrix=source, panels=target)

    def _lines(self, name: str, sums: Sequence[Sequence[_Source]], more: int = 0) -> None:
        """more: lines of a panel that are not the parameters'."""
        lines = len(sums) + more
        panel = 4 * self._width * lines
        start = self._part(name, panels(self._hidden, self._width) * lines)
        for column, own in enumerate(sums):
            added = dict(zip(("matrix", "added"), own, strict=False))
            target = ("room", start + 4 * self._width * column)
            sizes = arrange.Sizes(1, self._hidden, row=0, panel=panel, line=0)
            self._tasks.add(arrange.CUT, sizes, panels=target, **added)

    def _part(self, name: str, vectors: int) -> int:
        self._offsets[name] = start = 4 * self._floats
        self._floats += whole_lines(vectors * self._width)
        return start

    def run(self, addresses: Sequence[int], pool: Pool | None, count: int) -> Packed:
        """The parameters that lie there, each in one piece, in panels, by `count` workers whom the caller
        has claimed."""
        made = Packed(self._offsets, self._floats)
        free = self._free[count]
        try:
            copies = free.pop()
        except IndexError:
            copies = arrange.Copies(self._tasks, count, self.machine)
        copies.run([*addresses, self._zeros.data_ptr(), made.address], pool)
        free.append(copies)
        if self._hoist is not None:
            self._hoist(made.address + self._offsets["vectors"], panels(self._hidden, self._width))
        return made


def present(stack: Stack) -> list[str]:
    """The parameters of a layer and direction before its vectors, in the order of `Stack.shapes`."""
    recurrent = stack.cell.recurrent != "none"
    there = {"ih": True, "hh": recurrent, "b_ih": stack.bias, "b_hh": stack.bias and recurrent}
    return [name for name, so in (there | {"hr": stack.proj_size > 0}).items() if so]


class Panels:
    """The parameters of one layer and direction, and their panels as long as they hold the same.

    A tensor's version says that it has changed, but not that it has not: see `digest`. In training it
    nearly always has, and no digest is made before the same version comes twice, nor for a while where
    digests have said so again and again.
    """

    def __init__(self, packing: Packing, parameters: Sequence[Tensor], key: Any) -> None:
        self._packing, self._key = packing, key
        self._addresses = [p.data_ptr() for p in parameters]
        self._held: tuple[list[int], Digest | None, Packed] | None = None
        """Versions, digest and panels, replaced at once."""
        self._changes = self._wait = 0
        """How often in a row a digest has not held, and calls for which none is made."""
        self._ends = [weakref.finalize(p, self.forget) for p in parameters]
        for end in self._ends:
            end.atexit = False

    def forget(self) -> None:
        """Lets all go. The parameters that still live must not hold it: another may be new in each step."""
        if _kept.get(self._key) is self:
            del _kept[self._key]
        self._held, self._addresses = None, []
        for end in self._ends:
            end.detach()

    def of(self, parameters: Sequence[Tensor], addresses: list[int]) -> bool:
        """Whether these lie where its parameters lay, as long as all of those live; `packed` sees what they
        hold."""
        return addresses == self._addresses and all(map(Tensor.is_contiguous, parameters))

    def packed(
        self,
        parameters: Sequence[Tensor],
        addresses: Sequence[int],
        pool: Pool | None,
        count: int,
        lasting: bool = False,
    ) -> Packed:
        """The panels of these, which `of` has seen, from an earlier call if they have not changed.

        lasting: whether they will hardly have changed by the next call."""
        try:
            versions = list(map(_version, parameters))
        except RuntimeError:  # tensors of inference have none
            versions = [0] * len(parameters)
        held, digest = self._held, None
        if held is not None and held[0] == versions:
            if held[1] is not None:
                if held[1].holds(pool, count):
                    self._changes = 0
                    return held[2]
                self._changes = min(self._changes + 1, _MOST_CHANGES)
                self._wait = 1 << self._changes
            lasting = lasting or not self._wait
        if lasting:
            # First: what another thread writes meanwhile makes the next call make it again.
            digest = Digest(parameters, count, self._packing.machine)
        self._wait = max(self._wait - 1, 0)
        made = self._packing.run(addresses, pool, count)
        self._held = versions, digest, made
        return made


_MOST_CHANGES = 5
_version = operator.attrgetter("_version")

_kept: dict[tuple[Any, ...], Panels] = {}
_packings: dict[Any, Packing] = {}
_MOST = 256
"""Packings that are kept; then all are made anew."""


def _packing(stack: Stack, input_size: int, shape: Shape, indexed: bool) -> Packing:
    key = stack, input_size, shape.machine, indexed
    found = _packings.get(key)
    if found is None:
        if len(_packings) >= _MOST:
            _packings.clear()
        found = _packings[key] = Packing(stack, input_size, shape, indexed)
    return found


def panels_of(stack: Stack, shape: Shape, parameters: Sequence[Tensor], indexed: bool) -> Panels | None:
    """Where the panels of these parameters are kept; None: they do not lie in memory as they are read."""
    if not all([p.is_contiguous() for p in parameters]):
        return None
    key = (shape.machine.width, stack.cell, stack.bias, stack.output_size, parameters[0].shape, indexed)
    key += tuple([id(p) for p in parameters])
    kept = _kept.get(key)
    if kept is None or not kept.of(parameters, [p.data_ptr() for p in parameters]):
        if kept is not None:
            kept.forget()
        packing = _packing(stack, parameters[0].shape[1], shape, indexed)
        kept = _kept[key] = Panels(packing, parameters, key)
    return kept


def packed(
    stack: Stack,
    shape: Shape,
    parameters: Sequence[Tensor],
    indexed: bool,
    pool: Pool | None,
    count: int,
    lasting: bool = True,
) -> Packed:
    """The parameters of one layer and direction in panels.

    parameters: in the order of `Stack.shapes`. lasting: as for `Panels.packed`.
    """
    kept = panels_of(stack, shape, parameters, indexed)
    if kept is not None:
        return kept.packed(parameters, [p.data_ptr() for p in parameters], pool, count, lasting)
    dense = [p.contiguous() for p in parameters]
    packing = _packing(stack, parameters[0].shape[1], shape, indexed)
    return packing.run([p.data_ptr() for p in dense], pool, count)
