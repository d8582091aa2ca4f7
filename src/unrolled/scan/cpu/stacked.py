"""A stack layer by layer: where dropout lies between its layers, or each is a node of autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import dropout

from ..stack import Call, Stack
from .alike import Result


def run(call: Call, again: Callable[..., Result | None], layer: Callable[[Call], Result]) -> Result:
    """Output and last states; again: of one layer whose like has come before, or None, and then `layer`."""
    x, finals = call.input, []
    for one, parameters, state, last in layers(call.stack, call.parameters, call.state):
        if finals and call.training and call.stack.drops:
            x = dropout(x, call.stack.dropout)
        made = Call(one, x, parameters, state, call.lengths, call.reset, lower=call.lower if last else None)
        done = _again(made, again)
        x, states = layer(made) if done is None else done
        finals.append(states)
    return x, joined(finals)


def layers(
    stack: Stack, parameters: Sequence[Tensor], state: Sequence[Tensor]
) -> Iterator[tuple[Stack, tuple[Tensor, ...], tuple[Tensor, ...], bool]]:
    """Each layer as a stack of its own, with its parameters and states, and whether it is the last."""
    directions, each = stack.directions, len(parameters) // stack.num_layers
    for index in range(stack.num_layers):
        slots = slice(index * directions, (index + 1) * directions)
        own = tuple(parameters[index * each : (index + 1) * each])
        yield _single(stack, index), own, tuple([s[slots] for s in state]), index + 1 == stack.num_layers


def joined(finals: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The layers' last states as those of the stack."""
    return tuple([torch.cat(states) for states in zip(*finals, strict=True)])


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
