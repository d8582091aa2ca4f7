"""A few threads that run kernels beside the caller's own: torch's team, or workers of this pool.

A worker that has finished waits for a while inside a kernel, without the interpreter's lock, so that
the next job reaches it in a fraction of a microsecond; then it sleeps. One caller has the pool at a
time; another that calls meanwhile runs alone on its own thread. A child after a fork starts anew.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch

from . import team
from .cache import library
from .emit import I64, PTR, Function, Module, Value
from .machine import machine
from .sync import LINE, barrier, patience, pause, wait

_SPINS = 3000
"""How often a worker looks for work before it sleeps: some tens of microseconds."""
MOST = 64
"""Workers where torch has no team, whoever calls among them."""
_EAGER = 8
"""Calls in quick succession that sleeping workers could have shared, after which they are woken: that takes
from some tens of microseconds to milliseconds, which one short call does not repay."""
_IDLE, _POSTED, _ASLEEP = 0, 1, 2
_WORDS = 32


def _emit() -> str:
    """serve(slot): the worker's loop. lead(slots, first, count, own): posts from the worker `first` on,
    runs its own jobs, waits; or returns which is the first that sleeps. member(data): one thread's part in
    a team. jobs(slot): what a slot asks for. meet(place, rank): a barrier of so many workers as the
    place says.

    A slot, 32 words: 0 its state; 8 the jobs' number; 9 where they are, (function, block, rank) each."""
    module = Module(machine().width)
    jobs = module.function("jobs", [(PTR, "slot")], public=True)
    slot = jobs.arguments[0]
    todo = jobs.load(PTR, jobs.at(slot, 72), 8)
    with jobs.loop(0, jobs.load(I64, jobs.at(slot, 64), 8)) as i:
        job = jobs.at(todo, i * 24)
        function, block = jobs.load(PTR, job, 8), jobs.load(PTR, jobs.at(job, 8), 8)
        rank = jobs.load(I64, jobs.at(job, 16), 8)
        jobs.call_at(function, [block, rank])
    jobs.finish()
    barrier(module, "barrier")
    meet = module.function("meet", [(PTR, "place"), (I64, "rank")], public=True)
    place, rank = meet.arguments
    meet.call("void", "barrier", [meet.at(place, LINE), meet.load(I64, place, 8), rank])
    meet.finish()
    _emit_serve(module)
    _emit_lead(module)
    team.emit(module, "jobs", 8 * _WORDS)
    return str(module)


def _state(f: Function, slot: Value) -> Value:
    return f.op(I64, f"load atomic i64, ptr {slot.name} acquire, align 8")


def _exchange(f: Function, slot: Value, old: int, new: int) -> Value:
    pair = f.op("{ i64, i1 }", f"cmpxchg ptr {slot.name}, i64 {old}, i64 {new} acq_rel acquire")
    return f.op("i1", f"extractvalue {{ i64, i1 }} {pair.name}, 1")


def _emit_serve(module: Module) -> None:
    f = module.function("serve", [(PTR, "slot")], public=True)
    slot = f.arguments[0]
    left = f.variable(f.int(_SPINS))
    with f.whilst() as after:
        with f.when(f.compare("eq", _state(f, slot), _POSTED)):
            f.call("void", "jobs", [slot])
            f.do(f"store atomic i64 {_IDLE}, ptr {slot.name} release, align 8")
            f.set(left, f.int(_SPINS))
        f.set(left, f.get(I64, left) - 1)
        slept = f.variable(f.int(0, "i1"))
        f.set(slept, f.int(0, "i1"))
        with f.when(f.compare("sle", f.get(I64, left), 0)):
            f.set(slept, _exchange(f, slot, _IDLE, _ASLEEP))
        f.leave_unless(f.compare("eq", f.get("i1", slept), 0), after)
        pause(f)
    f.finish()


def _emit_lead(module: Module) -> None:
    f = module.function("lead", [(PTR, "slots"), (I64, "first"), (I64, "count"), (PTR, "own")], I64, True)
    slots, first, count, own = f.arguments
    with f.loop(first, count) as i:
        asleep = f.compare("eq", _exchange(f, f.at(slots, i * 8 * _WORDS), _IDLE, _POSTED), 0)
        with f.when(asleep):
            f.do(f"ret i64 {i.name}")
            f.block(f.label("unreachable"))
    f.call("void", "jobs", [own])
    with f.loop(0, count) as i:
        slot, left = f.at(slots, i * 8 * _WORDS), patience(f)
        with f.whilst() as after:
            f.leave_unless(f.compare("eq", _state(f, slot), _POSTED), after)
            wait(f, left)
    f.do("ret i64 -1")


class _Code(NamedTuple):
    serve: Any
    lead: Any
    jobs: Any
    member: int
    meet: int


@cache
def _code() -> _Code:
    made = library(_emit, "pool", ("serve", "lead", "jobs", "member", "meet"), machine())
    serve, jobs = (ctypes.CFUNCTYPE(None, ctypes.c_void_p)(made[name]) for name in ("serve", "jobs"))
    lead = ctypes.CFUNCTYPE(
        ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
    )(made["lead"])
    return _Code(serve, lead, jobs, made["member"], made["meet"])


class Pool:
    """The threads; worker 0 is whoever calls."""

    def __init__(self) -> None:
        self._owner: dict[str, int] = {}
        self._slots = _aligned(MOST, _WORDS)
        self.team = team.Team()
        self._wakes: list[threading.Semaphore] = []
        self._missed, self._last = 0, 0.0

    def size(self) -> int:
        """How many workers there are."""
        threads = torch.get_num_threads()
        return threads if threads <= MOST or self.team.there else MOST

    def claim(self, wanted: int, owner: int) -> int:
        """How many workers the owner, a number of its own, may use, all or 1; more than 1: until `free`."""
        # In one piece, so that it is known who has them, whatever interrupts this.
        return wanted if self._owner.setdefault("owner", owner) == owner else 1

    def free(self, owner: int) -> None:
        """Lets others have the workers, if this one has them."""
        if self._owner.get("owner") == owner:
            self._owner.clear()

    def awake(self, wanted: int) -> bool:
        """Whether so many workers would start at once."""
        if self.team.there:
            return self.team.warm
        count = wanted - 1
        return len(self._wakes) >= count and bool((self._slots[1 : 1 + count, 0] != _ASLEEP).all())

    def lively(self, wanted: int) -> bool:
        """Whether a short call may have so many workers: they would start at once, or calls follow each
        other so fast that waking them pays."""
        if self.awake(wanted):
            return True
        now = time.monotonic()
        self._missed = self._missed + 1 if now - self._last < team.WARM else 1
        self._last = now
        return self._missed >= _EAGER

    def _start(self) -> None:
        serve, wake = _code().serve, threading.Semaphore(0)
        index = len(self._wakes) + 1
        slot = self._slots[index]
        address = slot.ctypes.data
        slot[0] = _ASLEEP

        def work() -> None:
            while True:
                wake.acquire()
                serve(address)

        self._wakes.append(wake)
        threading.Thread(target=work, name=f"unrolled-{index}", daemon=True).start()

    def run(self, work: Work) -> None:
        """Does the work and returns when all of it is done.

        For more than one worker the caller has claimed as many.
        """
        if work.count == 1:
            work.alone()
            return
        if self.team.run(work.order):
            return
        code, count = _code(), work.count - 1
        while len(self._wakes) < count:
            self._start()
        self._slots[1 : work.count, 1:] = work.slots[1:, 1:]
        first, base = 0, self._slots.ctypes.data + 8 * _WORDS
        while True:
            asleep = code.lead(base, first, count, work.slots.ctypes.data)
            if asleep < 0:
                return
            self._slots[asleep + 1, 0] = _POSTED
            self._wakes[asleep].release()
            first = asleep + 1


Jobs = Sequence[Sequence[tuple[int, int]]]
"""(block, rank) of every job, by worker."""


class Work:
    """Phases, each some functions with their jobs, function(block, rank): jobs[w] are worker w's, who
    begins a phase when all have ended the one before."""

    def __init__(self, phases: Sequence[Sequence[tuple[int, Jobs]]]) -> None:
        code = _code()
        self.count = len(phases[0][0][1])
        self._place = _aligned(1 + self.count, LINE // 8)
        self._place[0, 0] = self.count
        lists: list[list[int]] = [[] for _ in range(self.count)]
        for index, phase in enumerate(phases):
            for worker, own in enumerate(lists):
                if index and self.count > 1:
                    own.extend((code.meet, self._place.ctypes.data, worker))
                for function, jobs in phase:
                    for block, rank in jobs[worker]:
                        own.extend((function, block, rank))
        self.slots, self._lists = _aligned(self.count, _WORDS), []
        for slot, words in zip(self.slots, lists, strict=True):
            self._lists.append(np.array(words, dtype=np.int64))
            slot[8:10] = len(words) // 3, self._lists[-1].ctypes.data
        self.alone: Callable[[], None] = partial(code.jobs, self.slots.ctypes.data)
        """Does all of it by the caller, whose only worker it is for."""
        self.order = team.Order(code.member, self.slots, self.count)


def _aligned(count: int, each: int) -> np.ndarray:
    """Rows of so many words, zero, each on cache lines of its own."""
    words = np.zeros(count * each + 8, dtype=np.int64)
    skip = (-words.ctypes.data % 64) // 8
    return words[skip : skip + count * each].reshape(count, each)


current = Pool()
"""The one of this process."""


def _anew() -> None:
    global current  # noqa: PLW0603 - the threads of the parent are not in the child
    current = Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_anew)
