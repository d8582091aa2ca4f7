"""Which hidden unit tracks what, each score against the same track shifted along the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import Error
from ..seeds import generator
from .tracks import Track

Windows = Iterator[tuple[int, list[Tensor]]]
"""Where each window begins, and (time, units) of every layer in it: what `reading.windows` yields."""


@dataclass(frozen=True)
class Example:
    """A passage, the unit's value after each of its symbols, and the track's."""

    position: int
    symbols: tuple[str, ...]
    values: tuple[float, ...]
    track: tuple[float, ...]


@dataclass(frozen=True)
class Unit:
    """A unit and how it goes with a track.

    score: Pearson's correlation of the unit's values with the track, from -1 to 1.
    auc: of a binary track, the probability that the unit is higher at a random symbol where the track
        is 1 than at one where it is 0 (ties count half); else None.
    beats_control: whether |score| is above the highest of the control.
    """

    layer: int
    unit: int
    score: float
    auc: float | None
    beats_control: bool
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Ranking:
    """The best units for a track.

    mean: the track's own. control: the lowest and the highest, over the draws, of the largest |score| that
    any unit has with the track shifted in a circle: what the best of so many units reaches by chance.
    """

    track: str
    binary: bool
    mean: float
    control: tuple[float, float]
    units: tuple[Unit, ...]


def rank_units(
    read: Callable[[], Windows],
    symbols: Sequence[str],
    tracks: Sequence[Track],
    *,
    best: int = 3,
    draws: int = 20,
    examples: int = 2,
    seed: int = 0,
) -> list[Ranking]:
    """The units that go best with each track, the track with the clearest unit first.

    read: called twice; each time it yields all windows of the text in order. Only one is held in memory.
    draws: how often each track is shifted; a unit without relation to it beats the highest of the draws
        once in draws + 1 times.

    A track that never changes in the text is left out. Raises Error if the text is too short to shift.
    """
    length = len(symbols)
    if length < 2 * draws:
        raise Error(f"units: the text has {length} symbols; wanted at least {2 * draws} to shift a track")
    if best < 1 or draws < 1 or examples < 0:
        raise Error(f"units: best={best}, draws={draws}, examples={examples}; wanted 1, 1 and 0 or more")
    tracks = [track for track in tracks if float(track.values.min()) != float(track.values.max())]
    if not tracks:
        return []
    shifts = torch.cat([torch.zeros(1, dtype=torch.int64), _shifts(length, draws, seed)])
    scores, sizes = _correlations(read(), torch.stack([t.values for t in tracks], 1), shifts)
    # (tracks, draws): chance is what the best of all units reaches.
    control = scores[1:].abs().amax(-1).T
    chosen = scores[0].abs().topk(min(best, scores.shape[-1])).indices
    columns = chosen.unique()
    kept = _columns(read(), columns)
    rankings = []
    for k, track in enumerate(tracks):
        low, high = float(control[k].min()), float(control[k].max())
        units = []
        for index in chosen[k].tolist():
            values = kept[:, int((columns == index).nonzero())]
            score = float(scores[0, k, index])
            auc = area_under_curve(values, track.values > 0) if track.binary else None
            passages = tuple(_examples(symbols, track.values, values, examples))
            layer, unit = _place(index, sizes)
            units.append(Unit(layer, unit, score, auc, abs(score) > high, passages))
        mean = float(track.values.mean())
        rankings.append(Ranking(track.name, track.binary, mean, (low, high), tuple(units)))
    return sorted(rankings, key=lambda r: r.control[1] - abs(r.units[0].score))


def area_under_curve(values: Tensor, inside: Tensor) -> float:
    """P(value inside > value outside) + P(equal) / 2, the Mann-Whitney U by its share of all pairs."""
    _, level, counts = values.unique(return_inverse=True, return_counts=True)
    middle = counts.cumsum(0).double() - (counts.double() - 1) / 2  # the mean rank of each level, from 1
    many = int(inside.sum())
    few = len(values) - many
    above = float(middle[level][inside].sum()) - many * (many + 1) / 2
    return above / (many * few)


def _shifts(length: int, draws: int, seed: int) -> Tensor:
    """How far the track is moved: never by less than a twentieth of the text, either way round."""
    least = max(1, length // 20)
    random = generator("units", seed)
    return torch.randint(least, length - least + 1, (draws,), generator=random)


def _correlations(windows: Windows, tracks: Tensor, shifts: Tensor) -> tuple[Tensor, list[int]]:
    """(shifts, tracks, units): Pearson's, from sums over the windows; and how many units each layer has.

    tracks: (time, tracks), taken at (t + shift) modulo the length. The track's mean is taken off first,
    which a shift does not change, and from each unit its mean in the first window: sums of squares of
    what is far from zero would cancel.
    """
    length = len(tracks)
    centred = (tracks - tracks.mean(0)).double()
    sizes, about = [], None
    products = squares = sums = torch.zeros(())
    for begin, layers in windows:
        values = torch.cat(layers, -1).double()
        if about is None:
            sizes, about = [layer.shape[1] for layer in layers], values.mean(0)
        if not values.isfinite().all():
            raise Error("units: the model's states are not all finite numbers; it has diverged")
        values = values - about
        at = (torch.arange(begin, begin + len(values)) + shifts[:, None]) % length
        shifted = centred[at].transpose(0, 1).flatten(1)  # (window, shifts * tracks)
        products = products + shifted.T @ values
        squares, sums = squares + values.square().sum(0), sums + values.sum(0)
    spread = (squares - sums.square() / length).clamp(min=0).sqrt()
    scale = centred.square().sum(0).sqrt().repeat(len(shifts))[:, None] * spread
    # A unit that does not move goes with nothing.
    steady = spread < 1e-9 * max(1.0, length**0.5)
    scores = torch.where(steady, 0.0, products / scale.clamp(min=1e-300))
    return scores.unflatten(0, (len(shifts), -1)), sizes


def _columns(windows: Windows, columns: Tensor) -> Tensor:
    """(time, columns): the values of some units along the whole text."""
    return torch.cat([torch.cat(layers, -1)[:, columns] for _, layers in windows])


def _place(index: int, sizes: Sequence[int]) -> tuple[int, int]:
    for layer, size in enumerate(sizes):
        if index < size:
            return layer, index
        index -= size
    raise IndexError(index)


def _examples(
    symbols: Sequence[str], track: Tensor, values: Tensor, count: int, width: int = 60
) -> Iterator[Example]:
    """The passages in which the track varies most: chosen by the track, so that a unit cannot shine by
    the choice."""
    whole = len(symbols) // width * width
    if not whole:
        begins = [0]
    else:
        spread = track[:whole].unflatten(0, (-1, width)).var(1, correction=0)
        begins = (spread.topk(min(count, len(spread))).indices * width).tolist()
    for begin in begins[:count]:
        span = slice(begin, begin + width)
        yield Example(
            begin, tuple(symbols[span]), tuple(values[span].tolist()), tuple(track[span].tolist())
        )
