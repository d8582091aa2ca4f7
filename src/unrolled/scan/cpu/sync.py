"""How workers share a kernel: shares of panels, a barrier, and the loop in which a worker waits."""

from __future__ import annotations

import os
import platform

from .emit import I64, PTR, Function, Module, Value
from .fields import Block


def share(f: Function, b: Block, rank: Value, name: str) -> tuple[Value, Value]:
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


def barrier(module: Module, name: str, public: bool = False) -> None:
    """barrier(place, workers): nobody goes on before all `workers` have come.

    place: a count of those who came (i64), then, on its own cache line, the number of meetings held.
    """
    f = module.function(name, [(PTR, "place"), (I64, "workers")], public=public)
    place, workers = f.arguments
    with f.when(f.compare("sgt", workers, 1)):
        meeting = f.at(place, 64)
        before = f.op(I64, f"load atomic i64, ptr {meeting.name} acquire, align 8")
        came = f.op(I64, f"atomicrmw add ptr {place.name}, i64 1 acq_rel")
        last = f.compare("eq", came + 1, workers)
        with f.when(last):
            f.do(f"store atomic i64 0, ptr {place.name} release, align 8")
            following = before + 1
            f.do(f"store atomic i64 {following.name}, ptr {meeting.name} release, align 8")
        left = patience(f)
        with f.whilst() as after:
            now = f.op(I64, f"load atomic i64, ptr {meeting.name} acquire, align 8")
            f.leave_unless(f.compare("eq", now, before), after)
            wait(f, left)
    f.finish()
