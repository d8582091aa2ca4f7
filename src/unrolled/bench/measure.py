"""Timing that holds on a noisy machine: peers in turn in one process, medians, only where they agree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Error
from .peers import peers
from .work import LAYERS, Shape

BLOCK = 5e-3
"""Seconds that one timing lasts at least, by repeating a short call."""

SETTLE = 3e-3
"""Seconds between two peers, in which the threads of the one before stop spinning."""


@dataclass(frozen=True)
class Row:
    """One layer at one shape: the median seconds of each peer."""

    layer: str
    shape: Shape
    backward: bool
    seconds: dict[str, float]
    operations: int

    def ratio(self, peer: str) -> float:
        """How many times our time the peer takes."""
        return self.seconds[peer] / self.seconds["unrolled"]

    @property
    def fastest(self) -> float:
        """The ratio to the fastest of the peers."""
        return min(self.ratio(name) for name in self.seconds if name != "unrolled")

    @property
    def rate(self) -> float:
        """Our floating-point operations a second."""
        return self.operations / self.seconds["unrolled"]


def measure(layer: str, shape: Shape, backward: bool, rounds: int) -> Row:
    """The medians over `rounds` turns; raises Error if the peers disagree on the numbers."""
    found, truth = peers(layer, shape, backward)
    _agree(layer, shape, found, truth, backward)
    calls = [peer.backward if backward else peer.forward for peer in found]
    seconds = dict(zip([peer.name for peer in found], medians(calls, rounds), strict=True))
    return Row(layer, shape, backward, seconds, shape.operations(LAYERS[layer], backward))


def medians(calls: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """The median seconds of each call over `rounds` turns, in each of which every call has one."""
    repeats = [_repeats(call) for call in calls]
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, repeat, taken in zip(calls, repeats, seconds, strict=True):
            time.sleep(SETTLE)
            call()
            taken.append(_time(call, repeat))
    return [statistics.median(taken) for taken in seconds]


def _agree(layer: str, shape: Shape, found: list[Any], truth: Any, backward: bool) -> None:
    """Each peer within 1e-4 of the float64 result, relative to its largest value (gradients: 1e-3)."""
    wanted = truth.gradients() if backward else [truth.output()]
    tolerance = 1e-3 if backward else 1e-4
    for peer in found:
        got = peer.gradients() if backward else [peer.output()]
        for index, (g, w) in enumerate(zip(got, wanted, strict=True)):
            off = float(np.abs(g - w).max() / max(np.abs(w).max(), 1e-30))
            if not off <= tolerance:
                what = f"gradient {index}" if backward else "output"
                raise Error(
                    f"bench: {peer.name} disagrees on {layer} {shape}: its {what} is off by {off:.1e} "
                    f"(at most {tolerance:.0e}); no speed is reported for wrong numbers"
                )


def _repeats(call: Callable[[], Any]) -> int:
    call()
    return max(1, round(BLOCK / max(_time(call, 2), 1e-7)))


def _time(call: Callable[[], Any], repeat: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - begin) / repeat
