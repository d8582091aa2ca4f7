"""Calls laid out for some steps at most, of which each runs as many as its input has.

A corpus has texts of a hundred lengths, and to lay a call out anew takes longer than to run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..stack import Call, Stack
from .alike import MOST, Kinds, Result
from .deal import LENGTHS, STEPS
from .fields import FIELDS
from .fills import Fills
from .geometry import Geometry
from .inference import fill_in, finals_of, low, output_like
from .layer import Group, Layer
from .pool import Pool, Work
from .prepared import Asked, Laid
from .program import forward_kernel
from .ragged import Ragged
from .room import empty, maker
from .weights import Weights

_ROWS = {"x": "x_row", "indices": "i_row", "out": "out_row", "low": "low_row"}


def most_steps(time: int, parts: int = 1) -> int:
    """For how many steps a call of so many is laid out: of each octave, so many numbers."""
    piece = max(1, (1 << (time - 1).bit_length()) // (2 * parts)) if time > 1 else 1
    return -(-time // piece) * piece


_OFTEN, _FEW = 8, 16
_seen: Kinds[dict[int, int]] = Kinds()


def fixed(stack: Stack, asked: Asked, training: bool, parameter: Tensor) -> bool:
    """Whether a call is laid out for its number of steps alone: no others have come, or few others and this
    one often. Otherwise that takes more than it spares."""
    (batch, time), key = asked.extent, (id(stack), training, *asked.form)
    _, every = _counted(key, time, parameter)
    times, own = _counted((*key, batch), time, parameter)
    if own == 1:
        return every <= _FEW
    return times >= _OFTEN and own <= _FEW


def _counted(key: Any, time: int, parameter: Tensor) -> tuple[int, int]:
    """How often so many steps have come with this key, and how many numbers of steps have."""
    seen = _seen.get(key)
    if seen is None:
        _seen.put(key, seen := {}, parameter)
    times = seen[time] = seen.get(time, 0) + 1
    if len(seen) > MOST:
        seen.pop(next(iter(seen.copy())), None)
    return times, len(seen)


REACH = 7
"""How many bases `reach` gives for an input and an output."""


def reach(time: int, batch_first: bool, x: Tensor, out: Tensor) -> list[int]:
    """How many steps; of each tensor where the first and the last one are, and the bytes between rows."""
    found = [time]
    for t in (x, out):
        if t.dim() == 2 and t.is_floating_point():  # packed: where each step is, `starts` says
            row, step = t.stride(0), 0
        else:
            row, step = t.stride()[:2] if batch_first else t.stride()[1::-1]
        at, size = t.data_ptr(), t.element_size()
        found += at, at + (time - 1) * step * size, row * size
    return found


def extend(fills: Fills, first: int, layer: Layer, x: str, out: str, size: int) -> None:
    """A layer is to run as many steps as `reach` says, whose numbers are the bases from the first on.

    x, out: the fields of the addresses; size: the bytes of one direction's part of an output's step."""
    for direction, groups in enumerate(layer.directions):
        for group in groups:
            _extend(fills, first, group, direction == 1, ((x, 0), (out, direction * size)))
    if layer.deal is not None:
        fills.copy(layer.deal.words, STEPS, fills.bases, first)


def _extend(
    fills: Fills, first: int, group: Group, reverse: bool, tensors: Sequence[tuple[str, int]]
) -> None:
    fills.add(group.block, FIELDS["steps"], first)
    for row in range(len(group.rows.ends)):  # where lengths are dealt, that comes later
        fills.copy(group.rows.ends, row, fills.bases, first)
    for index, (name, skip) in enumerate(tensors):
        at = first + 1 + 3 * index
        fills.add(group.block, FIELDS[name], at + reverse, skip)
        fills.add(group.block, FIELDS[_ROWS[name]], at + 2)


class Elastic(Laid):
    """An inference call of one layer laid out for `count` workers: all but how many steps it has, and where
    its input, output and states lie.

    call: one of them; asked: how it was given; steps: as many as there may be."""

    def __init__(self, call: Call, asked: Asked, steps: int, pool: Pool | None, count: int) -> None:
        stack, self._batch_first = call.stack, asked.batch_first is True
        self._packed = isinstance(asked.lengths, Ragged)
        kernel = forward_kernel(stack, False)
        kept = (stack, kernel.shape, call.parameters, call.indexed, pool, count)
        self._weights = weights = Weights(*kept)
        self.addresses = [p.data_ptr() for p in call.parameters]
        self.zeros, self.shapes = call.state, [s.shape for s in call.state]
        self._zeros = [s.data_ptr() for s in call.state]
        self._size = stack.output_size * stack.directions
        self._lower, self._dtype = call.lower, low(call.lower)
        self._makers = [maker(shape, self._dtype) for shape in self.shapes]
        indexed, batch = call.indexed, asked.extent[0]
        geometry = Geometry(stack, kernel.shape, stack.input_size, batch, steps)
        layer = Layer(geometry, count, False, indexed, asked.lengths is not None, self._packed, True)
        out = self._out(call.input) if self._packed else output_like(call.input, self._size, self._dtype)
        finals = finals_of(call.state, self._dtype)
        fill_in(layer, call, 0, weights.pointers(0), (call.input, out, finals))
        self._fills = self._filled(layer, indexed, [t.data_ptr() for t in (*finals, *call.state)])
        weights.tell(self._fills, layer, 0)
        first = [weights.digest.jobs, self._fills.work(count)]
        first += [layer.deal.work(count)] if layer.deal else []
        self._work = Work([first, layer.scan(kernel.address)])
        self._kept: list[Any] = [kernel, layer]
        self.floats = sum(group.scratch.numel() for group in layer.groups)

    def _filled(self, layer: Layer, indexed: bool, states: list[int]) -> Fills:
        """What a call gives: its last and initial states, what `reach` says, and lengths.

        states: where those lie for which the layer's blocks were filled in."""
        count = len(states)
        end = count + REACH
        fills = Fills(end + layer.lengths + 2 * layer.packed)
        size = layer.geometry.stack.output_size * self._dtype.itemsize
        out = "out" if self._dtype.itemsize == 4 else "low"
        extend(fills, count, layer, "indices" if indexed else "x", out, size)
        for direction, groups in enumerate(layer.directions):
            for group in groups:
                for base, at in enumerate(states):
                    kind, k = divmod(base, count // 2)
                    word = FIELDS[f"{('final', 'initial')[kind]}{k}"]
                    fills.add(group.block, word, base, int(group.block[word]) - at)
                if layer.packed:
                    fills.add(group.block, FIELDS["starts"], end + 1 + direction)
        if layer.deal is not None:
            fills.copy(layer.deal.words, LENGTHS, fills.bases, end)
        return fills

    def _out(self, x: Tensor) -> Tensor:
        return empty((*x.shape[: 1 if self._packed else 2], self._size), self._dtype)

    def run(
        self,
        pool: Any,
        x: Tensor,
        states: Sequence[Tensor],
        lengths: Tensor | Ragged | None,
        reset: Tensor | None,
    ) -> Result | None:
        """As `Prepared.run`; there is no reset."""
        ragged = lengths if isinstance(lengths, Ragged) else None
        time = ragged.time if ragged else x.shape[1 if self._batch_first else 0]
        made = [self._out(x), *[make() for make in self._makers]]
        initial = self._zeros if states is self.zeros else [s.data_ptr() for s in states]
        bases = [t.data_ptr() for t in made[1:]]
        bases += [*initial, *reach(time, self._batch_first, x, made[0])]
        if ragged is not None:
            bases += ragged.address, *ragged.begins
        elif isinstance(lengths, Tensor):
            bases.append(lengths.data_ptr())
        return self._done(pool, bases, made)
