"""Whether short calls of one kind are shared with other workers, found out by doing it both ways.

What a meeting of workers takes cannot be known beforehand: on a shared host it hangs on where the cores
are at the moment, and differs tenfold within minutes.
"""

from __future__ import annotations

import time

_TRIES = 3
"""Calls each way, of which the fastest counts: the first may wake somebody, or find cold caches."""
_HOLDS = 1.0
"""Seconds for which what was found holds."""


class Trial:
    """The calls of one kind: by one worker, or by as many as there are."""

    def __init__(self) -> None:
        self._best, self._until = 0, 0.0
        self._took: dict[int, list[float]] = {}

    def choose(self, most: int) -> int:
        """How many workers the next call gets, 1 or `most`."""
        now = time.monotonic()
        if now >= self._until:
            for count in (most, 1):
                if len(self._took.get(count, ())) < _TRIES:
                    return count
            self._best = min((1, most), key=lambda count: min(self._took[count]))
            self._until, self._took = now + _HOLDS, {}
        return self._best if self._best in (1, most) else most

    def note(self, count: int, seconds: float) -> None:
        """What a call by so many workers took."""
        if time.monotonic() >= self._until:
            self._took.setdefault(count, []).append(seconds)
