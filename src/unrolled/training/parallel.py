"""One training on several processes, started by torchrun: each has a part of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ..errors import Error


@dataclass(frozen=True)
class Group:
    """The processes of a training: `size` of them, this one being number `rank`; 0 alone writes."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that judges, reports and writes."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Which of `count` things are this process's: parts as equal as can be, in order."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, its gradients averaged over the processes after each backward pass."""
        return model if self.size == 1 else nn.parallel.DistributedDataParallel(model)

    def decide(self, values: Sequence[float]) -> list[float]:
        """The values of the leading process, on all."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(list(values), dtype=torch.float64)
        dist.broadcast(tensor, 0)
        return tensor.tolist()

    def mean(self, value: float) -> float:
        """The mean of the processes' values, on all."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return float(total) / self.size

    def gather(self, value: Any) -> list[Any]:
        """The value of every process, in order, on the leading one; an empty list on the others."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.gather_object(value, values if self.leads else None)
        return values if self.leads else []

    def share(self, value: Any) -> Any:
        """The leading process's value, on all."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0)
        return values[0]

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Says in one sentence that another process is gone, where that is what broke a collective."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or isinstance(error, Error):
                raise
            reason = str(error).splitlines()[0]
            raise Error(
                f"process {self.rank} of {self.size} lost the others ({reason}); the best model and the "
                f"last checkpoint are kept: start again with --resume"
            ) from error


@contextmanager
def joined() -> Iterator[Group]:
    """The processes that torchrun started (known by its environment variables), or this one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    mine = not dist.is_initialized()
    if mine:
        dist.init_process_group("gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        if mine:
            dist.destroy_process_group()


def leads() -> bool:
    """Whether this process is the one that reports: the only one, or torchrun's first."""
    return os.environ.get("RANK", "0") == "0"
