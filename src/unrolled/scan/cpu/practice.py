"""Training calls whose like has come before: nothing is checked or laid out twice.

As `ready` does for inference, and for the same reason.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from ..stack import Call, Stack
from ..transforms import around
from . import refuses, stacked
from .alike import (
    Kinds,
    Result,
    guards,
    in_range,
    lying,
    plain,
    plain_lengths,
    plain_reset,
    states_of,
)
from .claim import ALONE, alone, workers
from .course import Course, Form
from .division import cost, most_groups
from .elastic import fixed, most_steps
from .lent import outside
from .plans import Shelf, shelf
from .prepared import Asked
from .program import Kernel, forward_kernel
from .ragged import Ragged, ragged
from .training import Scan, apply
from .trial import Trial


@dataclass(slots=True)
class _Kind:
    """Calls of one stack and its parameters with one shape."""

    stack: Stack
    parameters: list[weakref.ref[Tensor]]
    kernel: Kernel
    zeros: tuple[Tensor, ...]
    shapes: list[torch.Size]
    cost: float
    alone: bool
    """Whether it is not worth sharing."""
    trial: Trial
    guards: Callable[..., bool]
    """Whether input and parameters are as ever, and one of them wants a gradient; no is not sure."""
    batch_first: bool | None
    indexed: bool
    place: tuple[Any, ...]
    """The shape and strides of the input of calls as ever, by which their courses are found."""
    steps: int | None = None
    """For how many it is laid out, where calls have fewer as well."""
    plans: dict[tuple[Any, ...], Shelf] = field(default_factory=dict[tuple[Any, ...], Shelf])
    """The courses of calls as ever, by the dtype that they are rounded to and how many share them."""

    def holds(self, parameters: Sequence[Tensor]) -> bool:
        """Whether these are its parameters, and what they were."""
        for p, own, shape in zip(parameters, self.parameters, self.stack.shapes.values(), strict=True):
            if own() is not p or p.dtype is not torch.float32 or p.shape != shape:
                return False
            if not p.is_cpu or p.is_neg():
                return False
        return True


_kinds: Kinds[_Kind] = Kinds()


def again(
    stack: Stack,
    x: Any,
    parameters: Sequence[Tensor],
    state: Any,
    lengths: Any,
    reset: Any,
    batch_first: bool | None,
    lower: torch.dtype | None = None,
    sizes: Tensor | None = None,
    drops: bool = False,
) -> Result | None:
    """Output and last states, differentiable, as `scan` returns them; None: it must go the long way, or
    nothing but kernels will do for it.

    batch_first: None for a step of a cell, from x (batch, feature) and states (batch, size) each.
    lower: the dtype that they are rounded to, if not the kernels' own.
    sizes: of a packed input (rows, feature), how many rows each step has; the output is packed then.
    drops: whether there is dropout between the layers.
    """
    if around():
        return None
    kind = _kinds.last.get(id(stack))  # not the stack itself, as in `ready`
    if (
        kind is not None
        and lengths is None
        and reset is None
        and sizes is None
        and kind.batch_first is batch_first
        and kind.guards(x, *parameters)
    ):
        place, quick = kind.place, True
    else:
        if type(x) is not Tensor:
            return None
        found = _found(stack, Asked(x, lengths, reset, batch_first, lower), parameters, sizes)
        if found is None:
            return None
        kind, asked, place = found
        if kind is None:
            return stacked.again(again, stack, asked, parameters, state, sizes, drops)
        x, lengths, quick = asked.x, asked.lengths, False
    states = () if state is None else states_of(state, kind.shapes)
    if states is None or (kind.indexed and not in_range(x, stack)):
        return None
    if not quick and not any([t.requires_grad for t in (x, *parameters, *states)]):
        return None
    with alone if kind.alone else workers(kind.cost, kind.trial) as (pool, count):
        key = lower, count, most_groups()
        plans = kind.plans.get(key) if quick else None
        if plans is None:
            plans = shelf((stack, x.dtype, place, reset is None, lengths is None, batch_first, *key))
            if quick:
                kind.plans[key] = plans
        course = plans.take() or _course(kind, Asked(x, lengths, reset, batch_first, lower), count)
        if reset is not None and not batch_first:
            reset = reset.transpose(0, 1)
        zeros = kind.zeros if state is None else None
        scan = Scan(plans, course, zeros, batch_first is not False, lengths, reset, lower)
        output, *last = apply(scan, pool, count, x, *states, *parameters)
    if batch_first is None:  # what has a graph is the output
        last[0] = output
    if lower is None or output.dtype is lower:
        return output, tuple(last)
    return output.to(lower), tuple([s.to(lower) for s in last])


def _found(
    stack: Stack, asked: Asked, parameters: Sequence[Tensor], sizes: Tensor | None
) -> tuple[_Kind | None, Asked, tuple[Any, ...]] | None:
    """The kind of a call, None where each layer has its own; the call as that has it; and how its input
    lies. None: its like has not come, or it is not sound."""
    x, lengths, reset, batch_first, _ = asked
    if sizes is None:
        shape, strides = x.shape, None
        if not x.is_contiguous():
            x, strides = lying(x, asked.axes)
    else:
        lengths = ragged(x, sizes)
        if lengths is None:
            return None
        shape, strides = (lengths.batch, lengths.time, *x.shape[1:]), "packed"
    asked = asked._replace(x=x, lengths=lengths)
    if stack.num_layers > 1:
        return None, asked, ()
    key, place = (id(stack), shape, strides, batch_first), (shape, strides)
    kind = _kinds.get(key)
    if kind is not None and kind.guards(x, *parameters):
        if sizes is None:  # a packed input has as many axes as one sequence
            _kinds.found(key, kind)
    else:
        if not plain(x, asked.axes) or x.is_inference():
            return None
        if kind is None and reset is None and not fixed(stack, asked, True, parameters[0]):
            kind, asked = _like(stack, asked, parameters), asked._replace(x=x.contiguous())
            place = "elastic", asked.extent[0], kind and kind.steps, sizes is None
        elif kind is None or not kind.holds(parameters):
            kind = _remember(key, stack, asked, parameters)
    if kind is None or not (reset is None or plain_reset(reset, x)):
        return None
    if not (lengths is None or sizes is not None or plain_lengths(lengths, x, batch_first)):
        return None
    return kind, asked, place


_PARTS = 4
"""To how many numbers of steps an octave's are made up: a step's memory is that of the steps it is laid out
for."""


def _like(stack: Stack, asked: Asked, parameters: Sequence[Tensor]) -> _Kind | None:
    """The kind of calls with up to so many steps."""
    batch, time = asked.extent
    most = most_steps(time, _PARTS)
    key = (id(stack), batch, most, *asked.form)
    kind = _kinds.get(key)
    return kind if kind and kind.holds(parameters) else _remember(key, stack, asked, parameters, most)


def _course(kind: _Kind, asked: Asked, count: int) -> Course:
    packed, (batch, time) = isinstance(asked.lengths, Ragged), asked.extent
    form = Form(
        kind.stack,
        kind.kernel,
        batch,
        kind.steps or time,
        count,
        indexed=not asked.x.is_floating_point(),
        resets=asked.reset is not None,
        lengths=asked.lengths is not None,
        turned=not packed and asked.batch_first is False,
        packed=packed,
        elastic=kind.steps is not None,
        one_step=asked.batch_first is None,
    )
    return Course(form)


def _call(stack: Stack, asked: Asked, parameters: Sequence[Tensor], state: tuple[Tensor, ...]) -> Call:
    x, packed = asked.x, isinstance(asked.lengths, Ragged)
    if asked.batch_first is None:
        x, state = x.unsqueeze(1), tuple([s.unsqueeze(0) for s in state])
    elif not asked.batch_first and not packed:
        x = x.transpose(0, 1)
    return Call(stack, x, tuple(parameters), state)


def _remember(
    key: Any, stack: Stack, asked: Asked, parameters: Sequence[Tensor], steps: int | None = None
) -> _Kind | None:
    """What these calls have in common, if the engine takes them and nothing is wrong with them."""
    x, (batch, time) = asked.x, asked.extent
    if not x.numel() or not stack.input_size:
        return None
    if x.is_floating_point() and x.shape[-1] != stack.input_size:
        return None
    # Others may be new ones in every call.
    if not all([type(p) is Parameter for p in parameters]):
        return None
    if [tuple(p.shape) for p in parameters] != [*stack.shapes.values()]:
        return None
    with outside():
        shapes = [s[1:] if asked.batch_first is None else s for s in stack.state_shapes(batch)]
        zeros = tuple([torch.zeros(shape, dtype=torch.float32) for shape in shapes])
    with torch.autocast("cpu", enabled=False):  # whoever calls sees to its dtypes
        if refuses(_call(stack, asked, parameters, zeros)) is not None:
            return None
    kernel = forward_kernel(stack, True)
    own = [weakref.ref(p) for p in parameters]
    about = cost(stack, stack.input_size if x.is_floating_point() else 0, batch, steps or time)
    graded = steps is None and any([t.requires_grad for t in (x, *parameters)])
    kind = _Kind(
        stack=stack,
        parameters=own,
        kernel=kernel,
        zeros=zeros,
        shapes=[z.shape for z in zeros],
        cost=about,
        alone=about < ALONE,
        trial=Trial(),
        guards=guards([x, *parameters]) if graded else lambda *_: False,
        batch_first=asked.batch_first,
        indexed=not x.is_floating_point(),
        place=key[1:3],
        steps=steps,
    )
    _kinds.put(key, kind, parameters[0])
    return kind
