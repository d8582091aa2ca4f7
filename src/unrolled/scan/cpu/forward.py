"""The forward kernel of a cell: recurrent product and equations in one loop over time, after the input
product of a chunk of it (`feed`).

One call runs a group of rows; several workers may share it, each with its own panels of units, and
meet at a barrier after every step. Rows come longest first, so that the active ones are a prefix.
"""

from __future__ import annotations

from .ahead import origin
from .emit import I64, PTR, Function, Module, Value
from .fields import Block
from .products import Tiles, for_panels, for_tiles
from .shape import (
    BARRIER,
    Shape,
    copies,
    copies_low,
    for_begun,
    get,
    outputs,
    products,
    put_final,
    put_output,
    slot,
)
from .step import point, projected_rows, step_rows
from .sync import barrier, share


def emit(shape: Shape) -> str:
    """The kernel `forward(block, rank)` as LLVM IR."""
    module = Module(shape.machine.width)
    barrier(module, BARRIER)
    r_sources = [("bias", i) for i in range(len(shape.graph.r_only))]
    r_sources += [("c", gate) for gate in shape.graph.merged]
    copies(module)
    copies_low(module, shape.machine)
    point(module, shape)
    if r_sources:
        products(module, "r", shape.cut(shape.r_columns), r_sources, fetching=True)
        step_rows(module, shape)
    if shape.projected:
        products(module, "p", shape.cut(1), [("bias", 0)])
        projected_rows(module, shape)
    _begin(module, shape)
    _main(module, shape)
    return str(module)


def _begin(module: Module, shape: Shape) -> None:
    """begin(block, rank, step): the initial state for the rows that begin, or begin again, there."""
    f = module.function("begin", [(PTR, "block"), (I64, "rank"), (I64, "step")])
    block, rank, step = f.arguments
    b = Block(f, block)

    def fresh(row: Value) -> None:
        for k in range(shape.states):
            p0, p1 = share(b, rank, "out_panels" if k == 0 else "panels")
            with f.loop(p0, p1) as p:
                start = f.at(b[f"start{k}"], (p * b["rows"] + row) * f.bytes)
                value = f.load(f.vector, start, f.bytes)
                f.store(value, slot(f, b, shape, k, p, step, row), f.bytes)

    for_begun(f, b, step, fresh)
    f.finish()


def _main(module: Module, shape: Shape) -> None:
    f = module.function("forward", [(PTR, "block"), (I64, "rank")], public=True)
    block, rank = f.arguments
    b = Block(f, block)
    steps, rows, active = b["steps"], b["rows"], b["active"]
    p0, p1 = share(b, rank, "panels")
    q0, q1 = share(b, rank, "out_panels")
    _load_initial(f, b, shape, rank)
    f.call("void", "begin", [block, rank, f.int(0)])
    f.call("void", BARRIER, [b["barrier"], b["workers"], rank])
    at = f.variable(f.int(0))
    with f.whilst() as after:
        s0 = f.get(I64, at)
        f.leave_unless(f.compare("slt", s0, steps), after)
        s1 = f.least(s0 + b["chunk"], steps)
        if shape.reads_input:
            f.call_at(b["feed"], [block, rank, s0, s1])
        begin = origin(b, s0)
        with f.loop(s0, s1) as s:
            count = f.load(I64, f.at(active, s * 8), 8)
            arguments = [s, s - begin]
            if shape.r_columns:
                _over_tiles(f, b, shape.cut(shape.r_columns), "step", (p0, p1), count, "tiles_r", arguments)
            else:
                f.call("void", "point", [block, f.null(), p0, p1 - p0, f.int(0), count, *arguments])
            if shape.projected:
                f.call("void", BARRIER, [b["barrier"], b["workers"], rank])
                _over_tiles(f, b, shape.cut(1), "project", (q0, q1), count, "tiles_p", arguments)
            with f.when(f.compare("slt", s + 1, steps)):
                f.call("void", "begin", [block, rank, s + 1])
            if shape.r_columns or shape.projected:
                f.call("void", BARRIER, [b["barrier"], b["workers"], rank])
        f.set(at, s1)
    _finish(f, b, shape, rank, rows)
    f.finish()


def _over_tiles(
    f: Function,
    b: Block,
    cut: Tiles,
    name: str,
    panels: tuple[Value, Value],
    count: Value,
    table: str,
    arguments: list[Value],
) -> None:
    """name_R(block, p, end, row, …) for every tile of `count` rows and some panels at a time."""

    def some(p: Value, end: Value) -> None:
        def body(height: int, row: Value) -> None:
            f.call("void", f"{name}_{height}", [f.arguments[0], p, end, row, *arguments])

        for_tiles(f, count, b[table], cut, body)

    for_panels(f, *panels, b["panel_step"], some, f.compare("ne", arguments[0] & 1, 0))


def _load_initial(f: Function, b: Block, shape: Shape, rank: Value) -> None:
    for k in range(shape.states):
        p0, p1 = share(b, rank, "out_panels" if k == 0 else "panels")
        size = b["out_size" if k == 0 else "hidden"]
        with f.loop(0, b["rows"]) as row:
            actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
            source = f.at(b[f"initial{k}"], actual * b[f"initial_row{k}"])
            with f.loop(p0, p1) as p:
                value = get(f, f.at(source, p * f.bytes), size - p * f.width)
                f.store(value, f.at(b[f"start{k}"], (p * b["rows"] + row) * f.bytes), f.bytes)


def _finish(f: Function, b: Block, shape: Shape, rank: Value, rows: Value) -> None:
    """The state after each row's last step, and zeros past its end."""
    for k in range(shape.states):
        p0, p1 = share(b, rank, "out_panels" if k == 0 else "panels")
        size = b["out_size" if k == 0 else "hidden"]
        with f.loop(0, rows) as row:
            end = f.load(I64, f.at(b["ends"], row * 8), 8)
            actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
            target = f.at(b[f"final{k}"], actual * b[f"final_row{k}"])
            empty = f.compare("slt", end, 0)
            with f.loop(p0, p1) as p:
                start = f.at(b[f"start{k}"], (p * rows + row) * f.bytes)
                chosen = f.choose(empty, start, slot(f, b, shape, k, p, end, row))
                value = f.load(f.vector, chosen, f.bytes)
                put_final(f, b, value, target, p, size)
    q0, q1 = share(b, rank, "out_panels")
    with f.when(f.compare("ne", b["padded"], 0)), f.loop(0, b["steps"]) as s:
        count, begins = f.load(I64, f.at(b["active"], s * 8), 8), outputs(f, b, s)
        with f.loop(count, rows) as row:
            actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
            with f.loop(q0, q1) as q:
                put_output(f, b, f.constant(0.0), actual, begins, q)
