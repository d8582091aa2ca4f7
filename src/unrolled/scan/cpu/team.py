"""The threads that torch computes with, lent to the kernels.

Torch's own operations run on a team of OpenMP threads, which wait for the next one without sleeping. Other
threads of ours would have to share their cores with that waiting; the team itself is there already. A
child after a fork has no team, and torch may be built without one: then `pool` has threads of its own.
"""

from __future__ import annotations

import ctypes
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .emit import I64, PTR, Module

WARM = 1e-3
"""Seconds for which a team surely waits without sleeping."""

_forked = False


def _in_child() -> None:
    global _forked  # noqa: PLW0603 - the threads of the parent are not in the child
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@cache
def _runtime() -> tuple[Any, int, int] | None:
    """OpenMP as libtorch_cpu sees it: GOMP_parallel, and the addresses of two questions to it."""
    names = ("libtorch_cpu.so", "libtorch_cpu.dylib")
    found = [p for n in names if (p := Path(torch.__file__).parent / "lib" / n).exists()]
    if not found:
        return None
    library = ctypes.CDLL(str(found[0]))
    try:
        parallel, number, size = (
            library[n] for n in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
        )
    except AttributeError:
        return None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    first, second = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in (number, size))
    return parallel, first, second


def emit(module: Module, jobs: str, stride: int) -> None:
    """member(data): one thread's part of `Team.run`; its slot is `stride` bytes after the one before."""
    f = module.function("member", [(PTR, "data")], public=True)
    data = f.arguments[0]
    slots, number, size = (f.load(PTR, f.at(data, 8 * i), 8) for i in range(3))
    wanted = f.load(I64, f.at(data, 24), 8)
    came = f.op(I64, f"zext i32 {f.op('i32', f'call i32 {size.name}()').name} to i64")
    with f.when(f.compare("eq", came, wanted)):
        rank = f.op(I64, f"zext i32 {f.op('i32', f'call i32 {number.name}()').name} to i64")
        f.call("void", jobs, [f.at(slots, rank * stride)])
    with f.when(f.compare("ne", came, wanted)):
        f.store(f.int(1), f.at(data, 32), 8)
    f.finish()


class Order:
    """What `member` reads: `count` slots, the two questions, and whether there were too few threads."""

    def __init__(self, member: int, slots: np.ndarray, count: int) -> None:
        _, number, size = _runtime() or (None, 0, 0)
        words = np.array([slots.ctypes.data, number, size, count, 0], dtype=np.int64)
        self.given = member, words.ctypes.data, count, 0
        # A word of it is read in half the time in which it is as an array's number.
        self._words = words.data

    def done(self) -> bool:
        """Whether it was carried out."""
        if not self._words[4]:
            return True
        self._words[4] = 0
        return False


class Team:
    """Torch's threads, as seen by one pool."""

    def __init__(self) -> None:
        self.last = 0.0
        """When it last ran, as `time.perf_counter` counts."""

    @property
    def there(self) -> bool:
        """Whether this process has one."""
        return not _forked and _runtime() is not None

    @property
    def warm(self) -> bool:
        """Whether it ran so short a while ago that it does not sleep."""
        return time.perf_counter() - self.last < WARM

    def run(self, order: Order) -> bool:
        """Runs the slots, one a thread; False: the team was smaller, and nothing has run."""
        runtime = _runtime()
        if runtime is None or _forked:
            return False
        runtime[0](*order.given)
        self.last = time.perf_counter()
        return order.done()
