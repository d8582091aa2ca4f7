"""Zoneout, Krueger et al. (2016), arXiv:1606.01305: units that keep their value of the step before.

In training, with the next state h̃_t that a cell gives, and a mask m_t that is 1 with probability p, drawn
anew for each step, row and unit:

    h_t = m_t h_{t-1} + (1 - m_t) h̃_t

and in evaluation, the mask's expectation in its place:

    h_t = p h_{t-1} + (1 - p) h̃_t

Both are cells again, elementwise as every cell, so the engine that runs a cell runs it with zoneout too.
The masks cannot come from outside, one step being like another to an engine: each unit of each row has a
generator of its own, which is one more state of the cell, s, and begins at a number drawn from torch's.

    s_t = 4307 s_{t-1} mod (2^24 - 3)    m_t = [s_t < p (2^24 - 3)]

That is Lehmer's generator with the largest prime modulus whose residues float32 holds exactly, and with its
full period; Schrage (1979) computes it without a larger product.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor

from ..cells import Cell
from ..errors import Error
from ..scan import Stack

MODULUS, MULTIPLIER = 2**24 - 3, 4307
"""Of the multipliers that Schrage's way takes, the one with the best lattices in 2 and 3 dimensions."""
_QUOTIENT, _REMAINDER = divmod(MODULUS, MULTIPLIER)
_EXACT = (torch.float32, torch.float64)
"""The dtypes that hold s."""


def check(name: str, cell: Cell, rate: float, cell_rate: float, proj_size: int) -> None:
    """Raises Error if the cell cannot have zoneout at these rates."""
    if rate and proj_size:
        raise Error(
            f"{name}: zoneout mixes h with the h before, which proj_size={proj_size} narrows; leave one out"
        )
    if cell_rate and cell.states != 2:
        raise Error(
            f"{name}: cell_zoneout is for cells with a state beside h and no more, such as lstm; "
            f"{cell.name} has {cell.states}: leave it out"
        )


@lru_cache(maxsize=64)
def expected(cell: Cell, rate: float, cell_rate: float) -> Cell:
    """The cell in evaluation: h' = p h + (1 - p) h̃, and c likewise with cell_rate."""

    def mixed(x, r, *states, **vectors):
        following = cell(x, r, states, tuple(vectors.values()))
        rates = (rate, cell_rate, *(0.0 for _ in states[2:]))
        return tuple(
            new + p * (old - new) if p else new
            for old, new, p in zip(states, following, rates, strict=False)
        )

    return _cell(cell, mixed, cell.states, f"expected_{rate}_{cell_rate}")


@lru_cache(maxsize=64)
def drawn(cell: Cell, rate: float, cell_rate: float) -> Cell:
    """The cell in training: h' = h or h̃ by the mask, and c likewise by another; its last state is s."""

    def masked(x, r, *states, **vectors):
        *before, s = states
        following = list(cell(x, r, tuple(before), tuple(vectors.values())))
        s = s.detach()  # a mask has no gradient
        for i, p in enumerate((rate, cell_rate)):
            if p:
                s = step(s)
                following[i] = torch.where(s < p * MODULUS, before[i], following[i])
        return (*following, s)

    return _cell(cell, masked, cell.states + 1, f"drawn_{rate}_{cell_rate}")


def step(s: Tensor) -> Tensor:
    """4307 s mod (2^24 - 3) for whole numbers from 1 to 2^24 - 4 in float32 or float64, exactly.

    With M = a q + r and s = q k + d, a s = a d - r k (mod M), and both are below M where r is below q.
    """
    k = torch.round(s * (1 / _QUOTIENT))
    following = MULTIPLIER * (s - _QUOTIENT * k) - _REMAINDER * k
    return torch.where(following < 0, following + MODULUS, following)


def begin(one: Stack, states: tuple[Tensor, ...] | None, batch: int, weight: Tensor) -> tuple[Tensor, ...]:
    """The states that a `drawn` layer begins with: those given, or zeros, and a number s for each unit.

    states: (directions, batch, size) each. weight: a parameter of the layer. Raises Error where its
    numbers, or autocast's, do not hold s.
    """
    device = weight.device
    autocast = device.type != "cpu" and torch.is_autocast_enabled(device.type)
    if weight.dtype not in _EXACT or autocast:
        dtype = torch.get_autocast_dtype(device.type) if autocast else weight.dtype
        raise Error(f"{one}: zoneout draws its masks in float32 or float64, not in {dtype}; leave one out")
    shapes = one.state_shapes(batch)
    if states is None:
        states = tuple(weight.new_zeros(shape) for shape in shapes[:-1])
    return *states, torch.randint(1, MODULUS, shapes[-1], device=device).to(weight.dtype)


def _cell(cell: Cell, function: Callable[..., tuple[Tensor, ...]], states: int, how: str) -> Cell:
    named = wraps(cell.function)(function)
    named.__name__ = f"{cell.name}_zoneout"
    named.__qualname__ = f"{cell.function.__qualname__}_zoneout_{how}"
    return Cell(named, cell.gates, states, cell.recurrent, cell.vectors)
