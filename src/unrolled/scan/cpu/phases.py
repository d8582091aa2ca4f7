"""What workers do in a backward pass, phase by phase, and who makes which product."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import arrange
from .derived import Derived
from .fields import FIELDS
from .pool import Jobs
from .segments import busiest

Phase = list[tuple[int, Jobs]]


class Phases(NamedTuple):
    """What workers do before the scan; after it, each for the groups that it scanned, and then together;
    sums of what each made; and copies."""

    before: Phase
    beside: Phase
    after: Phase
    sums: Phase
    last: Phase


class Product(NamedTuple):
    """A kernel over the rows of the group with this number; counts: the rows of its pieces."""

    kernel: str
    group: int
    block: Derived
    counts: np.ndarray

    def own(self, apart: bool) -> bool:
        """Whether the group's own worker does it. A table of symbols is too large for one a group."""
        return apart and self.kernel != "symbols"

    def share(self, workers: int, apart: bool, varying: bool) -> None:
        """Tells the block how many do it, and what they share."""
        own = self.own(apart)
        self.block.set(workers=1 if own else workers)
        if self.kernel in ("weights", "inputs") and not own:
            self.block.set(across=self._across(workers, varying))

    def jobs(self, at: int, workers: int, owner: int | None) -> Jobs:
        """The kernel's jobs for the block, which is there; owner: the worker who does it alone."""
        if owner is None:
            return arrange.jobs(at, workers)
        return [[(at, 0)] if rank == owner else [] for rank in range(workers)]

    def _across(self, workers: int, varying: bool) -> bool:
        """Whether they share the operand instead of the rows or gates, of which one would have more."""
        of, operand = (self.block.fields.get(FIELDS[name], 0) for name in ("a_panels", "o_panels"))
        whole = np.ones(of) if self.kernel == "weights" else self.counts
        if self.kernel == "inputs" and varying:
            # It is steps that are shared then, of which the first have the most rows.
            return operand >= workers
        return busiest(np.ones(operand), workers) < busiest(whole, workers)
