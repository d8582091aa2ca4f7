"""Every state and every gate of a scan, step by step, for any cell."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from ..cells import Cell
from ..scan import Call, Weights
from ..scan.reference import project, step


@dataclass(frozen=True)
class Layer:
    """What one direction of one layer did along a sequence.

    name: "layer 0", or "layer 0 reverse", whose steps are in the order of the text all the same.
    states: each state after every step (time, size), by the name of the cell's argument; the first is
        the output.
    gates: the activation of each gate at every step (time, hidden), by the name that the cell's function
        gives it. A plain RNN has none.
    """

    name: str
    states: dict[str, Tensor]
    gates: dict[str, Tensor]

    @property
    def tracks(self) -> dict[str, Tensor]:
        """The states, then the gates."""
        return self.states | self.gates


def trace(call: Call, first: int = 0) -> list[Layer]:
    """Every layer and direction of a call with one full row, by the reference's own steps.

    first: the number of the call's first layer, for a model that calls its layers one by one.
    """
    stack, x, traced = call.stack, call.input, []
    for index, directions in enumerate(stack.weights(call.parameters)):
        outputs = []
        for direction, weights in enumerate(directions):
            initial = tuple(s[index * stack.directions + direction] for s in call.state)
            states, gates = _along_time(stack.cell, x, weights, initial, reverse=direction == 1)
            name = f"layer {first + index}" + (" reverse" if direction else "")
            traced.append(Layer(name, states, gates))
            outputs.append(next(iter(states.values())))
        x = torch.cat(outputs, dim=-1)[None]
    return traced


def state_names(cell: Cell) -> tuple[str, ...]:
    """The names of the cell's states: the arguments of its function after x and r."""
    return tuple(inspect.signature(cell.function).parameters)[2 : 2 + cell.states]


def _along_time(
    cell: Cell, x: Tensor, weights: Weights, initial: tuple[Tensor, ...], reverse: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    projected = project(x, weights)[0].unflatten(-1, (cell.gates, -1))
    if reverse:
        projected = projected.flip(0)
    states = [initial]
    for t in range(len(projected)):
        states.append(step(cell, projected[t, None], states[-1], weights))
    before = tuple(torch.cat(s) for s in zip(*states[:-1], strict=True))
    after = tuple(torch.cat(s) for s in zip(*states[1:], strict=True))
    # With every state known, one call of the cell on all steps at once gives all gates.
    gates = _gates(cell, lambda: step(cell, projected, before, weights))
    named = dict(zip(state_names(cell), after, strict=True))
    if reverse:
        return {n: s.flip(0) for n, s in named.items()}, {n: g.flip(0) for n, g in gates.items()}
    return named, gates


def _gates(cell: Cell, run: Callable[[], tuple[Tensor, ...]]) -> dict[str, Tensor]:
    """The cell's local variables when it returned, but for the states, in the order they appear in it."""
    with _locals(cell.function) as found:
        following = run()
    arguments = set(inspect.signature(cell.function).parameters)
    shape = following[-1].shape if cell.states > 1 else (len(following[0]), -1)
    return {
        name: value
        for name, value in found.items()
        if name not in arguments
        and isinstance(value, Tensor)
        and value.dim() == 2
        and len(value) == shape[0]
        and not any(value is state for state in following)
    }


@contextmanager
def _locals(function: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """Fills the dict with the function's local variables whenever it returns within the block."""
    # The equations of a cell with zoneout are those of the cell that it is made of.
    code, found = getattr(inspect.unwrap(function), "__code__", None), {}
    before = sys.getprofile()

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "return" and frame.f_code is code:
            found.clear()
            found.update(frame.f_locals)

    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(before)
