"""Short rows in batches of like lengths, in an order drawn by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import Error
from .parallel import Group

JUDGED = 5000
"""Examples kept for judging at most, unless a part is asked for: as many tell good from best."""
NEIGHBOURS = 100
"""Batches whose rows are sorted by length together: enough to keep padding below a tenth on sentences,
few enough to mix."""

T = TypeVar("T")


class Rows:
    """The numbers of rows given out batch by batch, again and again, to each process its part.

    Each pass draws a new order; runs of NEIGHBOURS batches are sorted by length and cut, and the batches
    given out in an order drawn too. A batch is `batch` rows, at a pass's end perhaps fewer.
    """

    def __init__(
        self, lengths: Sequence[int], batch: int, generator: torch.Generator, group: Group | None = None
    ) -> None:
        self._lengths = torch.tensor(lengths)
        self._batch = batch
        self._generator = generator
        self._group = group or Group()
        self._begin_pass()

    def next(self) -> tuple[list[int], int, float]:
        """This process's rows of the next batch, the symbols of the whole batch, and the factor by which
        the sum of the rows' losses is to be multiplied, so that the mean over the processes is the mean
        over the whole batch. A process for which no row is left gets the first one, with factor 0."""
        if self._place == len(self._order):
            self._begin_pass()
        some = self._order[self._place]
        self._place += 1
        symbols = int(self._lengths[some].sum())
        mine = some[self._group.part(len(some))].tolist()
        if not mine:
            return some[:1].tolist(), symbols, 0.0
        return mine, symbols, self._group.size / len(some)

    @property
    def batches(self) -> int:
        """Batches in one pass."""
        return len(self._order)

    def padding(self) -> float:
        """The part of all places in this pass's batches that are padding."""
        places = sum(len(some) * int(self._lengths[some].max()) for some in self._order)
        return 1 - int(self._lengths.sum()) / max(places, 1)

    def position(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Where the reading stands, for a checkpoint."""
        return {"generator": self._begin}, {"place": self._place}

    def restore(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Goes back to such a position."""
        self._generator.set_state(tensors["generator"])
        self._begin_pass()
        self._place = data["place"]

    def _begin_pass(self) -> None:
        self._begin = self._generator.get_state()
        shuffled = torch.randperm(len(self._lengths), generator=self._generator)
        batches: list[Tensor] = []
        for neighbours in shuffled.split(NEIGHBOURS * self._batch):
            batches += neighbours[self._lengths[neighbours].argsort(stable=True)].split(self._batch)
        order = torch.randperm(len(batches), generator=self._generator)
        self._order = [batches[i] for i in order.tolist()]
        self._place = 0


def split(
    examples: Sequence[T], part: float | None, seed: int, of: Callable[[T], object] | None = None
) -> tuple[list[T], list[T]]:
    """The examples without a part drawn by the seed, and that part; None: a tenth, at most JUDGED.

    of: something of an example, such as its label, that none may have in the part alone: of those the first
    stays with the others.
    """
    if part is not None and not 0 < part < 1:
        raise Error(f"training: validation is {part}; wanted a part between 0 and 1")
    tenth = min(round(len(examples) / 10), JUDGED)
    kept = max(1, tenth if part is None else round(len(examples) * part))
    if kept >= len(examples):
        raise Error(
            f"training: {len(examples)} examples are too few to keep a part for validation; "
            f"give more, or others for validation"
        )
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed)).tolist()
    known, judged = sorted(order[kept:]), sorted(order[:kept])
    if of is not None:
        seen = {of(examples[i]) for i in known}
        alone = {of(examples[i]): i for i in reversed(judged) if of(examples[i]) not in seen}
        known, judged = sorted([*known, *alone.values()]), sorted({*judged} - {*alone.values()})
    if not judged:
        raise Error(
            f"training: of {len(examples)} examples none is left to judge by, for each has a label that no "
            f"other has; give more, or others for validation"
        )
    return [examples[i] for i in known], [examples[i] for i in judged]
