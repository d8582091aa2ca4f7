"""Inference calls whose like has come before: nothing is checked, chosen or laid out twice.

A short call's arithmetic takes less time than the checks before it. What they depend on (shapes, the
parameters and what they hold, torch's modes) is compared here; then a few addresses go into blocks that
are ready otherwise, and the kernels run.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..stack import Call, Stack
from . import refuses, single
from .alike import (
    Result,
    bound,
    guards,
    known,
    lying,
    plain,
    plain_lengths,
    plain_reset,
    states_of,
    transformed,
)
from .digest import Digest
from .fields import FIELDS
from .fills import Fills
from .geometry import Geometry
from .inference import fill_in, finals_of, low, output_like
from .layer import Layer, cost
from .machine import machine
from .pack import packed, unpacked
from .pool import ALONE, Pool, Work, workers
from .program import Kernel, forward_kernel, single_kernel
from .room import maker
from .trial import Trial


class _Kind(NamedTuple):
    """Calls of one stack with one shape."""

    stack: Stack
    cost: float
    trial: Trial
    ready: list[_Ready]
    end: weakref.finalize[..., Tensor]


_kinds: dict[Any, _Kind] = {}
MOST_FLOATS = 1 << 25
"""Of scratch memory that may lie by for them all; texts of many lengths make many kinds."""


def again(
    stack: Stack,
    x: Any,
    parameters: Sequence[Tensor],
    state: Any,
    lengths: Any,
    reset: Any,
    batch_first: bool,
    lower: torch.dtype | None = None,
) -> Result | None:
    """Output and last states, as `scan` returns them, of a call without dropout whose like has come before;
    None: it must go the long way, or nothing but kernels will do for it.

    lower: the dtype that they are rounded to, if not the kernels' own.
    """
    if type(x) is not Tensor or transformed():
        return None
    x, strides = lying(x)
    # Not the stack itself, whose hash takes as long as all else here.
    key = (id(stack), x.shape, strides, reset is None, lengths is None, batch_first, lower)
    kind = _kinds.get(key)
    if kind is None or kind.stack is not stack:
        _remember(key, stack, x, parameters, batch_first)
        return None
    if not (reset is None or plain_reset(reset, x)):
        return None
    if not (lengths is None or plain_lengths(lengths, x, batch_first)):
        return None
    most = 1 if kind.cost < ALONE else x.shape[0 if batch_first else 1] * stack.hidden_size
    if most == 1:
        return _run(kind, None, 1, parameters, x, state, lengths, reset, batch_first, lower)
    with workers(kind.cost, most, kind.trial) as (pool, count):
        return _run(kind, pool, count, parameters, x, state, lengths, reset, batch_first, lower)


def _remember(key: Any, stack: Stack, x: Tensor, parameters: Sequence[Tensor], batch_first: bool) -> None:
    if not plain(x) or not x.numel() or not stack.input_size:
        return
    batch, time = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
    # What was laid out for a layer goes with the layer.
    end = weakref.finalize(parameters[0], _kinds.pop, key, None)
    end.atexit = False
    _kinds[key] = _Kind(stack, cost(stack, stack.input_size, batch, time), Trial(), [], end)
    bound(_kinds)


def _run(
    kind: _Kind,
    pool: Any,
    count: int,
    parameters: Sequence[Tensor],
    x: Tensor,
    state: Any,
    lengths: Tensor | None,
    reset: Tensor | None,
    batch_first: bool,
    lower: torch.dtype | None,
) -> Result | None:
    made = pool, count, x, parameters, lengths, reset, batch_first, lower
    ready = _taken(kind, count)
    if ready is None or not ready.fits(x, parameters):
        ready = _made(kind, *made)
        if ready is None:
            return None
    states = ready.zeros if state is None else states_of(state, ready.shapes)
    if states is None or not known(x, kind.stack):
        kind.ready.append(ready)
        return None
    result = ready.run(pool, x, states, lengths, reset)
    if result is None:  # the parameters hold something else by now
        ready = _made(kind, *made)
        result = ready and ready.run(pool, x, states, lengths, reset)
    if ready is not None and result is not None and ready.floats <= MOST_FLOATS:
        kind.ready.append(ready)
    return result


def _make_room(kind: _Kind, floats: int) -> None:
    """Lets the oldest of the other kinds go until so much more is within MOST_FLOATS."""
    held = sum(one.floats for other in list(_kinds.values()) for one in other.ready)
    for key, other in list(_kinds.items()):
        if held + floats <= MOST_FLOATS:
            return
        if other is not kind and _kinds.pop(key, None) is not None:
            other.end.detach()
            held -= sum(one.floats for one in other.ready)


def _taken(kind: _Kind, count: int) -> _Ready | None:
    """One for so many workers that no other thread uses."""
    for one in kind.ready:
        if one.count == count:
            try:
                kind.ready.remove(one)
            except ValueError:  # another thread was faster
                continue
            return one
    return None


def _made(
    kind: _Kind,
    pool: Pool | None,
    count: int,
    x: Tensor,
    parameters: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    batch_first: bool,
    lower: torch.dtype | None,
) -> _Ready | None:
    """A call of this kind laid out, if the engine takes it."""
    stack = kind.stack
    if not plain(x) or (x.dtype is torch.float32 and x.shape[-1] != stack.input_size):
        return None
    if not _dense(stack, parameters):
        return None
    input = x if batch_first else x.transpose(0, 1)
    slots = stack.num_layers * stack.directions
    sizes = [(slots, len(input), stack.state_size(k)) for k in range(stack.cell.states)]
    zeros = [torch.zeros(size, dtype=torch.float32) for size in sizes]
    reset = reset if reset is None or batch_first else reset.transpose(0, 1)
    call = Call(stack, input, tuple(parameters), tuple(zeros), lengths, reset, lower=lower)
    same = guards([x, *parameters])  # as the modes are in which such calls come
    with torch.autocast("cpu", enabled=False):  # whoever calls sees to its dtypes
        if refuses(call) is not None:
            return None
        ready = _Ready(call, same, pool, count, batch_first)
    _make_room(kind, ready.floats)
    return ready


def _dense(stack: Stack, parameters: Sequence[Tensor]) -> bool:
    """Whether the parameters are of their shapes and as the kernels read them."""
    for p, shape in zip(parameters, stack.shapes.values(), strict=True):
        if p.dtype is not torch.float32 or p.shape != shape or not p.is_contiguous():
            return False
        if not p.is_cpu or p.is_neg():
            return False
    return True


class _Ready:
    """One call laid out for `count` workers: all but where its input, output and states lie.

    same: the guards of input and parameters as they came."""

    def __init__(
        self, call: Call, same: Callable[..., bool], pool: Pool | None, count: int, batch_first: bool
    ) -> None:
        stack, self.count = call.stack, count
        kernel = forward_kernel(stack.cell, stack.bias, stack.proj_size > 0, False, machine())
        one = call.input.shape[:2].numel() == 1 and call.lengths is None and single.fits(kernel.shape)
        if one:
            kernel = single_kernel(stack.cell, stack.bias, machine())
        self._stack, self._guards = stack, same
        # Of a single step nothing is laid out that could differ from the parameters later.
        self._digest = None if one else Digest(call.parameters, count)
        self._addresses = [p.data_ptr() for p in call.parameters]
        self.zeros = call.state
        self._zeros = [s.data_ptr() for s in call.state]
        self.shapes = [s.shape for s in call.state]
        batch, time = call.input.shape[:2]
        size = stack.output_size * stack.directions
        out = (batch, time, size) if batch_first else (time, batch, size)
        self._lower, self._dtype = call.lower, low(call.lower)
        self._make_out = maker(out, self._dtype)
        self._make_finals = [maker(shape, self._dtype) for shape in self.shapes]
        sample = self._make_out()
        last = sample if batch_first else sample.transpose(0, 1)
        finals = finals_of(call.state, self._dtype)
        phases: list[Any] = []
        self._kept: list[Any] = [kernel]
        self._layers: list[Layer] = []
        x = call.input
        bases = [x.data_ptr(), last.data_ptr()]
        bases += [t.data_ptr() for t in (*call.state, *finals)]
        bases += [t.data_ptr() for t in (call.reset, call.lengths) if t is not None]
        self._fills = Fills(len(bases))
        for index in range(stack.num_layers):
            out = last if index + 1 == stack.num_layers else output_like(x, size)
            self._layers.append(self._layer(call, kernel, index, (x, out, finals), bases, pool))
            phases.append([(kernel.address, self._layers[-1].jobs)])
            self._kept += [x, out]
            x = out
        fill, table = self._fills.job
        filled = [[table], *[[] for _ in range(count - 1)]]
        # The comparison of the weights is a part of the work: afterwards is early enough to know.
        first = [self._digest.jobs] if self._digest else []
        first.append((fill, filled))
        first += [layer.deal.work(count) for layer in self._layers if layer.deal]
        self._work = Work([first, *phases])
        # The memory of this call's own input and output is not for keeping: every call has its own.
        self._kept = [k for k in self._kept if k is not call.input and k is not last]
        between = {id(k): k.numel() for k in self._kept if isinstance(k, Tensor)}
        scratch = [group.scratch.numel() for layer in self._layers for group in layer.groups]
        self.floats = sum(scratch) + sum(between.values())

    def _layer(
        self,
        call: Call,
        kernel: Kernel,
        index: int,
        tensors: tuple[Tensor, Tensor, Sequence[Tensor]],
        bases: Sequence[int],
        pool: Pool | None,
    ) -> Layer:
        """One layer laid out, and what a call gives it noted; tensors: as `fill_in` takes them."""
        stack, (batch, time), indexed = call.stack, call.input.shape[:2], not tensors[0].is_floating_point()
        geometry = Geometry(stack, kernel.shape, stack.layer_input_size(index), batch, time)
        layer = Layer(geometry, self.count, False, indexed, call.lengths is not None)
        parameters = stack.parts(call.parameters, index)
        if self._digest is None:
            zeros = torch.zeros(stack.cell.gates * stack.hidden_size, dtype=torch.float32)
            self._kept.append(zeros)
            parts = [unpacked(stack, own, zeros) for own in parameters]
        else:
            made = [packed(stack, kernel.shape, own, indexed, pool, self.count) for own in parameters]
            parts = [panels.pointers for panels in made]
            self._kept += made
        fill_in(layer, call, index, parts, tensors)
        outside = self._outside(index, call, indexed)
        if layer.deal is not None:
            self._fills.add(layer.deal.words, 0, len(bases) - 1)
        for group in layer.groups:
            for field, base in outside:
                self._fills.add(group.block, field, base, int(group.block[field]) - bases[base])
        return layer

    def _outside(self, index: int, call: Call, indexed: bool) -> list[tuple[int, int]]:
        """The fields whose addresses a call gives, each with the number of its base."""
        stack, count = call.stack, call.stack.cell.states
        found = [(FIELDS["indices" if indexed else "x"], 0)] if index == 0 else []
        out = "out" if self._dtype is torch.float32 else "low"
        found += [(FIELDS[out], 1)] if index + 1 == stack.num_layers else []
        found += [] if call.reset is None else [(FIELDS["reset"], 2 + 2 * count)]
        found += [(FIELDS[f"initial{k}"], 2 + k) for k in range(count)]
        return found + [(FIELDS[f"final{k}"], 2 + count + k) for k in range(count)]

    def fits(self, x: Tensor, parameters: Sequence[Tensor]) -> bool:
        """Whether the parameters lie where it was laid out for, and all is as the kernels read it."""
        if [p.data_ptr() for p in parameters] != self._addresses:
            return False
        return self._guards(x, *parameters) or (plain(x) and _dense(self._stack, parameters))

    def run(
        self,
        pool: Any,
        x: Tensor,
        states: Sequence[Tensor],
        lengths: Tensor | None,
        reset: Tensor | None,
    ) -> Result | None:
        """The call itself, the states being sound; None: the parameters do not hold what they held."""
        out = self._make_out()
        finals = [make() for make in self._make_finals]
        initial = self._zeros if states is self.zeros else [s.data_ptr() for s in states]
        bases = [x.data_ptr(), out.data_ptr(), *initial, *[f.data_ptr() for f in finals]]
        if reset is not None:
            bases.append(reset.data_ptr())
        if lengths is not None:
            bases.append(lengths.data_ptr())
        self._fills.give(bases)
        if pool is None:
            self._work.alone()
        else:
            pool.run(self._work)
        if self._digest and self._digest.differs:
            return None
        if self._lower is None or self._lower is self._dtype:
            return out, tuple(finals)
        return out.to(self._lower), tuple([f.to(self._lower) for f in finals])
