"""Inference calls whose like has come before: nothing is checked, chosen or laid out twice.

A short call's arithmetic takes less time than the checks before it. What they depend on (shapes, the
parameters and what they hold, torch's modes) is compared here; then a few addresses go into blocks that
are ready otherwise, and the kernels run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

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
from .claim import ALONE, workers
from .division import cost
from .elastic import Elastic, fixed, most_steps
from .pool import Pool
from .prepared import Asked, OneStep, Prepared, dense
from .ragged import Ragged, ragged
from .trial import Trial


@dataclass(slots=True)
class _Kind:
    """Calls of one stack with one shape."""

    stack: Stack
    cost: float
    alone: bool
    """Whether it is not worth sharing."""
    trial: Trial
    ready: defaultdict[int, list[Prepared | Elastic]]
    """By the workers that they are laid out for, those that no call is in."""
    guards: Callable[..., bool]
    """Whether input and parameters are as ever; no is not sure."""
    given: tuple[Any, ...] | None
    """What calls give beside them, where that is no more than (batch_first, lower)."""
    indexed: bool
    steps: int | None = None
    """For how many it is laid out, where calls have fewer as well."""
    missed: int = 0
    """Calls that the guards did not know, and that were sound."""

    def knows(self, asked: Asked, parameters: Sequence[Tensor]) -> bool:
        """Whether kernels can read the input and the parameters."""
        if self.guards(asked.x, *parameters):
            return True
        if not (plain(asked.x, asked.axes) and dense(self.stack, parameters)):
            return False
        self.missed += 1
        if self.missed % _MISSES == 0 and self.steps is None:
            self.guards = guards([asked.x, *parameters])  # they come in another mode now
        return True

    @property
    def floats(self) -> int:
        """Of scratch memory that lies by for them."""
        return sum(one.floats for own in list(self.ready.values()) for one in own)


_MISSES = 16

_kinds: Kinds[_Kind] = Kinds()
MOST_FLOATS = 1 << 25
"""Of scratch memory that may lie by for them all; texts of many lengths make many kinds."""


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
    """Output and last states, as `scan` returns them, of a call whose like has come before; None: it must
    go the long way, or nothing but kernels will do for it.

    batch_first: None for a step of a cell, from x (batch, feature) and states (batch, size) each.
    lower: the dtype that they are rounded to, if not the kernels' own.
    sizes: of a packed input (rows, feature), how many rows each step has; the output is packed then.
    drops: whether dropout lies between the layers.
    """
    if around():
        return None
    # Not the stack itself, whose hash takes as long as all else here; what is kept with the number has it.
    kind = _kinds.last.get(id(stack))
    if not (
        kind is not None
        and lengths is None
        and reset is None
        and sizes is None
        and not drops
        and kind.given == (batch_first, lower)
        and kind.guards(x, *parameters)
    ):
        if type(x) is not Tensor:
            return None
        if drops:
            # What is dropped hangs on how the layers' outputs lie: here as on the first call's long way.
            if sizes is not None or not x.is_contiguous():
                return None
            asked = Asked(x, lengths, reset, batch_first, lower)
            return stacked.again(again, stack, asked, parameters, state, None, True)
        found = _found(stack, Asked(x, lengths, reset, batch_first, lower), parameters, sizes)
        if found is None:
            return None
        kind, asked = found
        if kind is None:
            return stacked.again(again, stack, asked, parameters, state, sizes, False)
        x, lengths = asked.x, asked.lengths
    if kind.alone:
        return _run(kind, None, 1, parameters, x, state, lengths, reset, batch_first, lower)
    with workers(kind.cost, kind.trial) as (pool, count):
        return _run(kind, pool, count, parameters, x, state, lengths, reset, batch_first, lower)


def _found(
    stack: Stack, asked: Asked, parameters: Sequence[Tensor], sizes: Tensor | None
) -> tuple[_Kind | None, Asked] | None:
    """The kind of a call, None where each layer has its own, and the call as that has it; None: its like
    has not come, or it is not sound."""
    x, lengths, reset, batch_first, lower = asked
    if sizes is None:
        shape, strides = x.shape, None
        if not x.is_contiguous():
            x, strides = lying(x, asked.axes)
    else:
        lengths = ragged(x, sizes)
        if lengths is None:
            return None
        shape, strides = (lengths.batch, lengths.time, *x.shape[1:]), "packed"
    asked = Asked(x, lengths, reset, batch_first, lower)
    key = (id(stack), shape, strides, reset is None, lengths is None, batch_first, lower)
    kind = _kinds.get(key)
    if kind is None:
        if reset is not None or not plain(x, asked.axes) or fixed(stack, asked, False, parameters[0]):
            _remember(key, stack, asked, parameters)
            return None
        x = x.contiguous()
        asked = asked._replace(x=x)
        if stack.num_layers > 1:
            return None, asked
        kind = _like(stack, asked, parameters)
        if kind is None:
            return None
    if not (reset is None or plain_reset(reset, x)):
        return None
    if not (lengths is None or sizes is not None or plain_lengths(lengths, x, batch_first)):
        return None
    if not kind.knows(asked, parameters):
        return None
    if kind.given is not None:
        _kinds.found(key, kind)
    return kind, asked


def _like(stack: Stack, asked: Asked, parameters: Sequence[Tensor]) -> _Kind | None:
    """The kind of calls with up to so many steps."""
    batch, time = asked.extent
    most = most_steps(time)
    key = (id(stack), batch, most, *asked.form)
    return _kinds.get(key) or _remember(key, stack, asked, parameters, most)


def _remember(
    key: Any, stack: Stack, asked: Asked, parameters: Sequence[Tensor], steps: int | None = None
) -> _Kind | None:
    x = asked.x
    if not plain(x, asked.axes) or not x.numel() or not stack.input_size:
        return None
    batch, time = asked.extent
    features = stack.input_size if x.is_floating_point() else 0
    about = stack.num_layers * cost(stack, features, batch, steps or time)
    exact = steps is None and dense(stack, parameters)
    same = guards([x, *parameters]) if exact else lambda *_: False
    short = steps is None and asked.lengths is None and asked.reset is None
    given = (asked.batch_first, asked.lower) if short else None
    indexed = not x.is_floating_point()
    kind = _Kind(stack, about, about < ALONE, Trial(), defaultdict(list), same, given, indexed, steps)
    _kinds.put(key, kind, parameters[0])
    return kind


def _run(
    kind: _Kind,
    pool: Any,
    count: int,
    parameters: Sequence[Tensor],
    x: Tensor,
    state: Any,
    lengths: Tensor | Ragged | None,
    reset: Tensor | None,
    batch_first: bool | None,
    lower: torch.dtype | None,
) -> Result | None:
    waiting = kind.ready[count]
    try:
        ready = waiting.pop()
    except IndexError:
        ready = None
    moved = ready is not None and list(map(Tensor.data_ptr, parameters)) != ready.addresses
    if ready is None or (moved and not ready.renew(parameters, pool)):
        ready = _made(kind, pool, count, parameters, Asked(x, lengths, reset, batch_first, lower))
        if ready is None:
            return None
    states = ready.zeros if state is None else states_of(state, ready.shapes)
    result = None
    if states is not None and (not kind.indexed or in_range(x, kind.stack)):
        result = ready.run(pool, x, states, lengths, reset)
        if result is None and ready.renew(parameters, pool):  # they hold something else by now
            result = ready.run(pool, x, states, lengths, reset)
    if ready.floats <= MOST_FLOATS:
        waiting.append(ready)
    return result


def _make_room(kind: _Kind, floats: int) -> None:
    """Lets the oldest of the other kinds go until so much more is within MOST_FLOATS."""
    held = sum(other.floats for _, other in _kinds.items())
    for key, other in _kinds.items():
        if held + floats <= MOST_FLOATS:
            return
        if other is not kind and _kinds.drop(key) is not None:
            held -= other.floats


def _made(
    kind: _Kind, pool: Pool | None, count: int, parameters: Sequence[Tensor], asked: Asked
) -> Prepared | Elastic | None:
    """A call of this kind laid out, if the engine takes it."""
    stack, x, reset = kind.stack, asked.x, asked.reset
    packed, one_step = isinstance(asked.lengths, Ragged), asked.batch_first is None
    if not kind.indexed and x.shape[-1] != stack.input_size:
        return None
    input = x.unsqueeze(1) if one_step else x if packed or asked.batch_first else x.transpose(0, 1)
    zeros = [torch.zeros(shape, dtype=torch.float32) for shape in stack.state_shapes(asked.extent[0])]
    reset = reset if reset is None or asked.batch_first else reset.transpose(0, 1)
    call = Call(stack, input, tuple(parameters), tuple(zeros), None, reset, lower=asked.lower)
    with torch.autocast("cpu", enabled=False):  # whoever calls sees to its dtypes
        if refuses(call) is not None:
            return None
        if kind.steps is None:
            ready = (OneStep if one_step else Prepared)(call, asked, pool, count)
        else:
            ready = Elastic(call, asked, kind.steps, pool, count)
    _make_room(kind, ready.floats)
    return ready
