"""Training calls of one layer whose like has come before: nothing is checked or laid out twice.

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
from . import refuses
from .alike import Result, bound, guards, known, lying, plain, plain_reset, states_of, transformed
from .course import Course
from .inference import take
from .layer import cost, most_groups
from .machine import machine
from .pool import workers
from .program import Kernel, forward_kernel
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
    trial: Trial
    guards: Callable[..., bool]
    """Whether input and parameters are as ever, and one of them wants a gradient; no is not sure."""
    end: weakref.finalize[..., Tensor]

    def holds(self, parameters: Sequence[Tensor]) -> bool:
        """Whether these are its parameters, and what they were."""
        for p, own, shape in zip(parameters, self.parameters, self.stack.shapes.values(), strict=True):
            if own() is not p or p.dtype is not torch.float32 or p.shape != shape:
                return False
            if not p.is_cpu or p.is_neg():
                return False
        return True


_kinds: dict[Any, _Kind] = {}


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
    """Output and last states, differentiable, as `scan` returns them, of a call without lengths; None: it
    must go the long way, or nothing but kernels will do for it.

    lower: the dtype that they are rounded to, if not the kernels' own.
    """
    if stack.num_layers > 1 or lengths is not None or type(x) is not Tensor or transformed():
        return None
    x, strides = lying(x)
    key = (id(stack), x.shape, strides, batch_first)
    kind = _kinds.get(key)
    if kind is not None and kind.stack is not stack:
        kind = None
    as_ever = kind is not None and kind.guards(x, *parameters)
    if not as_ever:
        if not plain(x):
            return None
        if kind is None or not kind.holds(parameters):
            kind = _remember(key, stack, x, parameters, batch_first)
    if kind is None or not (reset is None or plain_reset(reset, x)):
        return None
    states = kind.zeros if state is None else states_of(state, kind.shapes)
    if states is None or not known(x, stack):
        return None
    if not as_ever and not any([t.requires_grad for t in (x, *parameters, *states)]):
        return None
    rows = x.shape[0 if batch_first else 1]
    with workers(kind.cost, rows * stack.hidden_size, kind.trial) as (pool, count):
        whole = (stack, x.dtype, x.shape, strides, reset is None, batch_first, lower, count, most_groups())
        course = take(whole) or _course(kind, x, parameters, batch_first, count, reset is not None)
        if reset is not None and not batch_first:
            reset = reset.transpose(0, 1)
        scan = Scan(whole, course, batch_first, None, reset, lower)
        output, *last = apply(scan, pool, count, x, *states, *parameters)
    if lower is None or output.dtype is lower:
        return output, tuple(last)
    return output.to(lower), tuple([s.to(lower) for s in last])


def _course(
    kind: _Kind, x: Tensor, parameters: Sequence[Tensor], batch_first: bool, count: int, resets: bool
) -> Course:
    call = _call(kind.stack, x, parameters, kind.zeros, batch_first)
    return Course(call, kind.kernel, count, resets, turned=not batch_first)


def _call(
    stack: Stack, x: Tensor, parameters: Sequence[Tensor], state: tuple[Tensor, ...], batch_first: bool
) -> Call:
    return Call(stack, x if batch_first else x.transpose(0, 1), tuple(parameters), state)


def _remember(
    key: Any, stack: Stack, x: Tensor, parameters: Sequence[Tensor], batch_first: bool
) -> _Kind | None:
    """What these calls have in common, if the engine takes them and nothing is wrong with them."""
    features = x.shape[2:]
    if not x.numel() or not stack.input_size or (features and features[0] != stack.input_size):
        return None
    # Others may be new ones in every call.
    if not all([type(p) is Parameter for p in parameters]):
        return None
    if [tuple(p.shape) for p in parameters] != [*stack.shapes.values()]:
        return None
    batch, time = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
    sizes = [stack.state_size(k) for k in range(stack.cell.states)]
    with torch.inference_mode(False):
        zeros = tuple([torch.zeros(stack.directions, batch, size, dtype=torch.float32) for size in sizes])
    with torch.autocast("cpu", enabled=False):  # whoever calls sees to its dtypes
        if refuses(_call(stack, x, parameters, zeros, batch_first)) is not None:
            return None
    kernel = forward_kernel(stack.cell, stack.bias, stack.proj_size > 0, True, machine())
    end = weakref.finalize(parameters[0], _kinds.pop, key, None)
    end.atexit = False
    own = [weakref.ref(p) for p in parameters]
    about = cost(stack, stack.input_size, batch, time)
    graded = any([t.requires_grad for t in (x, *parameters)])
    kind = _kinds[key] = _Kind(
        stack=stack,
        parameters=own,
        kernel=kernel,
        zeros=zeros,
        shapes=[z.shape for z in zeros],
        cost=about,
        trial=Trial(),
        guards=guards([x, *parameters]) if graded else lambda *_: False,
        end=end,
    )
    bound(_kinds)
    return kind
