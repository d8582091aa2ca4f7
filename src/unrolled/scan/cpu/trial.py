"""Whether short calls of one kind are shared with other workers, found out by doing it both ways.

What a meeting of workers takes cannot be known beforehand: on a shared host it hangs on where the cores
are at the moment, and differs tenfold within minutes.
"""

from __future__ import annotations

import time

_SHARED, _ALONE = 8, 3
"""Calls each way, of which the fastest counts: the first may wake somebody, or find cold caches."""
_FEW, _MANY = 32, 4096
"""Calls for which what was found holds, at first and at last: twice as many whenever it is found again.

Workers that slept may have one core between them until the system puts them apart, some milliseconds later:
sharing, tried just then, looks slow.
"""
_PAUSE = 0.02
"""Seconds without a call after which workers may have slept."""


class Trial:
    """The calls of one kind: by one worker, or by as many as there are."""

    def __init__(self) -> None:
        self._best, self._left, self._holds, self._last = 0, 0, _FEW, 0.0
        self._took: dict[int, list[float]] = {}
        self._trying = False

    def choose(self, most: int) -> int:
        """How many workers the next call gets, 1 or `most`."""
        now = time.monotonic()
        if now - self._last > _PAUSE:
            self._left, self._holds = min(self._left, _FEW), _FEW
        self._last = now
        self._trying = not self._left
        if self._trying:
            for count, tries in ((most, _SHARED), (1, _ALONE)):
                if len(self._took.get(count, ())) < tries:
                    return count
            self._settle(min((1, most), key=lambda count: min(self._took[count])))
            self._trying = False
        self._left -= 1
        return self._best if self._best in (1, most) else most

    def _settle(self, best: int) -> None:
        self._holds = min(2 * self._holds, _MANY) if best == self._best else _FEW
        self._best, self._left, self._took = best, self._holds, {}

    def note(self, count: int, seconds: float) -> None:
        """What a call by so many workers took."""
        if self._trying:
            self._took.setdefault(count, []).append(seconds)
