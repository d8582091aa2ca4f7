"""The forward kernel of a cell: input product, recurrent product and equations in one loop over time.

One call runs a group of rows; several workers may share it, each with its own panels of units, and
meet at a barrier after every step. Rows come longest first, so that the active ones are a prefix.
"""

from __future__ import annotations

from .emit import I64, PTR, Function, Module, Value
from .fields import Block
from .products import Tiles, for_tiles, for_widths
from .shape import BARRIER, Shape, copies, copies_low, get, products, put_final, put_output, slot
from .step import point, projected_rows, step_rows
from .sync import barrier, share


def emit(shape: Shape) -> str:
    """The kernel `forward(block, rank)` as LLVM IR."""
    module = Module(shape.machine.width)
    barrier(module, BARRIER)
    merged = {g: i for i, g in enumerate(shape.graph.x_gates)}
    x_sources = [("bias", i) for i in range(shape.x_columns)]
    r_sources = [("bias", i) for i in range(len(shape.graph.r_only))]
    r_sources += [("c", merged[g]) for g in shape.graph.merged]
    copies(module)
    copies_low(module, shape.machine)
    point(module, shape)
    if x_sources:
        products(module, "x", shape.cut(shape.x_columns), x_sources)
        _input_rows(module, shape)
    if r_sources:
        products(module, "r", shape.cut(shape.r_columns), r_sources)
        step_rows(module, shape)
    if shape.projected:
        products(module, "p", shape.cut(1), [("bias", 0)])
        projected_rows(module, shape)
    _begin(module, shape)
    _chunk(module, shape)
    _main(module, shape)
    return str(module)


def _input_rows(module: Module, shape: Shape) -> None:
    """input_R(block, p0, p1, n): the input product of R rows from n on, for some panels."""
    cut, columns = shape.cut(shape.x_columns), shape.x_columns
    for rows in cut.sizes:
        f = module.function(f"input_{rows}", [(PTR, "block"), (I64, "p0"), (I64, "p1"), (I64, "n")])
        b = Block(f, f.arguments[0])
        p0, p1, n = f.arguments[1:]
        length = b["x_lines"]
        row = columns * f.bytes
        b_panel = (b["in_full"] * f.width + b["in_tail"]) * row

        def tile(
            width: int,
            p: Value,
            f: Function = f,
            b: Block = b,
            n: Value = n,
            length: Value = length,
            b_panel: Value = b_panel,
            rows: int = rows,
            row: int = row,
        ) -> None:
            bias = f.at(b["bias_x"], p * row)
            out = f.at(b["xp"], (p * length + n) * row)
            f.call(
                "void",
                f"x_{rows}_{width}",
                [
                    f.at(b["xa"], n * f.bytes),
                    length * f.bytes,
                    f.int(1),
                    b["in_full"],
                    b["in_tail"],
                    f.at(b["w_x"], p * b_panel),
                    b_panel,
                    bias,
                    f.int(0),
                    f.int(0),
                    bias,
                    f.int(row),
                    out,
                    length * row,
                    f.int(row),
                ],
            )

        for_widths(f, p0, p1, cut.widths[rows], tile)
        f.finish()


def _begin(module: Module, shape: Shape) -> None:
    """begin(block, rank, step): the initial state for the rows that begin, or begin again, there."""
    f = module.function("begin", [(PTR, "block"), (I64, "rank"), (I64, "step")])
    block, rank, step = f.arguments
    b = Block(f, block)

    def fresh(row: Value) -> None:
        for k in range(shape.states):
            p0, p1 = share(f, b, rank, "out_panels" if k == 0 else "panels")
            with f.loop(p0, p1) as p:
                start = f.at(b[f"start{k}"], (p * b["rows"] + row) * f.bytes)
                value = f.load(f.vector, start, f.bytes)
                f.store(value, slot(f, b, "state", k, p, step, row), f.bytes)

    active = b["active"]
    now = f.load(I64, f.at(active, step * 8), 8)
    before = f.variable(f.int(0))
    with f.when(f.compare("sgt", step, 0)):
        f.set(before, f.load(I64, f.at(active, step * 8 - 8), 8))
    old = f.get(I64, before)
    with f.loop(old, now) as row:
        fresh(row)
    with f.when(f.compare("ne", b["reset"], f.null())):
        bytes_ = f.at(b["reset"], step * b["reset_step"])
        reset_row, rowmap = b["reset_row"], b["rowmap"]
        with f.loop(0, f.least(old, now)) as row:
            actual = f.load(I64, f.at(rowmap, row * 8), 8)
            flag = f.load("i8", f.at(bytes_, actual * reset_row), 1)
            with f.when(f.compare("ne", flag, 0)):
                fresh(row)
    f.finish()


def _chunk(module: Module, shape: Shape) -> None:
    """chunk(block, rank, s0, s1): the input projection of the steps s0..s1, own panels."""
    f = module.function("chunk", [(PTR, "block"), (I64, "rank"), (I64, "s0"), (I64, "s1")])
    block, rank, s0, s1 = f.arguments
    b = Block(f, block)
    if not shape.x_columns:
        f.finish()
        return
    p0, p1 = share(f, b, rank, "panels")
    rows, rowmap, active = b["rows"], b["rowmap"], b["active"]
    length, wide = b["x_lines"], shape.x_columns * f.bytes
    with f.when(f.compare("ne", b["indices"], f.null())), f.loop(s0, s1) as s:
        count = f.load(I64, f.at(active, s * 8), 8)
        with f.loop(0, count) as i:
            actual = f.load(I64, f.at(rowmap, i * 8), 8)
            place = f.at(b["indices"], actual * b["i_row"] + s * b["i_step"])
            index, n = f.load(I64, place, 8), (s - s0) * rows + i
            with f.loop(p0, p1) as p:
                source = f.at(b["table"], (p * b["symbols"] + index) * wide)
                target = f.at(b["xp"], (p * length + n) * wide)
                for c in range(shape.x_columns):
                    value = f.load(f.vector, f.at(source, c * f.bytes), f.bytes)
                    f.store(value, f.at(target, c * f.bytes), f.bytes)
    with f.when(f.compare("eq", b["indices"], f.null())):
        # Nobody may still read the chunk before this one.
        f.call("void", BARRIER, [b["barrier"], b["workers"]])
        _pack(f, b, rank, s0, s1)
        f.call("void", BARRIER, [b["barrier"], b["workers"]])
        cut = shape.cut(shape.x_columns)

        def from_row(base: Value, count: Value) -> None:
            def body(height: int, row: Value) -> None:
                f.call("void", f"input_{height}", [block, p, end, base + row])

            for_tiles(f, count, b["tiles_x"], cut, body)

        at = f.variable(p0)
        with f.whilst() as after:
            p = f.get(I64, at)
            f.leave_unless(f.compare("slt", p, p1), after)
            end = f.least(p + b["panel_step"], p1)
            with f.when(f.compare("ne", b["full"], 0)):
                from_row(f.int(0), (s1 - s0) * rows)
            with f.when(f.compare("eq", b["full"], 0)), f.loop(s0, s1) as s:
                from_row((s - s0) * rows, f.load(I64, f.at(active, s * 8), 8))
            f.set(at, end)
    f.finish()


def _pack(f: Function, b: Block, rank: Value, s0: Value, s1: Value) -> None:
    """This worker's share of the steps' features, from a row-major tensor into panels."""
    rows, workers = b["rows"], b["workers"]
    length, features = b["x_lines"], b["in_full"] * f.width + b["in_tail"]
    steps = s1 - s0
    with f.loop(steps * rank // workers, steps * (rank + 1) // workers) as local:
        s = s0 + local
        count = f.load(I64, f.at(b["active"], s * 8), 8)
        with f.loop(0, count) as i:
            actual = f.load(I64, f.at(b["rowmap"], i * 8), 8)
            source = f.at(b["x"], actual * b["x_row"] + s * b["x_step"])
            with f.loop(0, b["in_panels"]) as k:
                value = get(f, f.at(source, k * f.bytes), features - k * f.width)
                f.store(value, f.at(b["xa"], (k * length + local * rows + i) * f.bytes), f.bytes)


def _main(module: Module, shape: Shape) -> None:
    f = module.function("forward", [(PTR, "block"), (I64, "rank")], public=True)
    block, rank = f.arguments
    b = Block(f, block)
    steps, rows, active = b["steps"], b["rows"], b["active"]
    p0, p1 = share(f, b, rank, "panels")
    q0, q1 = share(f, b, rank, "out_panels")
    _load_initial(f, b, shape, rank)
    f.call("void", "begin", [block, rank, f.int(0)])
    f.call("void", BARRIER, [b["barrier"], b["workers"]])
    at = f.variable(f.int(0))
    with f.whilst() as after:
        s0 = f.get(I64, at)
        f.leave_unless(f.compare("slt", s0, steps), after)
        s1 = f.least(s0 + b["chunk"], steps)
        f.call("void", "chunk", [block, rank, s0, s1])
        with f.loop(s0, s1) as s:
            count = f.load(I64, f.at(active, s * 8), 8)
            arguments = [s, s - s0]
            if shape.r_columns:
                _over_tiles(f, b, shape.cut(shape.r_columns), "step", (p0, p1), count, "tiles_r", arguments)
            else:
                f.call("void", "point", [block, f.null(), p0, p1 - p0, f.int(0), count, *arguments])
            if shape.projected:
                f.call("void", BARRIER, [b["barrier"], b["workers"]])
                _over_tiles(f, b, shape.cut(1), "project", (q0, q1), count, "tiles_p", arguments)
            with f.when(f.compare("slt", s + 1, steps)):
                f.call("void", "begin", [block, rank, s + 1])
            if shape.r_columns or shape.projected:
                f.call("void", BARRIER, [b["barrier"], b["workers"]])
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
    at = f.variable(panels[0])
    with f.whilst() as after:
        p = f.get(I64, at)
        f.leave_unless(f.compare("slt", p, panels[1]), after)
        end = f.least(p + b["panel_step"], panels[1])

        def body(height: int, row: Value) -> None:
            f.call("void", f"{name}_{height}", [f.arguments[0], p, end, row, *arguments])

        for_tiles(f, count, b[table], cut, body)
        f.set(at, end)


def _load_initial(f: Function, b: Block, shape: Shape, rank: Value) -> None:
    for k in range(shape.states):
        p0, p1 = share(f, b, rank, "out_panels" if k == 0 else "panels")
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
        p0, p1 = share(f, b, rank, "out_panels" if k == 0 else "panels")
        size = b["out_size" if k == 0 else "hidden"]
        with f.loop(0, rows) as row:
            end = f.load(I64, f.at(b["ends"], row * 8), 8)
            actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
            target = f.at(b[f"final{k}"], actual * b[f"final_row{k}"])
            empty = f.compare("slt", end, 0)
            with f.loop(p0, p1) as p:
                start = f.at(b[f"start{k}"], (p * rows + row) * f.bytes)
                chosen = f.choose(empty, start, slot(f, b, "state", k, p, end, row))
                value = f.load(f.vector, chosen, f.bytes)
                put_final(f, b, value, target, p, size)
    q0, q1 = share(f, b, rank, "out_panels")
    with f.when(f.compare("eq", b["full"], 0)), f.loop(0, b["steps"]) as s:
        count = f.load(I64, f.at(b["active"], s * 8), 8)
        with f.loop(count, rows) as row:
            actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
            with f.loop(q0, q1) as q:
                put_output(f, b, f.constant(0.0), actual, s, q)
