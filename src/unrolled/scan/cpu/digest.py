"""Whether memory still holds what it held: a digest of floats at the speed of reading them.

A tensor's version does not count what is written through `.data`, a NumPy view or another process, so
only the content itself can tell whether weights laid out earlier are still the parameters' own.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .cache import library
from .emit import I64, PTR, Function, Module, Value
from .machine import Machine, machine
from .pool import Jobs, Pool, Work

_SEGMENT = 1 << 15
"""Floats of a segment, the share of a worker."""
_CHAINS = 8
_HEAD = 4
"""Words before the segments: their number, the workers, whether to write digests, whether one differed."""


def _emit(host: Machine) -> str:
    """The kernel digest(block, rank): the worker's segments compared with their digests, or these written.

    A segment's words are its address, its floats and the address of its digest, a vector. In every lane
    each step a' = mix((a xor float) odd) is a bijection of the float, so one changed float always shows.
    """
    module = Module(host.width)
    f = module.function("digest", [(PTR, "block"), (I64, "rank")], public=True)
    block, rank = f.arguments
    segments, workers, write = (f.load(I64, f.at(block, 8 * i), 8) for i in range(3))
    at = f.variable(rank)
    with f.whilst() as after:
        segment = f.get(I64, at)
        f.leave_unless(f.compare("slt", segment, segments), after)
        words = f.at(block, segment * 24 + 8 * _HEAD)
        start, count = f.load(PTR, words, 8), f.load(I64, f.at(words, 8), 8)
        place = f.load(PTR, f.at(words, 16), 8)
        made = _segment(f, start, count)
        with f.when(f.compare("ne", write, 0)):
            f.store(made, place)
        with f.when(f.compare("eq", write, 0)):
            bits = f"i{32 * f.width}"
            now = f.op(bits, f"bitcast {made.type} {made.name} to {bits}")
            with f.when(f.compare("ne", now, f.load(bits, place))):
                f.store(f.int(1), f.at(block, 24), 8)
        f.set(at, segment + workers)
    f.finish()
    return str(module)


def _segment(f: Function, start: Value, count: Value) -> Value:
    """Several chains side by side, so that one's latency hides behind the others, then all in one."""
    type = f"<{f.width} x i32>"
    chains = [f.variable(f.integers(0x9E3779B9 - (1 << 32) + i)) for i in range(_CHAINS)]

    def take(chain: Value, word: Value) -> None:
        if word.type != type:
            word = f.op(type, f"bitcast {word.type} {word.name} to {type}")
        mixed = f.op(type, f"xor {type} {f.get(type, chain).name}, {word.name}")
        mixed = f.op(type, f"mul {type} {mixed.name}, {f.integers(0x2C1B3C6D).name}")
        shifted = f.op(type, f"lshr {type} {mixed.name}, {f.integers(15).name}")
        f.set(chain, f.op(type, f"xor {type} {mixed.name}, {shifted.name}"))

    block = f.width * _CHAINS
    whole = count // block
    with f.loop(0, whole) as i:
        for index, chain in enumerate(chains):
            take(chain, f.load(f.vector, f.at(start, i * (4 * block) + index * f.bytes)))
    rest, begin = count - whole * block, f.at(start, whole * (4 * block))
    with f.loop(0, rest // f.width) as i:
        take(chains[0], f.load(f.vector, f.at(begin, i * f.bytes)))
    tail = rest // f.width * f.width
    with f.when(f.compare("sgt", rest, tail)):
        take(chains[0], f.load_some(f.at(begin, tail * 4), rest - tail))
    for chain in chains[1:]:
        take(chains[0], f.get(type, chain))
    return f.get(type, chains[0])


@cache
def _code(host: Machine) -> tuple[int, Any]:
    address = library(lambda: _emit(host), "digest", ("digest",), host)["digest"]
    return address, ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)


class Digest:
    """What some dense float32 tensors hold at this moment.

    workers: how many share the comparing at most. host: whose vectors compare; by default all of it."""

    def __init__(self, tensors: Sequence[Tensor], workers: int = 1, host: Machine | None = None) -> None:
        host = host or machine()
        self._begins = [range(0, t.numel(), _SEGMENT) for t in tensors]
        sizes = [
            min(_SEGMENT, t.numel() - at)
            for t, own in zip(tensors, self._begins, strict=True)
            for at in own
        ]
        pieces = list(zip(self._addresses(tensors), sizes, strict=True))
        bytes_ = 4 * host.width
        self._digests = torch.empty(len(pieces) * host.width, dtype=torch.int32)
        at = self._digests.data_ptr()
        words = [(*piece, at + index * bytes_) for index, piece in enumerate(pieces)]
        head = [len(pieces), 1, 1, 0]
        self._block = np.array(head + [w for segment in words for w in segment], dtype=np.int64)
        self._address = self._block.ctypes.data
        self.differs: Callable[[], int] = partial(operator.getitem, self._block.data, 3)
        """Whether a comparison has found other bits."""
        self._kernel, self._call = _code(host)
        # More workers than segments would only meet.
        self._workers, self._shares = workers, min(workers, len(pieces))
        self._note()
        self._work: Work | None = None

    def _addresses(self, tensors: Sequence[Tensor]) -> list[int]:
        """Where each segment begins."""
        pairs = zip(tensors, self._begins, strict=True)
        return [start + 4 * at for t, own in pairs for start in (t.data_ptr(),) for at in own]

    def _note(self) -> None:
        """Notes what the segments hold."""
        self._block[1:4] = 1, 1, 0
        self._call(self._address, 0)
        self._block[1:3] = self._shares, 0

    def renew(self, tensors: Sequence[Tensor]) -> None:
        """It is of these now, which are of the same sizes; nobody else may be in it."""
        self._block[_HEAD::3] = self._addresses(tensors)
        self._note()

    @property
    def jobs(self) -> tuple[int, Jobs]:
        """The comparison as work for the workers; afterwards `differs` says how it went."""
        ranks = [range(rank, rank + 1) if rank < self._shares else () for rank in range(self._workers)]
        return self._kernel, [[(self._address, rank) for rank in own] for own in ranks]

    def holds(self, pool: Pool | None = None, count: int = 1) -> bool:
        """Whether the memory, which must still be there, holds the same bits as then.

        pool: whose `count` workers the caller has."""
        if pool is not None and count == self._workers and self._shares > 1:
            self._work = self._work or Work([[self.jobs]])
            pool.run(self._work)
        else:
            for rank in range(self._shares):
                self._call(self._address, rank)
        return not self.differs()
