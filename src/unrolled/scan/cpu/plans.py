"""What was laid out for calls of one shape (a layer's blocks, a training step's course) lies by here for
the next of them, while nobody is in it."""

from __future__ import annotations

import itertools
from typing import Any

MOST = 64
"""Kinds of calls; those that have not come for longest go first."""

_clock = itertools.count()


class Shelf:
    """The plans of one kind that nobody uses, for those who hold it to take."""

    def __init__(self, key: Any) -> None:
        self.key, self.stands = key, False
        self.plans: list[Any] = []
        self.last = next(_clock)
        """When one was last laid by."""

    def take(self) -> Any:
        """A plan that nobody uses, or None."""
        try:
            return self.plans.pop()
        except IndexError:
            return None

    def give(self, plan: Any) -> None:
        """Lays it by for the next call of its kind."""
        # Where it went meanwhile, there may be another for the same kind.
        own = self if self.stands else _put(self)
        own.last = next(_clock)
        own.plans.append(plan)


_shelves: dict[Any, Shelf] = {}


def shelf(key: Any) -> Shelf:
    """That of a kind."""
    return _shelves.get(key) or _put(Shelf(key))


def _put(shelf: Shelf) -> Shelf:
    own = _shelves.setdefault(shelf.key, shelf)
    own.stands, own.last = True, next(_clock)
    while len(_shelves) > MOST:
        # A copy, for other threads may put one there meanwhile.
        oldest, _ = min(_shelves.copy().items(), key=lambda one: one[1].last)
        _drop(oldest)
    return own


def _drop(key: Any) -> None:
    gone = _shelves.pop(key, None)
    if gone is not None:
        gone.stands = False
        gone.plans.clear()


def clear() -> None:
    """Forgets all."""
    for key in [*_shelves.copy()]:
        _drop(key)
