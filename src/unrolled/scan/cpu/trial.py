"""Whether short calls of one kind are shared with other workers, found out by doing it both ways.

What a meeting of workers takes cannot be known beforehand: on a shared host it hangs on where the cores
are at the moment, and differs tenfold within minutes; and where another program has one of the cores, each
meeting waits until that one's time is over.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from .alike import MOST

_SHARED, _ALONE = 8, 3
"""Calls each way. Of the shared ones the median of the last few counts, of those alone the fastest: the
first finds its memory in no cache."""
_CLAIM = 4e-6
"""Seconds that a shared call takes beside those, to get the workers and to let others have them."""
_SPAN = 5e-3
"""Seconds that the shared ones take at least: workers that slept may have one core between them until the
system puts them apart, some milliseconds later."""
_FAR = 2.0
"""How many times as long the first call alone takes where that one says enough."""
_FEW, _MANY = 32, 2048
"""Calls for which what was found holds, at first and at last: twice as many whenever it is found again."""
_PAUSE = 0.02
"""Seconds without a call after which workers may have slept."""
_SLOW, _OFTEN = 2.0, 4
"""What was found holds no more when so many calls on end take so many times as long as then."""
_QUICK = 15
"""Calls that go as the last one did, if that was as ever: to ask takes ten microseconds after a kernel."""


_STALL, _HOPELESS = 4e-3, 1.5
"""Seconds, and how many times what it may take alone, after which a shared call seems to have stalled:
another program has the core of one of its workers, for as long as the system gives it."""
_STALLS, _CALM = 2, 8
"""Stalls after which the next calls go alone, and calls without one after which none counts any more."""
_REST = 32
"""How many times as long as those stalls took they go alone at most, so that looking again costs a 30th. At
first once as long, and twice as long whenever they stall again: workers that had slept stall once."""


class Stalls:
    """Shared calls of one kind, short or long, and whether the next had better go alone."""

    def __init__(self) -> None:
        self._count, self._calm, self._lost = 0, 0, 0.0
        self._until, self._each, self._limit, self._rest = 0.0, 0.0, _STALL, 1
        self._alone: list[float] = []

    @property
    def quiet(self) -> bool:
        """Whether nothing of the kind has been for a while."""
        return not self._count and self._rest == 1

    def limit(self, alone: float) -> float:
        """Seconds from which a shared call seems to have stalled that takes about so many alone."""
        return max(self._limit, _HOPELESS * alone)

    def resting(self) -> bool:
        """Whether calls go alone for now."""
        return self._until > 0.0 and time.monotonic() < self._until

    def note(self, count: int, seconds: float, alone: float) -> None:
        """What a call by so many workers took, and about what it takes alone; by one: while resting."""
        if count == 1:
            if len(self._alone) < _ALONE:
                self._alone.append(seconds)
                if _FAR * min(self._alone) > self._each:
                    # No better alone. Once that is sure: those were no stalls, but how long it takes here.
                    self._until = 0.0
                    if len(self._alone) == _ALONE:
                        self._limit = _HOPELESS * self._each
        elif seconds < self.limit(alone):
            self._calm += 1
            if self._calm >= _CALM:
                self._count, self._lost, self._rest = 0, 0.0, 1
        else:
            self._count, self._calm, self._lost = self._count + 1, 0, self._lost + seconds
            if self._count >= _STALLS:
                self._until = time.monotonic() + self._rest * self._lost
                self._each = self._lost / self._count
                self._count, self._lost = 0, 0.0
                if len(self._alone) == _ALONE:
                    self._alone = []
                self._rest = min(2 * self._rest, _REST)


class Trial:
    """The calls of one kind: by one worker, or by as many as there are."""

    def __init__(self) -> None:
        self.stalls = Stalls()
        self._best, self._left, self._holds, self._last = 0, 0, _FEW, 0.0
        self._took: dict[int, list[float]] = {}
        self._trying, self._found, self._slow = False, 0.0, 0
        self.quick, self.way, self.limit, self._eased = 0, 1, 0.0, 0
        """How many of the next calls go which way, by so many workers; seconds after which one is odd."""
        self._expected, self._chosen = 0.0, False
        self.claims: list[Any] = []
        """What such calls claim workers with, that lies by."""

    def choose(self, most: int) -> int:
        """How many workers the next call gets, 1 or `most`."""
        now = time.monotonic()
        if now - self._last > _PAUSE * (1 + self._eased):
            self._left, self._holds = min(self._left, _FEW), _FEW
        self._last = now
        took = self._took  # Another thread may begin anew.
        self._trying = self._left <= 0
        if self._trying:
            shared, alone = took.get(most, []), took.get(1, [])
            if len(shared) < _SHARED or sum(shared) < _SPAN:
                return most
            usual = median(shared[-_SHARED // 2 :])
            if len(alone) < _ALONE and not (alone and alone[0] > _FAR * usual):
                return 1
            self._settle(*min((usual + _CLAIM, most), (min(alone), 1)))
        self._left -= 1
        return self._best if self._best in (1, most) else most

    def _settle(self, seconds: float, best: int) -> None:
        self._holds = min(2 * self._holds, _MANY) if best == self._best else _FEW
        self._best, self._found, self._left = best, seconds, self._holds
        self._took, self._trying, self._slow = {}, False, 0

    def note(self, count: int, seconds: float) -> None:
        """What a call by so many workers took."""
        if self._trying:
            self._took.setdefault(count, []).append(seconds)
            return
        self._slow = self._slow + 1 if seconds > _SLOW * self._found else 0
        if self._slow >= _OFTEN:
            self._left, self._holds, self._slow = 0, _FEW, 0

    def ended(self, count: int, seconds: float, alone: float, chosen: bool) -> None:
        """Notes what a call by so many workers took, and about what it takes alone. If all is as ever, the
        next few go the same way without more ado. chosen: whether `choose` has said which."""
        self._eased = 0
        if chosen:
            self.note(count, seconds)
        if count > 1 or not chosen:
            self.stalls.note(count, seconds, alone)
            if count == 1 or not self.stalls.quiet:
                return
        self._eased, self.limit = _QUICK, self.stalls.limit(alone)
        if chosen:
            unsure = self._trying or self._slow > 0
            self._eased = 0 if unsure else max(0, min(self._left, _QUICK))
            self._left -= self._eased
            self.limit = min(self.limit, _SLOW * self._found)
        self._expected, self._chosen, self.way, self.quick = alone, chosen, count, self._eased

    def odd(self, seconds: float) -> None:
        """Notes a call that went without more ado and took longer than the limit."""
        self.quick, self._eased = 0, 0
        if self._chosen:
            self.note(self.way, seconds)
        self.stalls.note(self.way, seconds, self._expected)


_known: dict[Any, Trial] = {}


def trial_of(*key: Any) -> Trial:
    """The one of all calls with this key; those of kinds long unseen are dropped."""
    found = _known.pop(key, None) or Trial()
    _known[key] = found
    if len(_known) > MOST:
        # A copy, for other threads may put one there meanwhile.
        _known.pop(next(iter(_known.copy())), None)
    return found
