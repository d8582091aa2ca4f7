"""What the rows of a run come to, beside what is wanted of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, log
from statistics import fmean

from .figure import Figure
from .measure import Row
from .work import Shape

SMALL = Shape(1, 100, 64, 64)

MEANS = {"rnn": (4, 4), "gru": (4, 4), "lstm": (1.8, 1.5)}
"""Against torch.nn: the geometric mean wanted, forward and with backward; below it, the worst and SMALL."""

WORST = {"rnn": 1.1, "gru": 1.1, "lstm": 1.0}

SMALLS = {"rnn": (8, 15), "gru": (12, 15), "lstm": (3, 3)}

ALL = 1.7
"""The geometric mean wanted against the fastest peer at each shape, and none below 1."""

PEAK = (70, 60)
"""Percent of the peak, at the shapes that are large enough for it."""


def targets(rows: Sequence[Row]) -> Iterator[Figure]:
    """The ratios and the fraction of the peak for each pass, as far as the rows go."""
    for backward in (False, True):
        some = [row for row in rows if row.backward == backward]
        for layer in MEANS:
            yield from _against_torch(layer, [row for row in some if row.layer == layer], backward)
        if some and len(some[0].seconds) > 2:
            ratios, limits = [row.fastest for row in some], [row.limit() for row in some]
            yield from _ratios("all, fastest peer", backward, ratios, limits, ALL, 1.0)
        large = [r for r in some if r.shape.batch >= 32 and r.shape.hidden_size >= 128]
        if large:
            worst = min(large, key=lambda row: row.fraction)
            what = f"of the FMA peak, batch ≥ 32, hidden ≥ 128: worst ({worst.layer} {worst.shape})"
            yield Figure(what, backward, 100 * worst.fraction, "%", PEAK[backward], limit=100)


def _against_torch(layer: str, rows: Sequence[Row], backward: bool) -> Iterator[Figure]:
    if rows:
        head, ratios = f"{layer}, torch.nn", [row.ratio("torch.nn") for row in rows]
        limits = [row.limit("torch.nn") for row in rows]
        yield from _ratios(head, backward, ratios, limits, MEANS[layer][backward], WORST[layer])
        for row, ratio, limit in zip(rows, ratios, limits, strict=True):
            if row.shape == SMALL:
                wanted = SMALLS[layer][backward]
                yield Figure(f"{head}: {SMALL}", backward, ratio, "×", wanted, limit=limit)


def _ratios(
    head: str,
    backward: bool,
    ratios: Sequence[float],
    limits: Sequence[float],
    least_mean: float,
    least: float,
) -> Iterator[Figure]:
    yield Figure(f"{head}: geometric mean", backward, mean(ratios), "×", least_mean, limit=mean(limits))
    yield Figure(f"{head}: worst shape", backward, min(ratios), "×", least, limit=min(limits))


def mean(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return exp(fmean(log(ratio) for ratio in ratios))
