"""A stack layer by layer: where dropout lies between its layers, or each is a node of autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from torch.nn.functional import dropout

from ..stack import Call, Stack
from .alike import Result


def run(call: Call, again: Callable[..., Result | None], layer: Callable[[Call], Result]) -> Result:
    """Output and last states; again: of one layer whose like has come before, or None, and then `layer`."""
    stack, x, finals = call.stack, call.input, []
    directions, each = stack.directions, len(call.parameters) // stack.num_layers
    for index in range(stack.num_layers):
        own = slice(index * directions, (index + 1) * directions)
        state = tuple([s[own] for s in call.state])
        parameters = call.parameters[index * each : (index + 1) * each]
        last = index + 1 == stack.num_layers
        made = Call(
            *(_single(stack, index), x, parameters, state, call.lengths, call.reset),
            lower=call.lower if last else None,
        )
        done = _again(made, again)
        x, states = layer(made) if done is None else done
        finals.append(states)
        if stack.drops and call.training and not last:
            x = dropout(x, stack.dropout)
    return x, tuple([torch.cat(states) for states in zip(*finals, strict=True)])


def _again(call: Call, again: Callable[..., Result | None]) -> Result | None:
    x, reset = call.input, call.reset
    # In memory the output lies as the input, as `layer` leaves it: dropout draws in that order.
    turned = x.stride(0) < x.stride(1)
    if turned:
        x, reset = x.transpose(0, 1), None if reset is None else reset.transpose(0, 1)
    done = again(call.stack, x, call.parameters, call.hx, call.lengths, reset, not turned, call.lower)
    if done is None or not turned:
        return done
    output, states = done
    return output.transpose(0, 1), states


@cache
def _single(stack: Stack, index: int) -> Stack:
    """One layer of a stack, as a stack of its own."""
    return replace(stack, num_layers=1, input_size=stack.layer_input_size(index), dropout=0.0)
