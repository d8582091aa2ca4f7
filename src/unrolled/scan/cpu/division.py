"""How a layer's forward pass is divided among workers: by rows, by units, or by what is made of them."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..stack import Stack
from .geometry import Geometry
from .machine import L1, machine
from .pool import ALONE
from .shape import panels

_MEETING = 0.15
"""Microseconds that two workers lose who meet after a step."""
_RATE = 40e3
"""Multiply-adds that a core does in a microsecond, about."""
_NEAR, _FAR = 140e3, 106e3
"""How many bytes of weights a core reads in a microsecond from the first cache, and from the second."""
_SPARED = 0.1
"""Microseconds of a step that two workers spare who need not meet after it; they meet now and then."""


class Division(NamedTuple):
    """groups: of rows, in each direction. together: how many workers share the units of a group, and meet
    after every step. fed: whether another worker makes a group's input product (`ahead`)."""

    groups: int
    together: int
    fed: bool = False


def division(geometry: Geometry, features: int, workers: int, training: bool) -> Division:
    """Rows apart while the weights stay in a core's cache and there are rows enough; else all together.

    features: of the input; none of symbols, whose product is read from a table, and where none is read.
    """
    stack, batch, threads = geometry.stack, geometry.batch, workers
    # In a single step there is nothing to run ahead of.
    columns, two = geometry.shape.r_columns, geometry.time > 1 and workers >= 2 * stack.directions
    if training:
        few = cost(stack, features, batch, geometry.time) < ALONE
        threads = 1 if few else min(most_groups(), batch * stack.hidden_size)
    if stack.directions == 2:
        workers, threads = (n // 2 if n % 2 == 0 else n for n in (workers, threads))
    if threads > 1 and _apart(stack, columns, batch, threads):
        return Division(threads, 1)
    if two and _fed(stack, columns, features, batch, workers):
        return Division(1, 1, True)
    return Division(1, _together(stack, workers))


def cost(stack: Stack, features: int, batch: int, time: int) -> float:
    """About how many microseconds of one core's forward pass there are to share: all of it, less what
    meetings would take of those who share the units."""
    dense, columns = stack.cell.recurrent == "dense", stack.cell.gates
    products = features + (stack.output_size if dense else 0)
    # Of one row and one step the weights are read from memory, at a third of the speed.
    rate = 14e3 if batch * time == 1 else _RATE
    alone = batch * time * _units(stack) * columns * (products / rate + 4e-4)
    threads = torch.get_num_threads()
    if not dense or _apart(stack, columns, batch, threads):
        return alone
    fed = _fed(stack, columns, features, batch, threads // stack.directions)
    return alone if fed else alone - 2 * _MEETING * time


def most_groups() -> int:
    """Into how many groups a batch is divided in training at most.

    A weight's gradient is a sum over the groups. So their number hangs on no one's being busy; and not on
    the number of threads either, for those who ask for determinism.
    """
    return 1 if torch.are_deterministic_algorithms_enabled() else torch.get_num_threads()


def _units(stack: Stack) -> int:
    width = machine().width
    return panels(stack.hidden_size, width) * width


def _apart(stack: Stack, columns: int, batch: int, threads: int) -> bool:
    """Whether there are rows enough for the threads, and a core's cache holds the recurrent weights.

    columns: gates that have some."""
    weights = 4 * columns * stack.hidden_size * stack.output_size
    return batch >= (4 * threads if weights > 1 << 14 else threads) and weights < machine().l2 * 3 // 4


def _together(stack: Stack, workers: int) -> int:
    """How many of so many workers share the units of a group."""
    return workers if panels(stack.output_size, machine().width) >= workers else 1


def _fed(stack: Stack, columns: int, features: int, batch: int, workers: int) -> bool:
    """Whether two workers, who have the steps and the input product each, end sooner than so many who share
    both, and lose what a meeting after each step takes."""
    if workers < 2 or not columns or not features or stack.proj_size:
        return False
    weights = columns * _units(stack) * stack.output_size
    step = max(batch * weights / _RATE, 4 * weights / (_NEAR if 4 * weights < L1 else _FAR))
    feed = batch * stack.cell.gates * _units(stack) * features / _RATE
    return max(step, feed) < (step + feed) / _together(stack, workers) + _SPARED
