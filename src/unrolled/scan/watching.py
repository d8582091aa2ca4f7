"""What the scans of a block were called with and gave, for those who look at a layer from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor

from .stack import Call


@dataclass(frozen=True)
class Watched:
    """One call that an engine ran, its output and its last states (the tensors themselves, no copies)."""

    call: Call
    output: Tensor
    states: tuple[Tensor, ...]


current: ContextVar[list[Watched] | None] = ContextVar("unrolled_watching", default=None)
"""What those who watch have seen; None: nobody watches."""


@contextmanager
def watch() -> Iterator[list[Watched]]:
    """Within the block, what every scan of this thread was called with and gave, in order."""
    watched: list[Watched] = []
    token = current.set(watched)
    try:
        yield watched
    finally:
        current.reset(token)


def note(call: Call, output: Tensor, states: tuple[Tensor, ...]) -> None:
    """Keeps a call that has run, if anyone watches."""
    watched = current.get()
    if watched is not None:
        watched.append(Watched(call, output, states))
