"""What the machine can do at most, measured beside the rest: multiply-adds and memory traffic a second."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from ..errors import Error
from ..scan.cpu.claim import LONG, alone, workers
from ..scan.cpu.machine import assemble, link, machine
from ..scan.cpu.pool import Work

STEPS = 1_000_000
"""Rounds of multiply-adds in a call: long enough that starting its threads does not count."""

READ = 64 << 20
"""Bytes that a call of `Reads` reads about on every core."""

_LINE = 256
"""Bytes that one turn of its loop reads."""

COPIED = 64 << 20
"""Bytes that a copy reads, and writes: far beyond the caches."""


class MultiplyAdds:
    """A call does fused multiply-adds in registers on several cores at once, and nothing else."""

    def __init__(self, threads: int, steps: int | None = None) -> None:
        steps, (address, chains) = steps or STEPS, _adding()
        self._work = Work([[(address, [[(steps, rank)] for rank in range(threads)])]])
        self.operations = 2 * machine().width * chains * steps * threads
        """Of one call; a multiply-add is two."""

    def __call__(self) -> None:
        """Returns when every core is done."""
        _together(self._work)


class Reads:
    """A call reads so many bytes again and again, each core its own part of them, and nothing else.

    So they come from the caches that they fit, as weights do that every step of a scan needs.
    """

    def __init__(self, size: int, threads: int) -> None:
        own = size // threads // _LINE * _LINE
        self.rounds = max(1, READ // max(own, 1))
        """How often a call reads them."""
        self._parts = [torch.zeros(max(1, own // 4)) for _ in range(threads)]
        words = [[part.data_ptr(), own, self.rounds] for part in self._parts]
        self._blocks = [np.array(w, dtype=np.int64) for w in words]
        jobs = [[(block.ctypes.data, rank)] for rank, block in enumerate(self._blocks)]
        self._work = Work([[(_reading(), jobs)]])

    def __call__(self) -> None:
        """Returns when every core is done."""
        _together(self._work)


def _together(work: Work) -> None:
    with workers(LONG) if work.count > 1 else alone as (pool, count):
        if count != work.count:
            raise Error(f"bench: {work.count} threads were wanted, of which {count} are free")
        pool.run(work)


class Copy:
    """A call copies memory far beyond the caches, as torch does, on torch's threads."""

    traffic = 2 * COPIED
    """Bytes that one call reads and writes."""

    def __init__(self) -> None:
        self._source, self._target = torch.ones(2, COPIED // 4).unbind()

    def __call__(self) -> None:
        """Copies once."""
        self._target.copy_(self._source)


@cache
def _adding() -> tuple[int, int]:
    """The address of peak(steps, rank), so many rounds of multiply-adds on vectors, and how many there
    are in a round."""
    host = machine()
    # More chains than a core has in flight (two units, a latency of four or five; on some machines four
    # units), and few enough to stay in its registers beside the factor.
    chains = 12 if host.registers == 16 else 24
    return link(assemble(_source(host.width, chains)), ("peak",))["peak"], chains


@cache
def _reading() -> int:
    """The address of reads(block, rank), which loads all of some bytes again and again; block: where they
    are, how many, how often."""
    each = 4 * machine().width
    vector = f"<{machine().width} x float>"
    loads = "\n".join(
        f"  %p{i} = getelementptr i8, ptr %at, i64 {each * i}\n"
        f"  %v{i} = load volatile {vector}, ptr %p{i}, align 4"
        for i in range(_LINE // each)
    )
    source = _READING.replace("LOADS", loads).replace("LINE", str(_LINE))
    return link(assemble(source), ("reads",))["reads"]


_READING = """
define void @reads(ptr %block, i64 %rank) {
entry:
  %from = load ptr, ptr %block
  %second = getelementptr i64, ptr %block, i64 1
  %bytes = load i64, ptr %second
  %third = getelementptr i64, ptr %block, i64 2
  %rounds = load i64, ptr %third
  br label %again
again:
  %r = phi i64 [0, %entry], [%r1, %ends]
  %more = icmp slt i64 %r, %rounds
  br i1 %more, label %lines, label %done
lines:
  %i = phi i64 [0, %again], [%i1, %line]
  %left = icmp slt i64 %i, %bytes
  br i1 %left, label %line, label %ends
line:
  %at = getelementptr i8, ptr %from, i64 %i
LOADS
  %i1 = add i64 %i, LINE
  br label %lines
ends:
  %r1 = add i64 %r, 1
  br label %again
done:
  ret void
}
"""


def _source(width: int, chains: int) -> str:
    """a_i = a_i * b + b for every chain, `steps` times over; all are needed, for their sum is returned."""
    vector = f"<{width} x float>"
    phis = "\n".join(f"  %a{i} = phi {vector} [%seed{i}, %entry], [%n{i}, %loop]" for i in range(chains))
    seeds = "\n".join(
        f"  %seed{i} = insertelement {vector} zeroinitializer, float {i}.0, i32 0" for i in range(chains)
    )
    steps = "\n".join(
        f"  %n{i} = call {vector} @llvm.fma.v{width}f32({vector} %a{i}, {vector} %b, {vector} %b)"
        for i in range(chains)
    )
    sums = "\n".join(
        f"  %s{i + 1} = fadd {vector} {f'%s{i}' if i else 'zeroinitializer'}, %n{i}" for i in range(chains)
    )
    return f"""
declare {vector} @llvm.fma.v{width}f32({vector}, {vector}, {vector})
define float @peak(i64 %steps, i64 %rank) {{
entry:
  %half = insertelement {vector} zeroinitializer, float 0.5, i32 0
  %b = shufflevector {vector} %half, {vector} %half, <{width} x i32> zeroinitializer
{seeds}
  br label %loop
loop:
  %t = phi i64 [0, %entry], [%next, %loop]
{phis}
{steps}
  %next = add i64 %t, 1
  %more = icmp slt i64 %next, %steps
  br i1 %more, label %loop, label %done
done:
{sums}
  %result = extractelement {vector} %s{chains}, i32 0
  ret float %result
}}
"""
