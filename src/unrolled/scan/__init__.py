"""A cell along time: checked once, then handed to the fastest engine that can run it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import engines, transforms
from .dispatch import run
from .engines import Explanation, engine
from .stack import Call, Stack, Weights, folded
from .validate import State, validate
from .watching import Watched, watch

__all__ = [
    "Call",
    "Explanation",
    "Stack",
    "State",
    "Watched",
    "Weights",
    "anew",
    "engine",
    "folded",
    "run",
    "scan",
    "validate",
    "watch",
]


def scan(
    stack: Stack,
    input: Tensor,
    parameters: Sequence[Tensor],
    state: State | None = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    reset: Tensor | None = None,
    batch_first: bool = False,
    training: bool = False,
) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
    """Runs every layer of `stack` along time: h_t, … = cell(W x_t + b_ih, R h_{t-1} + b_hh, h_{t-1}, …).

    input: (time, batch, feature), or (batch, time, feature) if batch_first, or (time, feature) for one
        sequence; or int64 indices of the same shape without the feature axis, each standing for a
        one-hot vector, from 0 to input_size - 1; for another one the engine raises Error or IndexError.
    parameters: in the order of `stack.shapes`.
    state: (layers * directions, batch, size), or a tuple of one for each state of the cell; None: zeros.
    lengths: (batch,) whole numbers from 0 to time, in any order. Past its length a row's output is zero
        and its state stays; the reverse direction starts at each row's own end.
    reset: bool, the shape of the input without its feature axis. True: a new sequence begins at this
        step, so the state goes back to the initial one before it; the reverse direction, which reaches
        that sequence's last step first, goes back at the same boundary.
    training: whether dropout between layers is applied.

    Returns the output (the shape of the input with directions * output_size features) and the state
    after each row's last step, shaped as `state`.

    Raises Error or TypeError for wrong arguments.
    """
    drops = training and stack.drops
    done = engines.again(stack, input, parameters, state, lengths, reset, batch_first, None, drops)
    if done is None:
        return anew(stack, input, parameters, state, lengths, reset, batch_first, training)
    output, states = done
    return output, states[0] if len(states) == 1 else states


def anew(
    stack: Stack,
    input: Tensor,
    parameters: Sequence[Tensor],
    state: State | None,
    lengths: Tensor | Sequence[int] | None,
    reset: Tensor | None,
    batch_first: bool,
    training: bool,
) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
    """`scan` of a call that `engines.again` does not know."""
    done = None
    call, single = validate(stack, input, parameters, state, lengths, reset, batch_first, training)
    if single:
        # Now it has a batch axis.
        drops = training and stack.drops
        done = engines.again(stack, call.input, parameters, call.hx, None, call.reset, True, None, drops)
    output, states = done or run(call)
    if single:
        output, states = output[0], tuple(s[:, 0] for s in states)
    elif not batch_first:
        output = output.transpose(0, 1)
    return _changeable(output), states[0] if len(states) == 1 else states


def _changeable(output: Tensor) -> Tensor:
    """The output in the same memory, and no view if autograd was off: such a view cannot be changed in
    place by what autograd follows, and calls whose like has come before give none."""
    if torch.is_grad_enabled() or type(output) is not Tensor or not output._is_view():
        return output
    if torch.compiler.is_compiling() or transforms.inside() or torch._C._len_torch_dispatch_stack():
        return output
    made = torch.empty(0, dtype=output.dtype, device=output.device)
    return made.set_(output.untyped_storage(), output.storage_offset(), output.size(), output.stride())
