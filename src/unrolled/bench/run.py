"""A whole run: the peak, every layer at every shape, the features."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..errors import Error
from . import peak
from .features import Feature, features
from .measure import Row, measure
from .work import GRID, LAYERS, Shape


@dataclass(frozen=True)
class Result:
    """Everything that one run measured; peak in operations a second, bandwidth in bytes a second."""

    rows: list[Row]
    features: list[Feature]
    peak: float
    bandwidth: float
    threads: int
    versions: dict[str, str]


def run(
    *,
    layers: str,
    shapes: str,
    passes: Sequence[bool],
    with_features: bool,
    rounds: int,
    threads: int,
    say: Callable[[str], None],
) -> Result:
    """Measures the named layers (separated by commas) at the shapes ("" for the grid) in each pass.

    passes: False for forward, True for forward and backward. threads: for every peer; 0 as torch is set.
    say is told what is under way. Raises Error for a wrong name or shape, and if the peers disagree.
    """
    names = [name.strip() for name in layers.split(",")]
    if unknown := [name for name in names if name not in LAYERS]:
        raise Error(f"bench: layer {unknown[0]!r} is not one of {', '.join(LAYERS)}")
    wanted = [Shape.parse(text) for text in shapes.split(",")] if shapes else list(GRID)
    with _threads(threads):
        say("measuring the machine's peak")
        flops, bandwidth = peak.multiply_adds(), peak.memory_traffic()
        rows, found = [], []
        for backward in passes:
            for name in names:
                for shape in wanted:
                    say(f"{name} {shape}" + (" and backward" if backward else ""))
                    rows.append(measure(name, shape, backward, rounds))
            if with_features:
                for feature in features(backward, rounds, bandwidth):
                    say(f"{feature.what}: {feature.value:.3g} {feature.unit}")
                    found.append(feature)
        return Result(rows, found, flops, bandwidth, torch.get_num_threads(), _versions())


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("torch", "onnxruntime", "jax"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
