"""Whether the machine gives this process all its cores at the moment.

On a shared host it does not always: for seconds on end two of its cores may be one of the host's, or have
another system's work beside them, and what two threads do then takes up to twice as long, what one does
not. A ratio measured just then says how much of the peer's work is done by one thread.
"""

from __future__ import annotations

import statistics
import time
from functools import cache

from .peak import MultiplyAdds

PATIENCE = 240.0
"""Seconds that a process waits for its cores in all; afterwards turns count as they come."""
_ONCE = 20.0
"""Seconds that it waits at once; a machine that is no faster then is slower now, as a laptop once warm."""

_STEPS = 50_000
"""Rounds of multiply-adds in one look: some tenths of a millisecond."""
_LOOKS = 7
"""Looks of which the median counts."""
_ALL = 0.95
"""The part of the highest speed seen that all cores have together at least. With one missing it is half.
Where others work on the same cores it is a little less, but a scan takes up to half as long again."""
_PLACED = 0.02
"""Seconds within which threads that slept are put on cores of their own."""
_FIRST = 0.3
"""Seconds for which the speed is looked at to begin with."""


class Cores:
    """How fast multiply-adds are on so many threads, against the highest speed seen."""

    def __init__(self, threads: int) -> None:
        self._adds, self._best, self._left = MultiplyAdds(threads, _STEPS), 0.0, PATIENCE
        self.again, self.anyway = 0, 0
        """Turns that were had again; turns that counted although not all cores were there."""
        end = time.perf_counter() + _FIRST
        while time.perf_counter() < end:
            self._best = max(self._best, self._speed())

    def all_there(self) -> bool:
        """Whether they are, now."""
        return self._fastest() >= _ALL * self._best

    def wait(self) -> None:
        """Until all are there, or patience ends."""
        begin, seen = time.perf_counter(), 0.0
        while self._left > (waited := time.perf_counter() - begin):
            seen = max(seen, self._fastest())
            if seen >= _ALL * self._best:
                break
            if waited > _ONCE:
                self._best = seen
                break
            time.sleep(_PLACED)
        self._left -= time.perf_counter() - begin

    def disturbed(self, seconds: float) -> bool:
        """Whether a turn of so many seconds is to be had again: not all cores are there after it."""
        if self.all_there():
            return False
        if self._left <= 0:
            self.anyway += 1
            return False
        self.again += 1
        self._left -= seconds
        return True

    def _fastest(self) -> float:
        """The highest speed while threads are put on cores, or the first that is as high as can be."""
        end, fastest = time.perf_counter() + _PLACED, 0.0
        while True:
            fastest = max(fastest, self._speed())
            self._best = max(self._best, fastest)
            if fastest >= _ALL * self._best or time.perf_counter() >= end:
                return fastest

    def _speed(self) -> float:
        return self._adds.operations / statistics.median(self._look() for _ in range(_LOOKS))

    def _look(self) -> float:
        begin = time.perf_counter()
        self._adds()
        return time.perf_counter() - begin


@cache
def cores(threads: int) -> Cores:
    """Those of this process for so many threads."""
    return Cores(threads)
