"""Who computes a call: the caller alone, or as many workers as there are, whom it has for so long."""

from __future__ import annotations

import time

import torch

from . import pool, team
from .pool import Pool
from .trial import Trial

ALONE = 20
"""Microseconds of work that are not worth sharing."""
LONG = 200
"""Microseconds of work that are worth waking workers for."""


class _Alone:
    """Within the block, whoever calls, without more ado."""

    def __enter__(self) -> tuple[Pool, int]:
        return pool.current, 1

    def __exit__(self, *_: object) -> None:
        pass


alone = _Alone()


def workers(cost: float, trial: Trial | None = None) -> _Alone | _Claim | _Workers:
    """Within the block, the pool and how many of its workers to use for `cost` microseconds of work on one
    core: as many as torch has, or one.

    A smaller team than torch's own would end the threads that it leaves out, and torch's next operation
    start them anew, which takes milliseconds.

    trial: of calls of this kind, if they are many: it says whether a short one is shared, and how many
    calls go as the last one did without more ado."""
    if trial is not None and trial.quick > 0:
        trial.quick -= 1
        if trial.way == 1:
            return alone
        begin = time.perf_counter()
        if begin - pool.current.team.last < team.WARM and torch.get_num_threads() == trial.way:
            try:
                claim = trial.claims.pop()
            except IndexError:
                claim = _Claim(trial)
            claim.begin = begin
            return claim
        trial.quick = 0
    return _Workers(cost, trial)


class _Claim:
    """As many workers as the last call of this kind had, which are awake. It is used again and again, for
    to make one and to let it go takes as long as all else here."""

    __slots__ = ("_granted", "_pool", "_trial", "begin")

    def __init__(self, trial: Trial) -> None:
        self._pool, self._trial, self._granted, self.begin = pool.current, trial, 1, 0.0

    def __enter__(self) -> tuple[Pool, int]:
        own = self._pool = pool.current
        self._granted = own.claim(self._trial.way, id(self))
        return own, self._granted

    def __exit__(self, *_: object) -> None:
        seconds, trial = time.perf_counter() - self.begin, self._trial
        # Whatever was granted: another thread may have changed the trial's mind meanwhile.
        self._pool.free(id(self))
        if self._granted > 1 and seconds > trial.limit:
            trial.odd(seconds)
        trial.claims.append(self)

    def __del__(self) -> None:
        # An interrupt may have come just before the block, or just after it.
        self._pool.free(id(self))


class _Workers:
    """One worker or all, as cost, workers' sleep and trial have it; the trial is told how it went."""

    __slots__ = ("_begin", "_chosen", "_expected", "_granted", "_pool", "_trial", "_wanted")

    def __init__(self, cost: float, trial: Trial | None) -> None:
        self._pool, self._trial, self._chosen, self._begin = pool.current, None, False, 0.0
        self._wanted = wanted = self._pool.size()
        if wanted > 1 and trial is not None and trial.stalls.resting():
            wanted, self._trial = 1, trial
        elif wanted > 1 and cost < LONG:
            if cost < ALONE or not self._pool.lively(wanted):
                wanted = 1
            elif trial is not None:
                wanted, self._trial, self._chosen = trial.choose(wanted), trial, True
        elif wanted > 1:
            self._trial = trial
        self._wanted, self._expected = wanted, 1e-6 * cost

    def __enter__(self) -> tuple[Pool, int]:
        self._granted = self._pool.claim(self._wanted, id(self)) if self._wanted > 1 else 1
        if self._trial is not None:
            self._begin = time.perf_counter()
        return self._pool, self._granted

    def __exit__(self, *_: object) -> None:
        if self._trial is not None and self._begin and self._granted == self._wanted:
            self._trial.ended(
                self._granted, time.perf_counter() - self._begin, self._expected, self._chosen
            )
        if self._granted > 1:
            self._pool.free(id(self))

    def __del__(self) -> None:
        # An interrupt may have come just before the block, or just after it.
        if self._wanted > 1:
            self._pool.free(id(self))
