"""How a validated call reaches its engine: straight, under autocast, or as one operator of a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from . import autocast, engines, operator, reference, transforms
from .stack import Call


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Output (batch, time, directions * output) and states (layers * directions, batch, size) each.

    Under autocast both have its dtype, or what `autocast.lowered` says. On a CPU the recurrence itself
    stays in the parameters' dtype: that is closer to the float32 result than torch.nn's, and at least as
    fast as float32 without it.
    """
    device = call.input.device.type
    if autocast.active(device):
        return _autocast(call, device)
    return _run(call)


def _run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    # Compilers and tracers see one operator, not an engine's kernels or a loop; called as it is, it would
    # cost every eager call tens of microseconds.
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        # The operator has no rules for torch.func's transformations; the loop consists of what has.
        within = reference if transforms.functional() else operator
        return within.run(call)
    return engines.run(call)


def _autocast(call: Call, device: str) -> tuple[Tensor, tuple[Tensor, ...]]:
    dtype = call.parameters[0].dtype
    lower = autocast.lowered(call.stack, call.state[0].dtype, dtype, device)
    inside = dtype if device == "cpu" else lower
    lowered = Call(
        call.stack,
        call.input if call.indexed else _as(call.input, inside),
        tuple([_as(p, inside) for p in call.parameters]),
        tuple([_as(s, inside) for s in call.state]),
        call.lengths,
        call.reset,
        call.training,
        lower,
    )
    if torch.compiler.is_compiling():  # compilers know the context only
        with torch.autocast(device, enabled=False):
            output, states = _run(lowered)
    else:  # which takes ten times as long as this
        torch.set_autocast_enabled(device, False)
        try:
            output, states = _run(lowered)
        finally:
            torch.set_autocast_enabled(device, True)
    return _as(output, lower), tuple([_as(s, lower) for s in states])


def _as(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    # Even a conversion to the same dtype takes a microsecond.
    return tensor if tensor.dtype is dtype else tensor.to(dtype)
