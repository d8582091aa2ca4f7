"""The input product of a chunk of time, before its steps; one kernel for all cells with as many gates.

Where a gate's units fill vectors of W, a panel has a column for each gate, as in the recurrent product.
Where they do not, all gates' units stand side by side, in panels of one column, of which only the last is
not full: a layer of two units multiplies by one vector and not by one for each gate.
"""

from __future__ import annotations

from . import ahead
from .emit import I64, PTR, Function, Module, Value
from .fields import Block
from .machine import Machine
from .products import Tiles, coming, for_panels, for_tiles, for_widths, tiles
from .shape import BARRIER, copies, features, products
from .sync import barrier, share


def emit(machine: Machine, columns: int) -> str:
    """The kernel feed(block, rank, s0, s1) as LLVM IR: xp[panel][n][column] = bias_x + W x_n for the rows
    n of the steps s0..s1, by all workers of the block, who meet before and after it; and `ahead`'s own."""
    module = Module(machine.width)
    cut = tiles(columns, machine.registers)
    barrier(module, BARRIER)
    copies(module)
    products(module, "x", cut, [("bias", i) for i in range(columns)], fetching=True)
    _some_rows(module, cut, columns)
    _features(module, cut)
    _symbols(module, columns)
    f = module.function("feed", ahead.CHUNK, public=True)
    block, rank, s0, s1 = f.arguments
    b = Block(f, block)
    # Nobody may still read the chunk before this one.
    f.call("void", BARRIER, [b["barrier"], b["workers"], rank])
    symbols = f.compare("ne", b["indices"], f.null())
    with f.when(symbols):
        f.call("void", "symbols", [block, rank, s0, s1])
    with f.when(f.compare("eq", b["indices"], f.null())):
        f.call("void", "features", [block, rank, s0, s1])
    f.call("void", BARRIER, [b["barrier"], b["workers"], rank])
    f.finish()
    ahead.emit(module)
    return str(module)


NAMES = ("feed", "ahead", "follow")


def _some_rows(module: Module, cut: Tiles, columns: int) -> None:
    """rows_R(block, p0, p1, n): the product of R rows from n on, for some panels."""
    for height in cut.sizes:
        f = module.function(f"rows_{height}", [(PTR, "block"), (I64, "p0"), (I64, "p1"), (I64, "n")])
        b = Block(f, f.arguments[0])
        _, p0, p1, n = f.arguments
        length = b["x_lines"] * f.bytes
        wide = columns * f.bytes
        b_panel = b["in_size"] * wide

        def tile(
            width: int,
            p: Value,
            f: Function = f,
            b: Block = b,
            shared: tuple[Value, ...] = (n, length, b_panel),
            sizes: tuple[int, int] = (height, wide),
        ) -> None:
            n, length, b_panel = shared
            height, wide = sizes
            bias, nothing = f.at(b["bias_x"], p * wide), f.int(0)
            f.call(
                "void",
                f"x_{height}_{width}",
                [
                    *(f.at(b["xa"], n * f.bytes), length, f.int(1), b["in_full"], b["in_tail"]),
                    *(f.at(b["w_x"], p * b_panel), b_panel),
                    *(bias, nothing, nothing, nothing, bias, f.int(wide)),
                    *(f.at(b["xp"], n * b["xp_row"] + p * b["xp_panel"]), b["xp_panel"], b["xp_row"]),
                    coming(f, cut, b["fetch"], b["w_x"], b_panel, p + b["xp_step"], (height, width, n)),
                ],
            )

        for_widths(f, p0, p1, cut.widths[height], tile)
        f.finish()


def _features(module: Module, cut: Tiles) -> None:
    f = module.function("features", ahead.CHUNK)
    block, rank, s0, s1 = f.arguments
    b = Block(f, block)
    steps, workers, origin = s1 - s0, b["workers"], ahead.origin(b, s0)
    own = s0 + steps * rank // workers, s0 + steps * (rank + 1) // workers
    features(f, b, own, origin, b["xa"], b["x_lines"])
    f.call("void", BARRIER, [b["barrier"], b["workers"], rank])
    p0, p1 = share(b, rank, "x_panels")
    rows = b["rows"]

    def some(p: Value, end: Value) -> None:
        def from_row(base: Value, count: Value) -> None:
            def body(height: int, row: Value) -> None:
                f.call("void", f"rows_{height}", [block, p, end, base + row])

            for_tiles(f, count, b["tiles_x"], cut, body)

        with f.when(f.compare("ne", b["full"], 0)):
            from_row((s0 - origin) * rows, steps * rows)
        with f.when(f.compare("eq", b["full"], 0)), f.loop(s0, s1) as s:
            from_row((s - origin) * rows, f.load(I64, f.at(b["active"], s * 8), 8))

    for_panels(f, p0, p1, b["xp_step"], some)
    f.finish()


def _symbols(module: Module, columns: int) -> None:
    """The product with a one-hot vector is a row of w_x, which then lies in rows."""
    f = module.function("symbols", ahead.CHUNK)
    block, rank, s0, s1 = f.arguments
    b = Block(f, block)
    p0, p1 = share(b, rank, "x_panels")
    wide, origin = columns * f.bytes, ahead.origin(b, s0)
    with f.loop(s0, s1) as s, f.loop(0, f.load(I64, f.at(b["active"], s * 8), 8)) as i:
        actual = f.load(I64, f.at(b["rowmap"], i * 8), 8)
        index = f.load(I64, f.at(b["indices"], actual * b["i_row"] + s * b["i_step"]), 8)
        source = f.at(b["w_x"], index * (b["x_panels"] * wide))
        target = f.at(b["xp"], ((s - origin) * b["rows"] + i) * b["xp_row"])
        with f.loop(p0, p1) as p:
            for column in range(columns):
                at = p * wide + column * f.bytes
                weight, bias = (f.load(f.vector, f.at(base, at)) for base in (source, b["bias_x"]))
                total = f.op(f.vector, f"fadd {f.vector} {weight.name}, {bias.name}")
                f.store(total, f.at(target, p * b["xp_panel"] + column * f.bytes))
    f.finish()
