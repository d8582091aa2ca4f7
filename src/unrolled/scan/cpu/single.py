"""The forward kernel of one row and one step, for those who read a text symbol by symbol.

Nothing is read twice there, so panels of the weights would cost more than they save: laying them out, or
asking whether they are still the parameters'. The parameters are read as they lie in memory, row by row,
and turned in registers, so that every sum is the same chain of multiply-adds as in `forward`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .arrange import transposed
from .emit import I64, PTR, Function, Module, Value
from .fields import Block
from .shape import Shape, copies, copies_low, get, put, put_final, slot
from .step import point
from .sync import share

_AHEAD = 128
"""Bytes that are fetched ahead of a row: a processor does not follow so many rows at once by itself."""


def fits(shape: Shape) -> bool:
    """Whether cells of this shape have such a kernel: no projection, no vectors of one weight a unit."""
    return not shape.projected and not shape.vectors


def emit(shape: Shape) -> str:
    """The kernel single(block, rank) as LLVM IR; w_x, w_r, bias_x and bias_r are the parameters."""
    module = Module(shape.machine.width)
    copies(module)
    copies_low(module, shape.machine)
    point(module, shape)
    _some(module)
    _column(module)
    f = module.function("single", [(PTR, "block"), (I64, "rank")], public=True)
    block, rank = f.arguments
    b = Block(f, block)
    p0, p1 = share(b, rank, "panels")
    sums = f.room(f"[{max(1, shape.r_columns) * f.width} x float]")
    with f.loop(p0, p1) as p:
        for k in range(shape.states):
            value = get(f, f.at(b[f"initial{k}"], p * f.bytes), b["hidden"] - p * f.width)
            f.store(value, slot(f, b, shape, k, p, f.int(0), f.int(0)), f.bytes)
        _gates(f, b, shape, p, sums)
        zero, one = f.int(0), f.int(1)
        f.call("void", "point", [block, sums, p, one, zero, one, zero, zero])
        for k in range(shape.states):
            value = f.load(f.vector, slot(f, b, shape, k, p, one, zero), f.bytes)
            put_final(f, b, value, b[f"final{k}"], p, b["hidden"])
    f.finish()
    return str(module)


def _gates(f: Function, b: Block, shape: Shape, p: Value, sums: Value) -> None:
    """A panel's products, to where `point` reads them."""
    graph, hidden, size = shape.graph, b["hidden"], b["in_size"]
    lanes = hidden - p * f.width

    def bias(name: str, gate: int) -> Value:
        return get(f, f.at(b[name], (hidden * gate + p * f.width) * 4), lanes)

    def rows(name: str, gates: Sequence[int], columns: Value) -> list[Value]:
        return [f.at(b[name], (hidden * g + p * f.width) * columns * 4) for g in gates]

    def add(one: Value, other: Value) -> Value:
        return f.op(f.vector, f"fadd {f.vector} {one.name}, {other.name}")

    x_sums = {}
    for g in graph.x_gates:
        other = bias("bias_r", g) if g in graph.merged else f.constant(0.0)
        x_sums[g] = f.variable(add(bias("bias_x", g), other))
    if graph.x_gates:
        own = list(x_sums.values())
        symbols = f.compare("ne", b["indices"], f.null())
        with f.when(symbols):
            symbol = f.load(I64, b["indices"], 8)
            for place, row in zip(own, rows("w_x", graph.x_gates, size), strict=True):
                arguments = [f.at(row, symbol * 4), size * 4, lanes]
                f.set(place, add(f.call(f.vector, "column", arguments), f.get(f.vector, place)))
        with f.when(f.compare("eq", b["indices"], f.null())):
            _product(f, own, rows("w_x", graph.x_gates, size), b["x"], size, lanes)
    r_sums = {g: f.variable(add(bias("bias_r", g), f.constant(0.0))) for g in graph.r_only}
    r_sums |= {g: x_sums[g] for g in graph.merged}
    if r_sums:
        own = [r_sums[g] for g in graph.r_gates]
        _product(f, own, rows("w_r", graph.r_gates, hidden), b["initial0"], hidden, lanes)
    for index, g in enumerate(graph.r_gates):
        f.store(f.get(f.vector, r_sums[g]), f.at(sums, index * f.bytes), f.bytes)
    for g in graph.x_only:
        target = f.at(b["xp"], p * b["xp_panel"] + b["xp_gate"] * g)
        put(f, f.get(f.vector, x_sums[g]), target, lanes)


def _product(
    f: Function, sums: Sequence[Value], rows: Sequence[Value], a: Value, size: Value, lanes: Value
) -> None:
    """sums[i] += Σ_k rows[i][·][k] a[k], k in order: of each, `lanes` rows or a vector's, `size` long."""
    stride, whole = size * 4, size // f.width
    full = f.compare("sge", lanes, f.width)

    def some(k: Value, columns: Value) -> None:
        for place, row in zip(sums, rows, strict=True):
            arguments = [f.get(f.vector, place), f.at(row, k * 4), stride, f.at(a, k * 4), lanes, columns]
            f.set(place, f.call(f.vector, "some", arguments))

    for place, row in zip(sums, rows, strict=True):
        with f.when(full), f.loop(0, whole) as block:
            k = block * f.width
            _square(f, place, f.at(row, k * 4), stride, f.at(a, k * 4))
    with f.when(f.compare("slt", lanes, f.width)), f.loop(0, whole) as block:
        some(block * f.width, f.int(f.width))
    tail = size - whole * f.width
    with f.when(f.compare("sgt", tail, 0)):
        some(whole * f.width, tail)


def _square(f: Function, place: Value, row: Value, stride: Value, a: Value) -> None:
    """W rows by W columns."""
    lines = [f.at(row, stride * i) for i in range(f.width)]
    for line in lines:
        f.prefetch(f.at(line, _AHEAD))
    for j, column in enumerate(transposed(f, [f.load(f.vector, line) for line in lines])):
        factor = f.splat(f.load("float", f.at(a, 4 * j)))
        f.set(place, f.fma(factor, column, f.get(f.vector, place)))


def _some(module: Module) -> None:
    """some(sum, row, stride, a, rows, columns): the sum with a part of a square added."""
    arguments = [(module.vector, "sum"), (PTR, "row"), (I64, "stride"), (PTR, "a")]
    f = module.function("some", [*arguments, (I64, "rows"), (I64, "columns")], module.vector)
    total, row, stride, a, rows, columns = f.arguments
    place = f.variable(total)
    square = []
    for i in range(f.width):
        there = f.choose(f.compare("sgt", rows, i), columns, f.int(0))
        square.append(get(f, f.at(row, stride * i), there))
    for j, column in enumerate(transposed(f, square)):
        with f.when(f.compare("sgt", columns, j)):
            factor = f.splat(f.load("float", f.at(a, 4 * j)))
            f.set(place, f.fma(factor, column, f.get(f.vector, place)))
    f.do(f"ret {f.vector} {f.get(f.vector, place).name}")


def _column(module: Module) -> None:
    """column(row, stride, rows): one number of each of so many rows."""
    f = module.function("column", [(PTR, "row"), (I64, "stride"), (I64, "rows")], module.vector)
    row, stride, rows = f.arguments
    place = f.variable(f.constant(0.0))
    for i in range(f.width):
        with f.when(f.compare("sgt", rows, i)):
            number = f.load("float", f.at(row, stride * i))
            old = f.get(f.vector, place)
            f.set(
                place, f.op(f.vector, f"insertelement {f.vector} {old.name}, float {number.name}, i64 {i}")
            )
    f.do(f"ret {f.vector} {f.get(f.vector, place).name}")
