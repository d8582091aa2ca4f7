"""Memory of a training step, used again by the next: the first touch of fresh pages takes about as long as
the arithmetic on them."""

from __future__ import annotations

import torch
from torch import Tensor

MOST = 1 << 26
"""Floats that lie by for later steps; sizes that have not come for longest go first."""

_free: dict[int, list[Tensor]] = {}


def memory(count: int) -> Tensor:
    """Uninitialised floats."""
    return torch.empty(count, dtype=torch.float32)


class Loan:
    """Floats that are given back when nobody holds this any more."""

    def __init__(self, floats: Tensor) -> None:
        self.floats = floats

    def __del__(self) -> None:
        give(self.floats)


def borrow(count: int) -> Loan:
    """Uninitialised floats."""
    return Loan(take(count))


def take(count: int) -> Tensor:
    """Uninitialised floats, until they are given back."""
    try:
        return _free[count].pop()
    except (KeyError, IndexError):
        # What inference borrows may serve a training step next, which writes into it.
        with torch.inference_mode(False):
            return memory(count)


def give(room: Tensor) -> None:
    """Lays them by for the next who wants as many."""
    count = room.numel()
    # The size that came last stands last.
    rooms = _free.pop(count, [])
    rooms.append(room)
    _free[count] = rooms
    for oldest in list(_free):
        if sum(size * len(rooms) for size, rooms in list(_free.items())) <= MOST:
            break
        _free.pop(oldest, None)
