"""How a layer's forward pass is divided among workers: by rows, by units, or by what is made of them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch

from ..stack import Stack
from .claim import ALONE
from .geometry import Geometry
from .machine import L1, Machine, machine_of
from .shape import panels

_MEETING = 0.075
"""Microseconds that each worker loses by every one of those who meet after a step, itself among them."""
_RATE = 40e3
"""Multiply-adds that a core does in a microsecond, about."""
_NEAR, _FAR = 140e3, 106e3
"""How many bytes of weights a core reads in a microsecond from the first cache, and from the second."""
_SPARED = 0.1
"""Microseconds of a step that two workers spare who need not meet after it; they meet now and then."""
_SMALL = 1 << 14
"""Bytes of weights up to which a worker may as well have one row as four."""
MANY = 24
"""Rows with which a worker may read all weights from the third cache while it multiplies by them. Then it
need not read half of the states from another's, a nanosecond a byte, every step."""
# torch's name for it is one more function of Python, in every training call.
_deterministic = torch._C._get_deterministic_algorithms


class Division(NamedTuple):
    """groups: of rows, in each direction. together: how many workers share the units of a group, and meet
    after every step. fed: whether another worker makes a group's input product (`ahead`)."""

    groups: int
    together: int
    fed: bool = False


def division(geometry: Geometry, features: int, workers: int, training: bool) -> Division:
    """Rows apart while the weights stay in a core's cache and there are rows enough; else the units of few
    rows, or of all, together.

    features: of the input; none of symbols, whose product is read from a table, and where none is read.
    """
    stack, batch, threads = geometry.stack, geometry.batch, workers
    columns, time = geometry.shape.r_columns, geometry.time
    if training:
        few = cost(stack, features, batch, time) < ALONE
        threads = 1 if few else min(most_groups(), batch * stack.hidden_size)
    host = geometry.shape.machine
    groups, _ = _split(stack, columns, features, batch, threads, host)
    if groups == 1 and _fed(stack, columns, features, batch, time, workers):
        return Division(1, 1, True)
    # As many groups as there would be if all were there: in training sums hang on it.
    return Division(groups, _split(stack, columns, features, batch, workers, host, groups)[1])


def cost(stack: Stack, features: int, batch: int, time: int) -> float:
    """About how many microseconds of one core's forward pass there are to share: all of it, less what
    meetings would take of those who share the units."""
    dense, columns = stack.cell.recurrent == "dense", stack.cell.gates
    products = features + (stack.output_size if dense else 0)
    # Of one row and one step the weights are read from memory, at a third of the speed.
    rate = 14e3 if batch * time == 1 else _RATE
    alone = stack.directions * batch * time * _units(stack) * columns * (products / rate + 4e-4)
    if not dense:
        return alone
    threads = torch.get_num_threads()
    groups, together = _split(stack, columns, features, batch, threads, machine_of(stack))
    fed = groups == 1 and _fed(stack, columns, features, batch, time, threads)
    # Of two, however many there are: whether more are worth it, `_split` has said.
    return alone if fed or (groups > 1 and together == 1) else alone - 2 * _meeting(2) * time


def sharing(stack: Stack, columns: int, batch: int, workers: int, groups: int) -> int:
    """How many of so many workers share the units of each group of a direction in the backward scan."""
    return _split(stack, columns, 0, batch, workers, machine_of(stack), groups)[1]


def most_groups() -> int:
    """Into how many groups a batch is divided in training at most.

    A weight's gradient is a sum over the groups. So their number hangs on no one's being busy; and not on
    the number of threads either, for those who ask for determinism.
    """
    return 1 if _deterministic() else torch.get_num_threads()


def _units(stack: Stack) -> int:
    width = machine_of(stack).width
    return panels(stack.hidden_size, width) * width


def _each(stack: Stack, workers: int) -> int:
    """How many of them each direction has: half, side by side, or all, one after the other."""
    return workers // 2 if stack.directions == 2 and workers % 2 == 0 else workers


def _meeting(together: int) -> float:
    """Microseconds that so many workers lose who meet after a step."""
    return _MEETING * together if together > 1 else 0.0


def _may_go_apart(batch: int, groups: int, weights: int, host: Machine) -> bool:
    """Whether rows may go into so many groups, each of whose workers reads so many bytes of weights.

    Together they read all the more, so few rows only where those stay in a worker's own cache.
    """
    return groups == 1 or weights <= host.l2 or batch >= MANY * groups


@lru_cache(maxsize=256)
def _split(
    stack: Stack, columns: int, features: int, batch: int, workers: int, host: Machine, groups: int = 0
) -> tuple[int, int]:
    """Into how many groups the rows of a direction are divided, and how many workers share the units of
    each: the quickest of all ways, by how much the busiest worker has to do in a step.

    columns: gates that have recurrent weights. workers: of both directions. groups: as many, if known."""
    weights = 4 * columns * stack.hidden_size * stack.output_size
    workers = _each(stack, workers)
    enough = max(1, min(workers, batch // (4 if weights > _SMALL else 1)))
    if not groups and enough == workers and _may_go_apart(batch, workers, weights, host):
        return workers, 1
    units, gates, every = stack.output_size, stack.cell.gates, panels(stack.output_size, host.width)
    # For as many rows the fewest groups, for as many workers the fewest panels.
    apart = {panels(batch, n): n for n in range(enough, 0, -1)}
    shares = {panels(every, own): own for own in range(every, 0, -1)}
    best = math.inf, 1, groups or 1
    for number in [groups] if groups else apart.values():
        for together, own in shares.items():
            mine = weights * own // every
            if number * together > max(workers, number):
                continue
            if not groups and not _may_go_apart(batch, number, mine, host):
                continue
            step = panels(batch, number) * own * host.width * (columns * units + gates * features) / _RATE
            reading = mine / (_NEAR if mine < L1 else _FAR)
            took = max(step, reading) + (_meeting(together) if columns else 0.0)
            best = min(best, (took, together, number))
    return best[2], best[1]


def _fed(stack: Stack, columns: int, features: int, batch: int, time: int, workers: int) -> bool:
    """Whether two workers, who have the steps and the input product each, end sooner than so many who share
    both, and lose what a meeting after each step takes."""
    # In a single step there is nothing to run ahead of.
    if workers < 2 * stack.directions or time == 1 or not columns or not features or stack.proj_size:
        return False
    weights = columns * _units(stack) * stack.output_size
    # What the other has made comes more slowly than weights that leave the second cache, half of them each.
    if 4 * weights > machine_of(stack).l2:
        return False
    step = max(batch * weights / _RATE, 4 * weights / (_NEAR if 4 * weights < L1 else _FAR))
    feed = batch * stack.cell.gates * _units(stack) * features / _RATE
    together = _split(stack, columns, features, batch, workers, machine_of(stack), 1)[1]
    return max(step, feed) < (step + feed) / together + _SPARED
