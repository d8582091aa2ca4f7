"""One step of a session from its bytes to its answer by calls alone.

A task, its coroutines and a framework's objects cost more time than the step itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from .limits import Refused
from .rows import StepRow
from .steps import Steps

Finish = Callable[[Any, Any, float], None]


class Quick:
    """One step under way. `finish(answer, result, seconds)` is called once, in the event loop."""

    __slots__ = ("_answer", "_began", "_finish", "_row", "_seconds", "_steps", "_timer")

    def __init__(self, steps: Steps, finish: Finish, answer: Any, seconds: float) -> None:
        self._steps, self._answer, self._seconds = steps, answer, seconds
        self._finish: Finish | None = finish
        self._began = time.perf_counter()
        self._row: StepRow | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, id: str, body: bytes) -> bool:
        """Whether it has begun; raises Refused for what is not served."""
        self._row = self._steps.quick(id, body, self.tell)
        if self._row is not None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._late)
        return self._row is not None

    def tell(self, result: Any) -> None:
        """Answers, unless that was done."""
        if self._finish is None:
            return
        finish, self._finish = self._finish, None
        if self._timer is not None:
            self._timer.cancel()
        if self._row is not None:
            self._steps.end(self._row)
        finish(self._answer, result, time.perf_counter() - self._began)

    def _late(self) -> None:
        if self._row is not None:
            self._row.dropped = True
        self.tell(too_long(self._seconds))


def too_long(seconds: float) -> Refused:
    """What is said of a request that took all its time."""
    return Refused(503, f"this took longer than {seconds:g} s", "ask for less at once, or try again")
