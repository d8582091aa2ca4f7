"""Jobs over a few threads, a bar's figures while they run, and an end between two jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..errors import Error


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    stage: "reading", "counting" or "training". fraction: of the stage. loss: the mean since the last
    report, nan before there is one. words_per_second: of the corpus, all epochs counted.
    """

    stage: str
    fraction: float
    epoch: int = 0
    loss: float = float("nan")
    words_per_second: float = 0.0
    seconds: float = 0.0

    @property
    def seconds_left(self) -> float:
        """By the pace so far."""
        return self.seconds * (1 - self.fraction) / self.fraction if self.fraction else float("inf")


Report = Callable[[Progress], None]


def thread_count(threads: int | None) -> int:
    """As many as asked for; None: as many as torch computes with. Raises Error for fewer than 1."""
    if threads is None:
        return torch.get_num_threads()
    if not 1 <= threads <= 1024:
        raise Error(f"threads is {threads}; wanted 1 to 1024, or None for as many as torch computes with")
    return threads


class Workers:
    """Threads that do jobs number `next`, next + 1, … up to `jobs` − 1, each when one is free.

    work: makes a thread's own function of a job's number, which returns (sum of losses, losses taken) and
    should run for some milliseconds without Python's lock.
    """

    def __init__(
        self, threads: int, jobs: int, make_work: Callable[[], Callable[[int], tuple[float, int]]]
    ):
        self.threads, self.jobs, self.make_work = threads, jobs, make_work
        self.next = 0
        self.total_loss = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._loss, self._taken = 0.0, 0
        self._failure: BaseException | None = None

    def run(self, seconds: float, report: Callable[[float], None], stopped: threading.Event) -> None:
        """Works until the jobs or the seconds are over or `stopped` is set; all begun jobs are done then.

        report: gets the mean loss a few times a second. Raises what a job raised.
        """
        self._stop.clear()
        threads: list[threading.Thread] = []
        end = time.monotonic() + seconds
        try:
            for _ in range(self.threads):
                thread = threading.Thread(target=self._work, daemon=True)
                thread.start()
                threads.append(thread)
            while any(thread.is_alive() for thread in threads) and not stopped.is_set():
                left = end - time.monotonic()
                if left <= 0:
                    break
                threads[-1].join(min(0.2, left))
                report(self.mean_loss())
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            work = self.make_work()
            while not self._stop.is_set():
                with self._lock:
                    job = self.next
                    if job >= self.jobs:
                        return
                    self.next += 1
                loss, taken = work(job)
                with self._lock:
                    self._loss += loss
                    self.total_loss += loss
                    self._taken += taken
        except BaseException as error:
            self._failure = error
            self._stop.set()

    def mean_loss(self) -> float:
        """Of the losses taken since the last call; nan if there are none."""
        with self._lock:
            loss, taken = self._loss, self._taken
            self._loss, self._taken = 0.0, 0
        return loss / taken if taken else float("nan")
