"""The products after a backward scan: gradients of the weights and of the input, for any cell."""

from __future__ import annotations

from .emit import I64, PTR, Function, Module, Value
from .fields import Block
from .machine import Machine
from .outer import outer
from .products import Tiles, for_panels, for_tiles, for_widths, tiles
from .shape import begin, copies, features, products, put
from .sync import share

NAMES = ("weights", "inputs", "symbols", "features")
_LANES, _PANELS = 8, 3
_HELD = 512
"""Units of a that all of the operand's panels go over: 256 KB of a segment, within the second cache."""
_TOGETHER = 2
"""Panels of the input's gradient that pass over a segment's rows together."""
_CHAINS = 4
"""Sums side by side of one panel's rows: one alone would wait for itself."""


def emit(machine: Machine) -> str:
    """The kernels weights, inputs, symbols and features (block, rank) as LLVM IR."""
    module = Module(machine.width)
    cut = tiles(1, machine.registers, _TOGETHER)
    copies(module)
    lanes = lanes_of(machine)
    widest = _PANELS
    for panels in range(1, widest + 1):
        outer(module, f"outer_{panels}", lanes, panels)
    _weights(module, lanes, widest)
    products(module, "x", cut, [("bias", 0)])
    _input_rows(module, cut)
    _inputs(module, cut)
    _symbols(module)
    _features(module)
    return str(module)


def lanes_of(machine: Machine) -> int:
    """Units of a panel of a's that `weights` takes at a time."""
    return min(_LANES, machine.width) if machine.registers == 32 else 4


def _weights(module: Module, lanes: int, widest: int) -> None:
    """weights: result[a's unit][operand's unit] += Σ_n a[n] operand[n], and sums[a's unit] += Σ_n a[n],
    which is written to sums_too as well, if it is there; if fresh, = instead of +=.

    places: for each of a's panels, in the order in which workers share them, its first unit's row in the
    result, how many times `lanes` of its units there are, and its number. A worker has some of a's panels,
    or, if across, of the operand's; `together` segments at a time, so that they stay in cache."""
    f = module.function("weights", [(PTR, "block"), (I64, "rank")], public=True)
    block, rank = f.arguments
    b = Block(f, block)
    (a0, a1), (o0, o1) = _shares(f, b, rank, "a_panels")
    segments, together, step = b["segments"], b["together"], b["segment"]
    a_panel, o_panel = b["g_lines"] * f.bytes, b["o_lines"] * f.bytes
    at = f.variable(f.int(0))
    with f.whilst() as after:
        first = f.get(I64, at)
        f.leave_unless(f.compare("slt", first, segments), after)
        end = f.least(first + together, segments)
        counts = f.at(b["counts"], first * 8)
        fresh = f.choose(f.compare("eq", first, 0), b["fresh"], f.int(0))

        def some(begin: Value, stop: Value) -> None:
            for_widths(f, o0, o1, range(widest, 0, -1), lambda width, o: tile(width, o, begin, stop))

        def tile(width: int, o: Value, begin: Value, stop: Value) -> None:
            x = f.at(b["operand"], o * o_panel + first * step)
            with f.loop(begin, stop) as panel, f.loop(0, _place(f, b, panel, 1)) as part:
                own = _place(f, b, panel, 2) * a_panel
                a = f.at(b["a"], own + first * step + part * (4 * lanes))
                row = _place(f, b, panel) + part * lanes
                last = f.compare("eq", part + 1, _place(f, b, panel, 1))
                coming = f.choose(last, _place(f, b, f.least(panel + 1, a1 - 1)), row + lanes)
                result, next = (f.at(b["result"], r * b["result_row"] + o * f.bytes) for r in (row, coming))
                f.call(
                    "void",
                    f"outer_{width}",
                    [a, x, o_panel, end - first, counts, step, step, result, b["result_row"], fresh, next],
                )

        for_panels(f, a0, a1, f.int(_HELD // f.width), some)
        f.set(at, end)
    # Workers who share the operand have all of a's panels, which one of them adds up.
    spare = f.op("i1", f"and i1 {_across(f, b).name}, {f.compare('ne', rank, 0).name}")
    with f.when(f.compare("ne", b["sums"], f.null())):
        _sums(f, b, a0, f.choose(spare, a0, a1))
    f.finish()


def _sums(f: Function, b: Block, a0: Value, a1: Value) -> None:
    """sums[a's unit] = Σ_n a[n] for some of a's panels, or += where it is not fresh."""
    with f.loop(a0, a1) as panel:
        totals = [f.variable(f.constant(0.0)) for _ in range(_CHAINS)]
        total = totals[0]
        with f.loop(0, b["segments"]) as s:
            own = _place(f, b, panel, 2) * (b["g_lines"] * f.bytes)
            source = f.at(b["a"], own + s * b["segment"])
            count = f.load(I64, f.at(b["counts"], s * 8), 8)
            whole = count // _CHAINS * _CHAINS
            with f.loop(0, whole, _CHAINS) as n:
                for index, chain in enumerate(totals):
                    _increase(f, chain, f.load(f.vector, f.at(source, (n + index) * f.bytes), f.bytes))
            with f.loop(whole, count) as n:
                _increase(f, total, f.load(f.vector, f.at(source, n * f.bytes), f.bytes))
        for chain in totals[1:]:
            _increase(f, total, f.get(f.vector, chain))
        _store_sum(f, b, panel, total, f.compare("eq", b["fresh"], 0))


def _across(f: Function, b: Block) -> Value:
    return f.compare("ne", b["across"], 0)


def _shares(f: Function, b: Block, rank: Value, name: str) -> tuple[tuple[Value, Value], ...]:
    """A worker's part of what has this name, and all of the operand's panels; or, if across, all of the one
    and a part of the other."""
    across, none = _across(f, b), f.int(0)
    (s0, s1), (o0, o1) = share(b, rank, name), share(b, rank, "o_panels")
    some = f.choose(across, none, s0), f.choose(across, b[name], s1)
    return some, (f.choose(across, o0, none), f.choose(across, o1, b["o_panels"]))


def _store_sum(f: Function, b: Block, panel: Value, total: Value, more: Value) -> None:
    """The sum of a panel where it belongs; more: whether what is there is a part of it."""
    unit = _place(f, b, panel) * 4
    with f.when(more):
        _increase(f, total, f.load(f.vector, f.at(b["sums"], unit), f.bytes))
    f.store(f.get(f.vector, total), f.at(b["sums"], unit), f.bytes)
    with f.when(f.compare("ne", b["sums_too"], f.null())):
        f.store(f.get(f.vector, total), f.at(b["sums_too"], unit), f.bytes)


def _place(f: Function, b: Block, panel: Value, word: int = 0) -> Value:
    return f.load(I64, f.at(b["places"], panel * 24 + 8 * word), 8)


def _increase(f: Function, total: Value, value: Value) -> None:
    f.set(total, f.op(f.vector, f"fadd {f.vector} {value.name}, {f.get(f.vector, total).name}"))


ROWS = [(PTR, "block"), (I64, "p0"), (I64, "p1"), (I64, "n")]


def _input_rows(module: Module, cut: Tiles) -> None:
    """rows_R(block, p0, p1, n): the input's gradient for R rows from n on and some of its panels."""
    for height in cut.sizes:
        f = module.function(f"rows_{height}", ROWS)
        b = Block(f, f.arguments[0])
        _, p0, p1, n = f.arguments
        scratch = f.room(f"[{height * max(cut.widths[height]) * f.width} x float]")
        groups, lines = b["groups"], b["g_lines"] * f.bytes
        b_panel = groups * b["hidden"] * f.bytes
        shared = (n, scratch, groups, lines, b_panel)

        def tile(
            width: int,
            p: Value,
            f: Function = f,
            b: Block = b,
            shared: tuple[Value, ...] = shared,
            height: int = height,
        ) -> None:
            n, scratch, groups, lines, b_panel = shared
            zeros, nothing = b["zeros"], f.int(0)
            f.call(
                "void",
                f"x_{height}_{width}",
                [
                    *(f.at(b["a"], n * f.bytes), lines, groups, b["p_full"], b["p_tail"]),
                    *(f.at(b["operand"], p * b_panel), b_panel),
                    *(zeros, nothing, nothing, nothing, zeros, nothing),
                    *(scratch, f.int(height * f.bytes), f.int(f.bytes)),
                    f.null(),
                ],
            )
            with f.loop(0, height) as i:
                step = (n + i) // b["rows"]
                actual = f.load(I64, f.at(b["rowmap"], (n + i - step * b["rows"]) * 8), 8)
                target = f.at(b["result"], begin(f, b, "result", step) + actual * b["result_row"])
                with f.loop(0, width) as j:
                    value = f.load(f.vector, f.at(scratch, (j * height + i) * f.bytes), f.bytes)
                    lanes = b["result_size"] - (p + j) * f.width
                    put(f, value, f.at(target, (p + j) * f.bytes), lanes)

        for_widths(f, p0, p1, cut.widths[height], tile)
        f.finish()


def _inputs(module: Module, cut: Tiles) -> None:
    """inputs: result[n] = Σ_k a[n][k] operand[k], row-major; a worker has some of the segments, or, if
    across, of the operand's panels."""
    f = module.function("inputs", [(PTR, "block"), (I64, "rank")], public=True)
    block, rank = f.arguments
    b = Block(f, block)
    (first, end), (o0, o1) = _shares(f, b, rank, "segments")
    per_segment = b["segment"] // f.bytes
    with f.loop(first, end) as s:
        count = f.load(I64, f.at(b["counts"], s * 8), 8)

        def some(p: Value, stop: Value, s: Value = s, count: Value = count) -> None:
            def body(height: int, row: Value) -> None:
                f.call("void", f"rows_{height}", [block, p, stop, s * per_segment + row])

            for_tiles(f, count, b["tiles_p"], cut, body)

        for_panels(f, o0, o1, f.int(_TOGETHER), some)
    f.finish()


def _symbols(module: Module) -> None:
    """symbols: result[panel][index of n] += a[panel][n], sums[a's unit] += Σ_n a[n].

    A worker has some of a's panels."""
    f = module.function("symbols", [(PTR, "block"), (I64, "rank")], public=True)
    block, rank = f.arguments
    b = Block(f, block)
    a0, a1 = share(b, rank, "a_panels")
    with f.loop(a0, a1) as panel:
        total = f.variable(f.constant(0.0))
        own = _place(f, b, panel, 2)
        table = f.at(b["result"], own * b["in_size"] * f.bytes)
        source = f.at(b["a"], own * b["g_lines"] * f.bytes)
        with f.loop(0, b["steps"]) as s, f.loop(0, f.load(I64, f.at(b["active"], s * 8), 8)) as row:
            actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
            place = f.at(b["indices"], actual * b["i_row"] + s * b["i_step"])
            target = f.at(table, f.load(I64, place, 8) * f.bytes)
            value = f.load(f.vector, f.at(source, (s * b["rows"] + row) * f.bytes), f.bytes)
            old = f.load(f.vector, target, f.bytes)
            f.store(f.op(f.vector, f"fadd {f.vector} {old.name}, {value.name}"), target, f.bytes)
            _increase(f, total, value)
        with f.when(f.compare("ne", b["sums"], f.null())):
            _store_sum(f, b, panel, total, f.int(1, "i1"))
    f.finish()


def _features(module: Module) -> None:
    """features: the whole input in panels [panel][step * rows + row][W]; a worker has some steps."""
    f = module.function("features", [(PTR, "block"), (I64, "rank")], public=True)
    block, rank = f.arguments
    b = Block(f, block)
    features(f, b, share(b, rank, "steps"), f.int(0), b["operand"], b["o_lines"])
    f.finish()
