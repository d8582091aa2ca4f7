"""What was laid out for calls of one shape (a layer's blocks, a training step's course) lies by here for
the next of them, while nobody is in it."""

from __future__ import annotations

import itertools
from typing import Any
from weakref import WeakValueDictionary

MOST = 64
"""Shelves with plans; those that nobody has come to for longest are cleared first."""

_clock = itertools.count()


class Shelf:
    """The plans of one kind that nobody uses. Who holds it always finds there what he laid by."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.plans: list[Any] = []
        self.last = 0
        """When one was last laid by."""

    def take(self) -> Any:
        """A plan that nobody uses, or None."""
        try:
            return self.plans.pop()
        except IndexError:
            return None

    def give(self, plan: Any) -> None:
        """Lays it by for the next call of its kind."""
        self.last = next(_clock)
        self.plans.append(plan)
        _used[self] = None
        if len(_used) > MOST:
            # A copy, for other threads may lay something by meanwhile.
            _drop(min(_used.copy(), key=lambda shelf: shelf.last, default=self))


_used: dict[Shelf, None] = {}
"""Those that something was laid by on."""
_shelves: WeakValueDictionary[Any, Shelf] = WeakValueDictionary()


def shelf(key: Any) -> Shelf:
    """That of a kind."""
    found = _shelves.get(key)
    if found is None:
        found = _shelves[key] = Shelf(key)
    return found


def _drop(shelf: Shelf) -> None:
    _used.pop(shelf, None)
    shelf.plans.clear()


def clear() -> None:
    """Forgets all."""
    for shelf in _used.copy():
        _drop(shelf)
