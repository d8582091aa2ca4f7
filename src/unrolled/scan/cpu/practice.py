"""Training calls whose like has come before: nothing is checked or laid out twice.

As `ready` does for inference, and for the same reason.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
from .plans import take
from .prepared import Asked
from .program import Kernel, forward_kernel
from .ragged import Ragged, ragged
from .training import Scan, apply
from .trial import Trial


class _Kind(NamedTuple):
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
    steps: int | None = None
    """For how many it is laid out, where calls have fewer as well."""

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
    if type(x) is not Tensor or around():
        return None
    if sizes is None:
        shape, strides = x.shape, None
        if not x.is_contiguous():
            x, strides = lying(x, 2 if batch_first is None else 3)
    else:
        lengths = ragged(x, sizes)
        if lengths is None:
            return None
        shape, strides = (lengths.batch, lengths.time, *x.shape[1:]), "packed"
    given = x, lengths, reset, batch_first, lower
    if stack.num_layers > 1:
        return stacked.again(again, stack, Asked(*given), parameters, state, sizes, drops)
    key, place = (id(stack), shape, strides, batch_first), (shape, strides)
    kind = _kinds.get(key)
    as_ever = kind is not None and kind.guards(x, *parameters)
    if not as_ever:
        asked = Asked(*given)
        if not plain(x, asked.axes) or x.is_inference():
            return None
        if kind is None and reset is None and not fixed(stack, asked, True, parameters[0]):
            kind, x = _like(stack, asked, parameters), x.contiguous()
            place = "elastic", asked.extent[0], kind and kind.steps, sizes is None
        elif kind is None or not kind.holds(parameters):
            kind = _remember(key, stack, asked, parameters)
    if kind is None or not (reset is None or plain_reset(reset, x)):
        return None
    if not (lengths is None or sizes is not None or plain_lengths(lengths, x, batch_first)):
        return None
    states = kind.zeros if state is None else states_of(state, kind.shapes)
    if states is None or not in_range(x, stack):
        return None
    if not as_ever and not any([t.requires_grad for t in (x, *parameters, *states)]):
        return None
    with alone if kind.alone else workers(kind.cost, kind.trial) as (pool, count):
        whole = (stack, x.dtype, place, reset is None, lengths is None, batch_first, lower)
        whole += count, most_groups()
        course = take(whole) or _course(kind, Asked(x, *given[1:]), count)
        if reset is not None and not batch_first:
            reset = reset.transpose(0, 1)
        scan = Scan(whole, course, batch_first is not False, lengths, reset, lower)
        output, *last = apply(scan, pool, count, x, *states, *parameters)
    if batch_first is None:  # what has a graph is the output
        last[0] = output
    if lower is None or output.dtype is lower:
        return output, tuple(last)
    return output.to(lower), tuple([s.to(lower) for s in last])


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
        steps=steps,
    )
    _kinds.put(key, kind, parameters[0])
    return kind
