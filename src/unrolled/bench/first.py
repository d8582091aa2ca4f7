"""What comes before the arithmetic: the import, a cell's first call, and a call's own overhead."""

from __future__ import annotations

import atexit
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial

import torch

from .. import layers
from ..cells import CELLS
from ..errors import Error
from .figure import Figure
from .measure import medians

IMPORTS = 5
"""Processes whose median is the time of the import."""

SMALLEST = (1, 1, 4)
"""Time, batch and features of a call that is all overhead: a few hundred multiply-adds, nanoseconds."""

_IMPORT = """
import json, time
import torch
begin = time.perf_counter()
import unrolled
print(json.dumps([time.perf_counter() - begin]))
"""

_CALLS = """
import json, sys, time
import torch
import unrolled
from unrolled.cells import CELLS

layer, x = unrolled.Recurrent(CELLS[sys.argv[1]], 16, 16), torch.randn(7, 3, 16)
begin = time.perf_counter()
with torch.inference_mode():
    layer(x)
middle = time.perf_counter()
layer(x)[0].sum().backward()
print(json.dumps([middle - begin, time.perf_counter() - middle]))
"""


def _import(rounds: int) -> Iterator[Figure]:
    """The import after torch's own, in new processes."""
    environment = _installed()
    seconds = statistics.median(python(_IMPORT, env=environment)[0] for _ in range(IMPORTS))
    yield Figure(
        "import unrolled, beyond torch's own import", False, 1e3 * seconds, "ms", 150, at_most=True
    )


def _first(cell: str, rounds: int) -> Iterator[Figure]:
    """The first call in a new process: with nothing on the disk, then with what that process left there.

    Without gradients first; a step with gradients comes after it, and needs kernels of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = _installed() | {"UNROLLED_CACHE": folder}
        for state, target in (("nothing on disk", 4000), ("from the disk", 200)):
            for backward, seconds in zip((False, True), python(_CALLS, cell, env=environment), strict=True):
                yield Figure(
                    f"{cell}, first call, {state}", backward, 1e3 * seconds, "ms", target, at_most=True
                )


def _overhead(name: str, rounds: int) -> Iterator[Figure]:
    """A call that has hardly any arithmetic, one after another in inference, beside torch.nn's."""
    time, batch, size = SMALLEST
    x = torch.randn(time, batch, size)
    calls = [partial(getattr(library, name)(size, size), x) for library in (layers, torch.nn)]
    with torch.inference_mode():
        own, other = medians(calls, rounds)
    what = f"{name}, overhead of a call in inference (torch.nn: {1e6 * other:.0f} µs)"
    yield Figure(what, False, 1e6 * own, "µs", 15, at_most=True)


FIRST: dict[str, Callable[[int], Iterator[Figure]]] = {
    "import": _import,
    **{f"overhead {name}": partial(_overhead, name) for name in ("RNN", "GRU", "LSTM")},
    **{f"first {cell}": partial(_first, cell) for cell in CELLS},
}
"""By name, what gives the figures: called with the number of turns."""


@cache
def _installed() -> dict[str, str]:
    """The environment of a process that finds modules as an installer leaves them, compiled to bytecode.

    Where this process may write none (PYTHONDONTWRITEBYTECODE), every other one would compile them anew.
    """
    folder = tempfile.TemporaryDirectory(prefix="unrolled-bench-")
    atexit.register(folder.cleanup)
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", None):
        environment["PYTHONPYCACHEPREFIX"] = folder.name
    python(_CALLS, "rnn_tanh", env=environment | {"UNROLLED_CACHE": folder.name})
    return environment


def python(program: str, *arguments: str, env: Mapping[str, str] | None = None) -> list[float]:
    """What a program in a new interpreter prints as JSON; raises Error with its last words if it fails."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", env=env)  # noqa: S603
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise Error(f"bench: a new process failed: {words[-1] if words else f'status {done.returncode}'}")
    return json.loads(done.stdout)
