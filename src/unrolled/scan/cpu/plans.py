"""What was laid out for calls of one shape (a layer's blocks, a training step's course) lies by here for
the next of them, while nobody is in it."""

from __future__ import annotations

import itertools
from typing import Any

MOST = 64
"""Kinds of calls; those that have not come for longest go first."""


class _Shelf:
    """The plans of one kind, and when one was last laid by."""

    def __init__(self) -> None:
        self.plans: list[Any] = []
        self.last = 0


_shelves: dict[Any, _Shelf] = {}
_clock = itertools.count()


def take(key: Any) -> Any:
    """A plan that nobody uses, or None."""
    try:
        return _shelves[key].plans.pop()
    except (KeyError, IndexError):
        return None


def give(key: Any, plan: Any) -> None:
    """Lays it by for the next call of its kind."""
    shelf = _shelves.get(key) or _shelves.setdefault(key, _Shelf())
    shelf.last = next(_clock)
    shelf.plans.append(plan)
    if len(_shelves) > MOST:
        # A copy, for other threads may lay something by meanwhile.
        oldest = min(_shelves.copy().items(), key=lambda one: one[1].last)[0]
        _shelves.pop(oldest, None)


def clear() -> None:
    """Forgets all."""
    _shelves.clear()
