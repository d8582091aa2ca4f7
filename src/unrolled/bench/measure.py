"""Timing that holds on a noisy machine: peers in turn in one process, medians, only where they agree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import Error
from .peak import MultiplyAdds, Reads
from .peers import peers
from .quiet import cores
from .work import LAYERS, Shape

BLOCK = 5e-3
"""Seconds that one timing lasts at least, by repeating a short call."""

WARM = 20e-3
"""Seconds for which a call is repeated before it is timed: threads that slept are put on cores of their own
only some milliseconds after they woke."""

SETTLE = 8e-3
"""Seconds between two looks at whether threads of the call before still spin."""


@dataclass(frozen=True)
class Row:
    """One layer at one shape: each peer's median seconds, and what limits them, in the same turns."""

    layer: str
    shape: Shape
    backward: bool
    seconds: dict[str, float]
    peak: float
    """Floating-point operations a second."""
    call: float = 0.0
    """Seconds of a call that computes nothing."""
    reads: float = 0.0
    """Seconds that reading the recurrent weights takes, once for every step."""

    def ratio(self, peer: str) -> float:
        """How many times our time the peer takes."""
        return self.seconds[peer] / self.seconds["unrolled"]

    @property
    def fastest(self) -> float:
        """The ratio to the fastest of the peers."""
        return min(self.ratio(name) for name in self.seconds if name != "unrolled")

    @property
    def products(self) -> float:
        """Seconds that the matrix products take at the peak."""
        return self.shape.operations(LAYERS[self.layer], self.backward) / self.peak

    @property
    def fraction(self) -> float:
        """Of the peak, that the matrix products alone make."""
        return self.products / self.seconds["unrolled"]

    @property
    def least(self) -> float:
        """Seconds of a call, of the products at the peak, and of reading the recurrent weights in every
        step where that takes longer than multiplying by them."""
        stepwise = self.shape.recurrent(LAYERS[self.layer], self.backward) / self.peak
        return self.call + self.products - stepwise + max(stepwise, self.reads)

    def limit(self, peer: str | None = None) -> float:
        """The ratio to the peer, or to the fastest, if we took no more than `least`."""
        others = [seconds for name, seconds in self.seconds.items() if name != "unrolled"]
        return (self.seconds[peer] if peer else min(others)) / self.least


def measure(layer: str, shape: Shape, backward: bool, rounds: int) -> Row:
    """The medians over `rounds` turns; raises Error if the peers disagree on the numbers."""
    found, bare, truth = peers(layer, shape, backward)
    wanted = truth.gradients() if backward else [truth.output()]
    for peer in found:
        agree(peer.name, f"{layer} {shape}", peer.gradients() if backward else [peer.output()], wanted)
    threads, cell = torch.get_num_threads(), LAYERS[layer]
    limit, reads = MultiplyAdds(threads), Reads(shape.weights(cell), threads)
    calls = [peer.backward if backward else peer.forward for peer in (*found, bare)]
    with torch.inference_mode(not backward):
        *seconds, call, together, read = medians([*calls, limit, reads], rounds)
    named = dict(zip([peer.name for peer in found], seconds, strict=True))
    times = shape.time * (2 if backward else 1)
    return Row(
        layer, shape, backward, named, limit.operations / together, call, read / reads.rounds * times
    )


def agree(who: str, what: str, got: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> None:
    """Raises Error unless each array is the wanted one within 1e-4 of that one's largest value.

    Of several arrays (an output's or input's gradient, then the weights') each is held to 1e-3: gradients
    add up thousands of terms.
    """
    tolerance = 1e-4 if len(wanted) == 1 else 1e-3
    for index, (g, w) in enumerate(zip(got, wanted, strict=True)):
        off = float(np.abs(g - w).max() / max(np.abs(w).max(), 1e-30))
        if not off <= tolerance:
            part = "output" if len(wanted) == 1 else f"gradient {index}"
            raise Error(
                f"bench: {who} disagrees on {what}: its {part} is off by {off:.1e} "
                f"(at most {tolerance:.0e}); no speed is reported for wrong numbers"
            )


def medians(calls: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """The median seconds of each call over `rounds` turns, in each of which every call has one.

    A turn before or after which not all cores are there is had again (`quiet`).
    """
    repeats = [_repeats(call) for call in calls]
    seconds: list[list[float]] = [[] for _ in calls]
    _settle()
    for _ in range(rounds):
        for call, repeat, taken in zip(calls, repeats, seconds, strict=True):
            taken.append(_turn(call, repeat))
    return [statistics.median(taken) for taken in seconds]


def _turn(call: Callable[[], Any], repeat: int) -> float:
    """Seconds of a call, timed between two moments in which all cores were there."""
    all_cores = cores(torch.get_num_threads())
    while True:
        begin = time.perf_counter()
        all_cores.wait()
        _warm(call)
        seconds = _time(call, repeat)
        _settle()
        if not all_cores.disturbed(time.perf_counter() - begin):
            return seconds


def _settle() -> None:
    """Waits until this process is idle: ONNX Runtime's threads spin for some 50 ms after a call."""
    for _ in range(40):
        before = time.process_time()
        time.sleep(SETTLE)
        if time.process_time() - before < SETTLE / 4:
            return


def _warm(call: Callable[[], Any]) -> None:
    end = time.perf_counter() + WARM
    while time.perf_counter() < end:
        call()


def _repeats(call: Callable[[], Any]) -> int:
    call()
    return max(1, round(BLOCK / max(_time(call, 2), 1e-7)))


def _time(call: Callable[[], Any], repeat: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - begin) / repeat
