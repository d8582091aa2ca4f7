"""A stack layer by layer: where dropout lies between its layers, or each is a node of autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout

from ..stack import Call, Stack
from .alike import Result, plain, states_of
from .prepared import Asked


def run(call: Call, one_again: Callable[..., Result | None], layer: Callable[[Call], Result]) -> Result:
    """Output and last states; one_again: of a layer whose like has come before; None: then `layer`."""
    x, finals = call.input, []
    for one, parameters, state, last in layers(call.stack, call.parameters, call.state):
        if finals and call.training and call.stack.drops:
            x = dropout(x, call.stack.dropout)
        made = Call(one, x, parameters, state, call.lengths, call.reset, lower=call.lower if last else None)
        done = _as_it_lies(made, one_again)
        x, states = layer(made) if done is None else done
        finals.append(states)
    return x, joined(finals)


def again(
    one_again: Callable[..., Result | None],
    stack: Stack,
    asked: Asked,
    parameters: Sequence[Tensor],
    state: Any,
    sizes: Tensor | None,
    drops: bool,
) -> Result | None:
    """As one_again is of a layer, of all; drops: whether dropout lies between them."""
    if not plain(asked.x, asked.axes):
        return None
    x, finals, (batch, _) = asked.x, [], asked.extent
    shapes = [torch.Size(shape) for shape in stack.state_shapes(batch)]
    states = () if state is None else states_of(state, shapes)
    if states is None:
        return None
    rest = None if sizes is not None else asked.lengths, asked.reset, asked.batch_first
    draws = torch.get_rng_state() if drops else None
    for one, own, begin, last in layers(stack, parameters, states):
        if finals and drops:
            x = dropout(x, stack.dropout)
        given = None if state is None else begin if isinstance(state, (tuple, list)) else begin[0]
        done = one_again(one, x, own, given, *rest, asked.lower if last else None, sizes)
        if done is None:
            if draws is not None:  # the long way draws what has been drawn here
                torch.set_rng_state(draws)
            return None
        x, found = done
        finals.append(found)
    whole = joined(finals)
    return x, whole if asked.lower is None else tuple([s.to(asked.lower) for s in whole])


def layers(
    stack: Stack, parameters: Sequence[Tensor], state: Sequence[Tensor]
) -> Iterator[tuple[Stack, tuple[Tensor, ...], tuple[Tensor, ...], bool]]:
    """Each layer as a stack of its own, with its parameters and states, and whether it is the last."""
    directions, each = stack.directions, len(parameters) // stack.num_layers
    for index in range(stack.num_layers):
        slots = slice(index * directions, (index + 1) * directions)
        own = tuple(parameters[index * each : (index + 1) * each])
        yield stack.layer(index), own, tuple([s[slots] for s in state]), index + 1 == stack.num_layers


def joined(finals: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The layers' last states as those of the stack."""
    return tuple([torch.cat(states) for states in zip(*finals, strict=True)])


def _as_it_lies(call: Call, one_again: Callable[..., Result | None]) -> Result | None:
    x, reset = call.input, call.reset
    # In memory the output lies as the input, as `layer` leaves it: dropout draws in that order.
    turned = x.stride(0) < x.stride(1)
    if turned:
        x, reset = x.transpose(0, 1), None if reset is None else reset.transpose(0, 1)
    done = one_again(call.stack, x, call.parameters, call.hx, call.lengths, reset, not turned, call.lower)
    if done is None or not turned:
        return done
    output, states = done
    return output.transpose(0, 1), states
