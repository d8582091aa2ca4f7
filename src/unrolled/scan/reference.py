"""A cell along time as a loop anyone can read. Slow, differentiable any number of times, and right:
every other engine is compared with this one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import dropout, embedding, linear

from ..cells import Cell
from .stack import Call, Weights


def refuses(call: Call) -> str | None:
    """Nothing: the reference runs every valid call."""
    return None


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Output (batch, time, directions * output) and every state (layers * directions, batch, size).

    Past a row's length the output is zero and the state stays. Both directions start from the initial
    state at each end of a row, and again at each boundary that `reset` draws inside it.
    """
    stack = call.stack
    layers = stack.weights(call.parameters)
    x, final = call.input, []
    for index, layer in enumerate(layers):
        outputs = []
        for direction, weights in enumerate(layer):
            initial = tuple(s[index * stack.directions + direction] for s in call.state)
            output, last = _along_time(stack.cell, x, weights, initial, call, reverse=direction == 1)
            outputs.append(output)
            final.append(last)
        x = torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]
        if stack.drops and call.training and index + 1 < stack.num_layers:
            x = dropout(x, stack.dropout)
    return x, tuple(torch.stack(states) for states in zip(*final, strict=True))


def _along_time(
    cell: Cell, x: Tensor, weights: Weights, initial: tuple[Tensor, ...], call: Call, reverse: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    begins, valid = _boundaries(call, reverse)
    if valid is not None and x.dtype is not torch.int64:
        # What is no number past a row's end would come back into every gradient, zero times that.
        x = torch.where(valid[..., None], x, 0.0)
    projected = _by_gate(cell, project(x, weights))
    steps = range(x.shape[1])
    states, outputs = initial, []
    for t in reversed(steps) if reverse else steps:
        if begins is not None:
            states = tuple(
                torch.where(begins[:, t, None], i, s) for i, s in zip(initial, states, strict=True)
            )
        following = step(cell, projected[:, t], states, weights)
        output = following[0]
        if valid is not None:
            row = valid[:, t, None]
            output = torch.where(row, output, 0.0)
            following = tuple(torch.where(row, f, s) for f, s in zip(following, states, strict=True))
        states = following
        outputs.append(output)
    if not outputs:
        return initial[0].new_zeros(x.shape[0], 0, initial[0].shape[-1]), states
    return torch.stack(outputs[::-1] if reverse else outputs, dim=1), states


def project(x: Tensor, weights: Weights) -> Tensor:
    """W·x_t + b_ih for every step: (batch, time, gates * hidden); for indices, columns of W."""
    if x.dtype is not torch.int64:
        return linear(x, weights.ih, weights.b_ih)
    gathered = embedding(x, weights.ih.t())
    return gathered if weights.b_ih is None else gathered + weights.b_ih


def step(cell: Cell, projected: Tensor, states: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
    """The next states from the input projection (batch, gates, hidden) of one step."""
    h, r = states[0], None
    if weights.hh is not None:
        if cell.recurrent == "dense":
            r = _by_gate(cell, linear(h, weights.hh, weights.b_hh))
        else:
            r = h[:, None] * _by_gate(cell, weights.hh)
            if weights.b_hh is not None:
                r = r + _by_gate(cell, weights.b_hh)
        r = r.unbind(1)
    following = cell(projected.unbind(1), r, states, weights.vectors)
    if weights.hr is not None:
        following = (linear(following[0], weights.hr), *following[1:])
    return following


def _by_gate(cell: Cell, rows: Tensor) -> Tensor:
    """(…, gates * hidden) as (…, gates, hidden); there may be no units."""
    return rows.unflatten(-1, (cell.gates, rows.shape[-1] // cell.gates))


def _boundaries(call: Call, reverse: bool) -> tuple[Tensor | None, Tensor | None]:
    """begins (batch, time): where the state goes back to the initial one before that step;
    valid (batch, time): where a step is inside its row's length."""
    begins = valid = None
    batch, time = call.input.shape[:2]
    if call.lengths is not None:
        lengths = call.lengths.to(call.input.device)
        valid = torch.arange(time, device=call.input.device) < lengths[:, None]
    if call.reset is not None:
        begins = call.reset if valid is None else call.reset & valid
        if reverse:
            # A boundary before step t is, walking backwards, one before step t - 1.
            none = begins.new_zeros(batch, 1)
            begins = torch.cat([begins[:, 1:], none], dim=1)
    return begins, valid
