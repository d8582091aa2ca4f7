"""The backward kernel of a cell: its equations' gradient and the recurrent product, last step first.

The products with the inputs come after.
"""

from __future__ import annotations

from .emit import I64, PTR, Function, Module, Value
from .fields import Block
from .products import for_panels, for_tiles, for_widths
from .shape import (
    BARRIER,
    STEP,
    Shape,
    begin,
    copies,
    copies_low,
    for_begun,
    get,
    get_gradient,
    products,
    put,
)
from .slope import again, dstate, point
from .sync import barrier, share


def emit(shape: Shape) -> str:
    """The kernel `backward(block, rank)` as LLVM IR."""
    module = Module(shape.machine.width)
    barrier(module, BARRIER)
    copies(module)
    copies_low(module, shape.machine)
    point(module, shape)
    products(module, "h", shape.cut(1), [("c", 0)])
    _rows(module, shape, "recurrent")
    if shape.projected:
        _rows(module, shape, "widen")
    _end(module, shape)
    if shape.again and not shape.projected:
        _first(module)
    _main(module, shape)
    return str(module)


def _rows(module: Module, shape: Shape, name: str) -> None:
    """recurrent_R: dh += dr · R for R rows, some panels of h and as many gates as go together, from the
    given one on; widen_R: dh' = dp · hr."""
    cut, recurrent = shape.cut(1), name == "recurrent"
    for height in cut.sizes:
        f = module.function(f"{name}_{height}", STEP)
        b = Block(f, f.arguments[0])
        _, p0, p1, row, step, gate = f.arguments
        rows, lines = b["rows"], b["g_lines"] * f.bytes
        a = f.at(b["dg" if recurrent else "dp"], (step * rows + row) * f.bytes)
        full, tail = (b["p_full"], b["p_tail"]) if recurrent else (b["h_full"], b["h_tail"])
        each = (full * f.width + tail) * f.bytes
        b_panel = each * (shape.r_columns if recurrent else 1)
        groups = b["groups"] if recurrent else f.int(1)
        a = f.at(a, gate * b["panels"] * lines)
        weights, target = b["w_h" if recurrent else "w_q"], b["dstate0" if recurrent else "dh"]
        weights = f.at(weights, gate * each)
        shared = (rows, lines, a, full, tail, groups, b_panel, weights, target, row)

        def tile(
            width: int,
            p: Value,
            f: Function = f,
            b: Block = b,
            shared: tuple[Value, ...] = shared,
            height: int = height,
        ) -> None:
            rows, lines, a, full, tail, groups, b_panel, weights, target, row = shared
            out = f.at(target, (p * rows + row) * f.bytes)
            zeros, nothing, one = b["zeros"], f.int(0), f.int(f.bytes)
            first = [out, rows * f.bytes, one] if recurrent else [zeros, nothing, nothing]
            first.append(nothing)
            f.call(
                "void",
                f"h_{height}_{width}",
                [
                    *(a, lines, groups, full, tail, f.at(weights, p * b_panel), b_panel, *first),
                    *(zeros, nothing, out, rows * f.bytes, one),
                    f.null(),
                ],
            )

        for_widths(f, p0, p1, cut.widths[height], tile)
        f.finish()


def _end(module: Module, shape: Shape) -> None:
    """end(block, rank, step): where a row began at this step, its gradient is the initial state's."""
    f = module.function("end", [(PTR, "block"), (I64, "rank"), (I64, "step")])
    block, rank, step = f.arguments
    b = Block(f, block)
    for_begun(f, b, step, lambda row: _move(f, b, shape, rank, row))
    f.finish()


def _first(module: Module) -> None:
    """first(block, rank, step): in the outputs that are made again, before those of the rows that begin at
    the step there is the initial state."""
    f = module.function("first", [(PTR, "block"), (I64, "rank"), (I64, "step")])
    block, rank, step = f.arguments
    b = Block(f, block)
    p0, p1 = share(b, rank, "panels")

    def fresh(row: Value) -> None:
        actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
        source = f.at(b["initial0"], actual * b["initial_row0"])
        with f.loop(p0, p1) as p:
            value = get(f, f.at(source, p * f.bytes), b["hidden"] - p * f.width)
            f.store(value, again(f, b, p, step, row), f.bytes)

    for_begun(f, b, step, fresh)
    f.finish()


def _move(f: Function, b: Block, shape: Shape, rank: Value, row: Value) -> None:
    """dstart += dstate; dstate = 0, for one row."""
    for k in range(shape.states):
        p0, p1 = share(b, rank, "out_panels" if k == 0 else "panels")
        with f.loop(p0, p1) as p:
            source = dstate(f, b, k, p, row)
            target = f.at(b[f"dstart{k}"], (p * b["rows"] + row) * f.bytes)
            here, there = f.load(f.vector, source, f.bytes), f.load(f.vector, target, f.bytes)
            f.store(f.op(f.vector, f"fadd {f.vector} {here.name}, {there.name}"), target, f.bytes)
            f.store(f.constant(0.0), source, f.bytes)


def _collect(f: Function, b: Block, rank: Value, step: Value, count: Value) -> None:
    """dp = dout + dh of a projected output, and dh = 0, since all of it goes through the projection."""
    q0, q1 = share(b, rank, "out_panels")
    start = begin(f, b, "dout", step)
    with f.loop(q0, q1) as q, f.loop(0, count) as row:
        actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
        given = get_gradient(f, b, actual, start, q)
        source = dstate(f, b, 0, q, row)
        carried = f.load(f.vector, source, f.bytes)
        total = f.op(f.vector, f"fadd {f.vector} {given.name}, {carried.name}")
        n = step * b["rows"] + row
        f.store(total, f.at(b["dp"], (q * b["g_lines"] + n) * f.bytes), f.bytes)
        f.store(f.constant(0.0), source, f.bytes)


def _load_final(f: Function, b: Block, shape: Shape, rank: Value) -> None:
    for k in range(shape.states):
        p0, p1 = share(b, rank, "out_panels" if k == 0 else "panels")
        size = b["out_size" if k == 0 else "hidden"]
        with f.loop(0, b["rows"]) as row:
            actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
            source = f.at(b[f"dfinal{k}"], actual * b[f"dfinal_row{k}"])
            with f.loop(p0, p1) as p:
                value = get(f, f.at(source, p * f.bytes), size - p * f.width)
                f.store(value, dstate(f, b, k, p, row), f.bytes)
                target = f.at(b[f"dstart{k}"], (p * b["rows"] + row) * f.bytes)
                f.store(f.constant(0.0), target, f.bytes)


def _store_initial(f: Function, b: Block, shape: Shape, rank: Value) -> None:
    with f.loop(0, b["rows"]) as row:
        with f.when(f.compare("slt", f.load(I64, f.at(b["ends"], row * 8), 8), 0)):
            _move(f, b, shape, rank, row)
        actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
        for k in range(shape.states):
            p0, p1 = share(b, rank, "out_panels" if k == 0 else "panels")
            size = b["out_size" if k == 0 else "hidden"]
            target = f.at(b[f"dinitial{k}"], actual * b[f"dinitial_row{k}"])
            with f.loop(p0, p1) as p:
                place = f.at(b[f"dstart{k}"], (p * b["rows"] + row) * f.bytes)
                value = f.load(f.vector, place, f.bytes)
                put(f, value, f.at(target, p * f.bytes), size - p * f.width)


def _main(module: Module, shape: Shape) -> None:
    f = module.function("backward", [(PTR, "block"), (I64, "rank")], public=True)
    block, rank = f.arguments
    b = Block(f, block)
    steps = b["steps"]
    p0, p1 = share(b, rank, "panels")
    q0, q1 = share(b, rank, "out_panels")
    _load_final(f, b, shape, rank)
    with f.loop(p0, p1) as p, f.loop(0, shape.vectors) as j:
        f.store(f.constant(0.0), f.at(b["dvectors"], (p * shape.vectors + j) * f.bytes), f.bytes)
    with f.loop(0, steps) as reverse:
        step = steps - 1 - reverse
        count = f.load(I64, f.at(b["active"], step * 8), 8)
        if shape.projected:
            _collect(f, b, rank, step, count)
            f.call("void", BARRIER, [b["barrier"], b["workers"], rank])
            _over(f, b, shape, "widen", (p0, p1), count, step)
        f.call("void", "point", [block, rank, step, count])
        if shape.again and not shape.projected:
            with f.when(f.compare("ne", reverse, 0)):
                f.call("void", "first", [block, rank, step + 1])
        if shape.r_columns:
            f.call("void", BARRIER, [b["barrier"], b["workers"], rank])
            _over(f, b, shape, "recurrent", (q0, q1), count, step)
        f.call("void", "end", [block, rank, step])
    if shape.again and not shape.projected:
        with f.when(f.compare("sgt", steps, 0)):
            f.call("void", "first", [block, rank, f.int(0)])
    _store_initial(f, b, shape, rank)
    f.finish()


def _over(
    f: Function,
    b: Block,
    shape: Shape,
    name: str,
    panels: tuple[Value, Value],
    count: Value,
    step: Value,
) -> None:
    def some(p: Value, end: Value, gate: Value) -> None:
        def body(height: int, row: Value) -> None:
            f.call("void", f"{name}_{height}", [f.arguments[0], p, end, row, step, gate])

        for_tiles(f, count, b["tiles_p"], shape.cut(1), body)

    turned, each = f.compare("ne", step & 1, 0), b["groups"]
    if name == "widen":
        for_panels(f, *panels, b["together"], lambda p, end: some(p, end, f.int(0)), turned)
        return
    with f.loop(0, f.int(shape.r_columns) // each) as i:
        for_panels(f, *panels, b["together"], lambda p, end: some(p, end, i * each), turned)
