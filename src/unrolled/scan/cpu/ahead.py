"""The input product made by a worker of its own, who runs ahead of the one who scans.

Of few rows two workers may share the units, and meet after every step; or one of them multiplies the
inputs while the other takes the steps, and they meet once in some steps only.

Its memory is a ring of steps. `progress` has a line for each of the two: how far it has come, in steps of
all calls together, and in its second word where this call began.
"""

from __future__ import annotations

from .emit import I64, PTR, Function, Module, Value
from .fields import Block
from .sync import LINE, patience, wait

LINES = 2
"""Of `progress`: who scans, and who multiplies."""
CHUNKS = 3
"""So many are multiplied at once."""
CHUNK = [(PTR, "block"), (I64, "rank"), (I64, "s0"), (I64, "s1")]


def emit(module: Module) -> None:
    """ahead(block, rank): `feed` for all steps, chunk after chunk. follow(block, rank, s0, s1): what who
    scans calls in the place of `feed`: waits until these steps' products are there."""
    _ahead(module)
    _follow(module)


def origin(b: Block, step: Value) -> Value:
    """The step whose product has the first place, when this one's is made."""
    return step // b["ring"] * b["ring"]


def _ahead(module: Module) -> None:
    f = module.function("ahead", [(PTR, "block"), (I64, "rank")], public=True)
    block, _ = f.arguments
    b = Block(f, block)
    steps, chunk, ring = b["steps"], b["chunk"], b["ring"]
    other, own = b["progress"], f.at(b["progress"], LINE)
    begin = f.load(I64, f.at(own, 8), 8)
    at = f.variable(f.int(0))
    with f.whilst() as after:
        s0 = f.get(I64, at)
        f.leave_unless(f.compare("slt", s0, steps), after)
        # One chunk to begin with, for which the other waits; then as many at once as are best.
        much = chunk * CHUNKS
        s1 = f.least(f.choose(f.compare("eq", s0, 0), chunk, s0 // much * much + much), steps)
        # Until the steps are done whose places these take.
        with f.when(f.compare("sgt", s1, ring)):
            _until(f, other, begin + s1 - ring)
        f.call("void", "feed", [block, f.int(0), s0, s1])
        _come(f, own, begin + s1)
        f.set(at, s1)
    f.store(begin + steps, f.at(own, 8), 8)
    f.finish()


def _follow(module: Module) -> None:
    f = module.function("follow", CHUNK, public=True)
    block, _, s0, s1 = f.arguments
    b = Block(f, block)
    own, other = b["progress"], f.at(b["progress"], LINE)
    begin = f.load(I64, f.at(own, 8), 8)
    _come(f, own, begin + s0)
    _until(f, other, begin + s1)
    with f.when(f.compare("eq", s1, b["steps"])):
        f.store(begin + s1, f.at(own, 8), 8)
    f.finish()


def _come(f: Function, line: Value, steps: Value) -> None:
    """Says that who has this line has come so far."""
    f.do(f"store atomic i64 {steps.name}, ptr {line.name} release, align 8")


def _until(f: Function, line: Value, steps: Value) -> None:
    """Waits until who has this line has come so far."""
    left = patience(f)
    with f.whilst() as after:
        came = f.op(I64, f"load atomic i64, ptr {line.name} acquire, align 8")
        f.leave_unless(f.compare("slt", came, steps), after)
        wait(f, left)
