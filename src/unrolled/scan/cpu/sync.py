"""How workers share a kernel: shares of panels, a barrier, and the loop in which a worker waits."""

from __future__ import annotations

import os
import platform

from .emit import I64, PTR, Function, Module, Value
from .fields import Block


def share(b: Block, rank: Value, name: str) -> tuple[Value, Value]:
    """The part of the panels (first, end) that belongs to the worker `rank`."""
    panels, workers = b[name], b["workers"]
    return panels * rank // workers, panels * (rank + 1) // workers


def pause(f: Function) -> None:
    """Tells the processor that this loop waits."""
    host = platform.machine().lower()
    if host in ("x86_64", "amd64"):
        f.call("void", "llvm.x86.sse2.pause", [])
    elif host in ("arm64", "aarch64"):
        f.call("void", "llvm.aarch64.hint", [f.int(1, "i32")])


_PATIENCE = 2000
"""How often a worker asks before it lets others have its core: some tens of microseconds."""


def patience(f: Function) -> Value:
    """A count of how often a worker has asked, for `wait`."""
    return f.variable(f.int(_PATIENCE))


def wait(f: Function, left: Value) -> None:
    """One turn of a loop that waits: a pause, or, when patience ends, the core for whoever wants it.

    Where other programs want the cores too, the worker waited for may be one that has none.
    """
    pause(f)
    f.set(left, f.get(I64, left) - 1)
    if not hasattr(os, "sched_yield"):
        return
    with f.when(f.compare("sle", f.get(I64, left), 0)):
        f.call("i32", "sched_yield", [])


LINE = 64
"""Bytes of a cache line, which each worker has of its own where workers meet."""


def barrier(module: Module, name: str) -> None:
    """barrier(place, workers, rank): nobody goes on before all `workers` have come.

    place: a line for each worker, on which that one alone writes how many meetings it has come to. So who
    waits hears of another by reading that one's line, and nobody waits for the right to write.
    """
    f = module.function(name, [(PTR, "place"), (I64, "workers"), (I64, "rank")])
    place, workers, rank = f.arguments
    with f.when(f.compare("sgt", workers, 1)):
        own = f.at(place, rank * LINE)
        meeting = f.load(I64, own, 8) + 1
        f.do(f"store atomic i64 {meeting.name}, ptr {own.name} release, align 8")
        left = patience(f)
        with f.loop(0, workers) as other, f.whilst() as after:
            line = f.at(place, other * LINE)
            came = f.op(I64, f"load atomic i64, ptr {line.name} acquire, align 8")
            # The other may have come to the next one by now.
            f.leave_unless(f.compare("slt", came, meeting), after)
            wait(f, left)
    f.finish()
