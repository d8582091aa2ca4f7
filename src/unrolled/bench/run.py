"""A whole run, or a part of one: every layer at every shape, the features, the first calls."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch

from ..errors import Error
from ..version import __version__
from . import host
from .features import FEATURES
from .figure import Figure
from .first import FIRST
from .measure import Row, measure, medians
from .memory import MEMORY
from .peak import Copy, MultiplyAdds
from .quiet import cores
from .ways import WAYS_OF_CALLING
from .work import LAYERS, Shape


@dataclass(frozen=True)
class Result:
    """What was measured, and on what. machine and versions: names and numbers to print."""

    machine: dict[str, str]
    versions: dict[str, str]
    threads: int
    rounds: int
    peak: float
    """Floating-point operations a second in registers, on all threads."""
    bandwidth: float
    """Bytes a second that a copy reads and writes."""
    elsewhere: float | None
    """Cores that other processes used meanwhile, on average; None: unknown."""
    again: int
    """Turns that were had again, because the machine did not give all its cores before or after them."""
    anyway: int
    """Turns that counted all the same, patience being over."""
    rows: list[Row]
    figures: list[Figure]


@dataclass(frozen=True)
class Job:
    """One thing to measure; run is called with the number of turns."""

    name: str
    run: Callable[[int], Sequence[Row | Figure]]


def jobs(
    layers: str, shapes: Sequence[Shape], passes: Sequence[bool], with_features: bool, with_first: bool
) -> list[Job]:
    """All that is asked for, in the order of the report.

    layers: names separated by commas. passes: False for forward, True for forward and backward.
    Raises Error for a wrong name.
    """
    names = [name.strip() for name in layers.split(",")]
    if unknown := [name for name in names if name not in LAYERS]:
        raise Error(f"bench: layer {unknown[0]!r} is not one of {', '.join(LAYERS)}")
    found: list[Job] = []
    for backward in passes:
        suffix = " and backward" if backward else ""
        for name in names:
            for shape in shapes:
                found.append(Job(f"{name} {shape}{suffix}", partial(_row, name, shape, backward)))
        if with_features:
            for what, feature in {**FEATURES, **WAYS_OF_CALLING}.items():
                found.append(Job(what + suffix, lambda n, f=feature, b=backward: list(f(b, n))))
    once = dict(FIRST) if with_first else {}
    if with_features and True in passes:
        once |= MEMORY
    found += [Job(what, lambda n, f=figures: list(f(n))) for what, figures in once.items()]
    return found


def _row(name: str, shape: Shape, backward: bool, rounds: int) -> list[Row]:
    return [measure(name, shape, backward, rounds)]


def part(text: str, all_jobs: Sequence[Job]) -> list[Job]:
    """Part "k/n" of the jobs: each n-th, from the k-th on; raises Error for anything else."""
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise Error(f"bench: part {text!r}; wanted k/n with k from 1 to n, such as 2/6")
    return list(all_jobs[int(first) - 1 :: int(count)])


def run(
    wanted: Sequence[Job],
    rounds: int,
    threads: int,
    say: Callable[[str], None],
    keep: Callable[[Result], None],
) -> Result:
    """Measures each job. threads: for every peer; 0 as torch is set. say is told what is under way, and
    keep is given the result so far after every job.

    Raises Error if the peers disagree on the numbers.
    """
    with _threads(threads):
        count = torch.get_num_threads()
        limit, copy, others = MultiplyAdds(count), Copy(), host.Elsewhere()
        together, copied = medians([limit, copy], 10)
        result = Result(
            machine=host.describe(),
            versions={"unrolled": __version__, **_versions()},
            threads=count,
            rounds=rounds,
            peak=limit.operations / together,
            bandwidth=copy.traffic / copied,
            elsewhere=None,
            again=0,
            anyway=0,
            rows=[],
            figures=[],
        )
        for number, job in enumerate(wanted, 1):
            say(f"{number}/{len(wanted)} {job.name}")
            for found in job.run(rounds):
                if isinstance(found, Row):
                    result.rows.append(found)
                else:
                    result.figures.append(found)
            quiet = cores(count)
            result = replace(result, elsewhere=others.cores(), again=quiet.again, anyway=quiet.anyway)
            keep(result)
    return result


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch's threads, and JAX's, which reads NPROC when it is first used."""
    before, variable = torch.get_num_threads(), os.environ.get("NPROC")
    if count:
        torch.set_num_threads(count)
        os.environ["NPROC"] = str(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if variable is not None:
            os.environ["NPROC"] = variable
        elif count:
            del os.environ["NPROC"]


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("torch", "onnxruntime", "jax"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
