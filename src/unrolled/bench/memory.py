"""The memory that a training step takes beside torch.nn's, each in a new process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial

from .figure import Figure
from .first import python
from .pairs import CELL
from .work import Shape

SHAPE = Shape(32, 1000, 256, 256)

_STEP = """
import json, sys
import torch
import unrolled


def memory(what):
    lines = open("/proc/self/status").read().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(what))


library, name, *sizes = sys.argv[1:]
batch, time, features, hidden = map(int, sizes)
layer = getattr(torch.nn if library == "torch.nn" else unrolled, name)(features, hidden)
for _ in range(3):  # what the first steps of a process take, they take once
    layer(torch.randn(10, batch, features))[0].sum().backward()
x = torch.randn(time, batch, features)
before = memory("VmRSS")
output, _ = layer(x)
held = memory("VmRSS") - before
output.sum().backward()
print(json.dumps([held, memory("VmHWM") - before]))
"""


def _step(name: str, rounds: int) -> Iterator[Figure]:
    """What a forward pass keeps for its gradients, its output included, and the most that a step takes."""
    if sys.platform != "linux":  # which tells of it in /proc
        return
    sizes = [str(n) for n in (SHAPE.batch, SHAPE.time, SHAPE.input_size, SHAPE.hidden_size)]
    own, other = (python(_STEP, library, name, *sizes) for library in ("unrolled", "torch.nn"))
    for what, ours, theirs in zip(("held for the gradients", "at most in a step"), own, other, strict=True):
        words = f"{name}, {SHAPE}: memory {what} against torch.nn ({theirs / 1024:.0f} MB)"
        yield Figure(words, True, ours / theirs, "×", 1.0, at_most=True)


MEMORY: dict[str, Callable[[int], Iterator[Figure]]] = {
    f"memory {name}": partial(_step, name) for name in CELL
}
"""As `first.FIRST`."""
