"""What a run came to, and what to do with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from ..models.base import Model
from ..training import Result
from .progress import clock, scored


def ending(
    result: Result,
    model: Model,
    out: Path,
    metric: str,
    commands: Sequence[Sequence[str | Path]],
    unit: str = "symbol",
) -> str:
    """Time, score, speed, size, memory, and what to do next: commands as words after `unrolled`.

    unit: see `scored`."""
    parameters = sum(p.numel() for p in model.parameters())
    how = "stopped" if result.interrupted else "done"
    more = "the same command with --resume goes on from here\n" if result.interrupted else ""
    memory = f", {result.memory / 2**20:,.0f} MiB of memory at most" if result.memory else ""
    if result.crowded and torch.get_num_threads() > 1:
        more += (
            "other programs took the cores again and again, and all threads waited each time: on so busy a "
            "machine, OMP_NUM_THREADS=1 before the command may be several times as fast\n"
        )
    lines = "".join("\n  " + shlex.join(["unrolled", *map(str, command)]) for command in commands)
    return (
        f"{how} after {clock(result.seconds)}: {scored(result.best, metric, unit)} on the validation data, "
        f"{result.symbols_per_second:,.0f} symbols a second, {parameters:,} parameters{memory}\n"
        f"{more}the best model and its curves are in {out}; next:{lines}"
    )
