"""Where in a reference text the hidden state was most like it is here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.base import Model
from ..text.units import Unit, make_unit
from .reading import windows
from .record import Recording, symbols_of

AROUND = 32
"""Symbols of a passage on each side."""


@dataclass(frozen=True)
class Passage:
    """A place in the reference text: symbol number `position` with what stands around it.

    distance: Euclidean, between the two hidden states (of the last layer).
    """

    position: int
    distance: float
    before: str
    at: str
    after: str


def nearest_passages(
    model: Model, recording: Recording, reference: str, count: int = 5
) -> list[list[Passage]]:
    """For each symbol of the recording the `count` places of the reference with the nearest states.

    Of places within a passage's reach of one another only the nearest counts. Memory: that of one window.
    """
    here = recording.hidden
    best = torch.full((len(here), 0), torch.inf)
    places = torch.zeros((len(here), 0), dtype=torch.int64)
    for begin, outputs in windows(model, reference):
        distances, found = _blocks(torch.cdist(here, outputs[-1]), begin)
        best, places = torch.cat([best, distances], 1), torch.cat([places, found], 1)
        best, order = best.topk(min(4 * count, best.shape[1]), largest=False)
        places = places.gather(1, order)
    pairs = zip(best.tolist(), places.tolist(), strict=True)
    symbols, unit = symbols_of(model, reference), make_unit(model.vocabulary.unit)
    return [_passages(symbols, unit, row, where, count) for row, where in pairs]


def _blocks(distances: Tensor, begin: int) -> tuple[Tensor, Tensor]:
    """The nearest place of each block as long as a passage's side, and where it is."""
    short = -distances.shape[1] % AROUND
    blocks = torch.nn.functional.pad(distances, (0, short), value=torch.inf).unflatten(1, (-1, AROUND))
    nearest, at = blocks.min(-1)
    return nearest, at + torch.arange(0, blocks.shape[1] * AROUND, AROUND) + begin


def _passages(
    symbols: Sequence[str], unit: Unit, distances: list[float], places: list[int], count: int
) -> list[Passage]:
    chosen: list[Passage] = []

    def text(begin: int, end: int) -> str:
        return "".join(unit.stream(symbols[max(0, begin) : end]))

    for distance, place in zip(distances, places, strict=True):
        if len(chosen) == count:
            break
        if any(abs(place - other.position) < AROUND for other in chosen):
            continue
        before, after = text(place - AROUND, place), text(place + 1, place + 1 + AROUND)
        chosen.append(Passage(place, distance, before, symbols[place], after))
    return chosen
