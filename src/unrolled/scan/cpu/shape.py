"""What a kernel is generated for, and the pieces that every kernel has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .emit import I64, PTR, Function, Module, Value
from .fields import Block
from .graph import Graph, Node
from .keep import Plan
from .machine import Machine
from .products import Tiles, product, tiles

BARRIER = "barrier"
STEP = [(PTR, "block"), (I64, "p0"), (I64, "p1"), (I64, "row"), (I64, "step"), (I64, "local")]


def panels(size: int, width: int) -> int:
    """How many panels hold so many units."""
    return -(-size // width)


@dataclass(frozen=True)
class Shape:
    """What a kernel is generated for."""

    graph: Graph
    vectors: int
    projected: bool
    machine: Machine
    plan: Plan | None = None
    """What is kept for the backward; None in inference."""
    hoisted: tuple[Node, ...] = ()
    """What is made of the vectors alone; in panels each lies after them, as a vector more."""

    @property
    def reads_input(self) -> bool:
        """Whether there is an input product."""
        return bool(self.graph.x_gates)

    @property
    def vector_lines(self) -> int:
        """Vectors in a panel, with those that are made of them."""
        return self.vectors + len(self.hoisted)

    @property
    def r_columns(self) -> int:
        """Columns of the recurrent product."""
        return len(self.graph.r_gates)

    @property
    def states(self) -> int:
        """How many states there are."""
        return len(self.graph.states)

    @property
    def saved(self) -> tuple[Node, ...]:
        """What is kept of every step."""
        return self.plan.saved if self.plan else ()

    @property
    def reads_output(self) -> bool:
        """Whether the backward scan reads every step's output."""
        return self.plan is not None and self.plan.output

    @property
    def again(self) -> bool:
        """Whether the backward scan makes every step's output again."""
        return self.plan is not None and self.plan.again

    def ring(self, k: int | None) -> bool:
        """Whether of state k, or of the output before its projection (None), there are two steps' in turns,
        instead of every step's for the backward."""
        if self.plan is None:
            return True
        return self.plan.again if k is None else k in self.plan.spared

    def cut(self, columns: int) -> Tiles:
        """The tiles of a product with so many columns."""
        return tiles(max(1, columns), self.machine.registers)


def by_two(
    f: Function,
    machine: Machine,
    count: Value,
    rows: Value,
    body: Callable[[list[tuple[Value, Value]]], None],
) -> None:
    """body(places) for all (j, i) below (count, rows), two at a time, and the last alone if one is left.

    One alone would wait for its own results: a cell's functions are long chains. Where two narrow vectors
    would be one of those that are avoided, each is alone all the same.
    """
    j, i = f.variable(f.int(0)), f.variable(f.int(0))

    def take() -> tuple[Value, Value]:
        now = f.get(I64, j), f.get(I64, i)
        last = f.compare("eq", now[1] + 1, rows)
        f.set(j, f.choose(last, now[0] + 1, now[0]))
        f.set(i, f.choose(last, f.int(0), now[1] + 1))
        return now

    total = count * rows
    if machine.narrowed and f.width == 4:
        with f.loop(0, total):
            body([take()])
        return
    with f.loop(0, total // 2):
        body([take(), take()])
    with f.when(f.compare("sgt", total & 1, 0)):
        body([take()])


def products(
    module: Module, name: str, cut: Tiles, sources: list[tuple[str, int]], fetching: bool = False
) -> None:
    """A function name_ROWS_PANELS for every tile that `cut` asks for, of which the large ones can fetch."""
    for rows in cut.sizes:
        for panels in cut.widths[rows]:
            can_fetch = fetching and cut.fetches(rows, panels)
            tile = rows, panels, cut.spans[rows]
            product(module, f"{name}_{rows}_{panels}", tile, sources, can_fetch)


def copies(module: Module) -> None:
    """get(address, lanes): a vector, or what is there of it; put(value, address, lanes)."""
    # Called, they would have every vector that their caller holds go to the stack and back.
    f = module.function("get", [(PTR, "address"), (I64, "lanes")], module.vector, inline=True)
    address, lanes = f.arguments
    result = f.variable(f.constant(0.0))
    whole = f.compare("sge", lanes, f.width)
    with f.when(whole):
        f.set(result, f.load(f.vector, address))
    with f.when(f.compare("slt", lanes, f.width)):
        f.set(result, f.load_some(address, lanes))
    value = f.get(f.vector, result)
    f.do(f"ret {f.vector} {value.name}")
    f = module.function("put", [(module.vector, "value"), (PTR, "address"), (I64, "lanes")], inline=True)
    value, address, lanes = f.arguments
    with f.when(f.compare("sge", lanes, f.width)):
        f.store(value, address)
    with f.when(f.compare("slt", lanes, f.width)):
        f.store_some(value, address, lanes)
    f.finish()


def copies_low(module: Module, machine: Machine) -> None:
    """get_low and put_low: as `get` and `put`, from and to bfloat16, rounded to the nearest even."""
    f = module.function("get_low", [(PTR, "address"), (I64, "lanes")], module.vector, inline=True)
    address, lanes = f.arguments
    halves, words = f"<{f.width} x i16>", f"<{f.width} x i32>"
    bits = f.variable(f.integers(0))
    with f.when(f.compare("sge", lanes, f.width)):
        f.set(bits, f.op(words, f"zext {halves} {f.load(halves, address, 2).name} to {words}"))
    with f.when(f.compare("slt", lanes, f.width)):
        some = f.load_some(address, lanes, "i16")
        f.set(bits, f.op(words, f"zext {halves} {some.name} to {words}"))
    high = f.op(words, f"shl {words} {f.get(words, bits).name}, {f.integers(16).name}")
    value = f.op(f.vector, f"bitcast {words} {high.name} to {f.vector}")
    f.do(f"ret {f.vector} {value.name}")
    f = module.function(
        "put_low", [(module.vector, "value"), (PTR, "address"), (I64, "lanes")], inline=True
    )
    value, address, lanes = f.arguments
    rounded = (_converted if machine.bfloat16 else _rounded)(f, value)
    with f.when(f.compare("sge", lanes, f.width)):
        f.store(rounded, address, 2)
    with f.when(f.compare("slt", lanes, f.width)):
        f.store_some(rounded, address, lanes, "i16")
    f.finish()


def _converted(f: Function, value: Value) -> Value:
    """As `_rounded`, by the processor's own instruction, which takes what is below 2^-126 for zero."""
    type = f"<{f.width} x bfloat>"
    low = f.op(type, f"fptrunc {f.vector} {value.name} to {type}")
    return f.op(f"<{f.width} x i16>", f"bitcast {type} {low.name} to <{f.width} x i16>")


def _rounded(f: Function, value: Value) -> Value:
    """The upper halves of the floats, to the nearest, ties to even; what is no number stays none."""
    words = f"<{f.width} x i32>"
    bits = f.op(words, f"bitcast {f.vector} {value.name} to {words}")
    high = f.op(words, f"lshr {words} {bits.name}, {f.integers(16).name}")
    odd = f.op(words, f"and {words} {high.name}, {f.integers(1).name}")
    added = f.op(words, f"add {words} {odd.name}, {f.integers(0x7FFF).name}")
    near = f.op(words, f"add {words} {bits.name}, {added.name}")
    near = f.op(words, f"lshr {words} {near.name}, {f.integers(16).name}")
    wrong = f.op(f"<{f.width} x i1>", f"fcmp uno {f.vector} {value.name}, {value.name}")
    chosen = f.choose(wrong, f.integers(0x7FC0), near)
    return f.op(f"<{f.width} x i16>", f"trunc {words} {chosen.name} to <{f.width} x i16>")


def get(f: Function, address: Value, lanes: Value) -> Value:
    """A vector of a row-major tensor; zeros past its last lane."""
    return f.call(f.vector, "get", [address, lanes])


def begin(f: Function, b: Block, name: str, step: Value) -> Value:
    """The bytes before a step's first row in a tensor of the caller's, padded or packed."""
    before = f.load_constant(I64, f.at(b["starts"], step * 8), 8)
    return before * b[f"{name}_row"] + step * b[f"{name}_step"]


def outputs(f: Function, b: Block, step: Value) -> dict[str, Value]:
    """Where a step begins in the tensors that `put_output` writes; to be asked before the loops."""
    return {name: begin(f, b, name, step) for name in ("out", "low")}


def features(
    f: Function, b: Block, steps: tuple[Value, Value], origin: Value, panels: Value, lines: Value
) -> None:
    """Some steps' features from a row-major tensor into panels [panel][(step - origin) * rows + row][W],
    each of so many lines."""
    rows = b["rows"]
    with f.loop(*steps) as s, f.loop(0, f.load(I64, f.at(b["active"], s * 8), 8)) as row:
        actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)
        source = f.at(b["x"], begin(f, b, "x", s) + actual * b["x_row"])
        line = (s - origin) * rows + row
        with f.loop(0, b["in_panels"]) as k:
            value = get(f, f.at(source, k * f.bytes), b["in_size"] - k * f.width)
            f.store(value, f.at(panels, (k * lines + line) * f.bytes), f.bytes)


def put(f: Function, value: Value, address: Value, lanes: Value) -> None:
    """Writes a vector into a row-major tensor, up to its last lane."""
    f.call("void", "put", [value, address, lanes])


def put_output(
    f: Function, b: Block, value: Value, row: Value, begins: dict[str, Value], panel: Value
) -> None:
    """Writes a panel of the output into the tensors that are there: `out`, and `low` in bfloat16."""
    lanes = b["out_size"] - panel * f.width
    for name, function, each in (("out", "put", f.bytes), ("low", "put_low", f.bytes // 2)):
        with f.when(f.compare("ne", b[name], f.null())):
            at = begins[name] + row * b[f"{name}_row"] + panel * each
            f.call("void", function, [value, f.at(b[name], at), lanes])


def put_final(f: Function, b: Block, value: Value, row: Value, panel: Value, size: Value) -> None:
    """Writes a panel of a last state, in float32 or bfloat16 (final_low), at the row's address."""
    lanes = size - panel * f.width
    with f.when(f.compare("ne", b["final_low"], 0)):
        f.call("void", "put_low", [value, f.at(row, panel * (f.bytes // 2)), lanes])
    with f.when(f.compare("eq", b["final_low"], 0)):
        put(f, value, f.at(row, panel * f.bytes), lanes)


def get_gradient(f: Function, b: Block, row: Value, start: Value, panel: Value) -> Value:
    """A panel of the output's gradient in the step that begins there, in float32 or bfloat16 (dout_low)."""
    lanes = b["out_size"] - panel * f.width
    at = f.at(b["dout"], start + row * b["dout_row"])
    found = f.variable(f.constant(0.0))
    low = f.compare("ne", b["dout_low"], 0)
    with f.when(low):
        f.set(found, f.call(f.vector, "get_low", [f.at(at, panel * (f.bytes // 2)), lanes]))
    with f.when(f.compare("eq", b["dout_low"], 0)):
        f.set(found, get(f, f.at(at, panel * f.bytes), lanes))
    return f.get(f.vector, found)


def lines(b: Block, shape: Shape, k: int | None) -> Value:
    """The lines of a panel of state k, or of `raw` (None)."""
    return b["rows"] * 2 + 1 if shape.ring(k) else b["s_lines"]


def slot(
    f: Function, b: Block, shape: Shape, k: int | None, panel: Value, step: Value, row: Value
) -> Value:
    """Where state k, or `raw` (None), of panels [panel][slot][row][W], lies before the step."""
    which = step & 1 if shape.ring(k) else step
    index = panel * lines(b, shape, k) + which * b["rows"] + row
    return f.at(b["raw" if k is None else f"state{k}"], index * f.bytes)


def for_begun(f: Function, b: Block, step: Value, body: Callable[[Value], None]) -> None:
    """body(row) for the rows that begin, or begin again, at the step."""
    active = b["active"]
    now = f.load(I64, f.at(active, step * 8), 8)
    before = f.variable(f.int(0))
    with f.when(f.compare("sgt", step, 0)):
        f.set(before, f.load(I64, f.at(active, step * 8 - 8), 8))
    old = f.get(I64, before)
    with f.loop(old, now) as row:
        body(row)
    with f.when(f.compare("ne", b["reset"], f.null())):
        flags, rowmap = f.at(b["reset"], step * b["reset_step"]), b["rowmap"]
        with f.loop(0, f.least(old, now)) as row:
            actual = f.load(I64, f.at(rowmap, row * 8), 8)
            flag = f.load("i8", f.at(flags, actual * b["reset_row"]), 1)
            with f.when(f.compare("ne", flag, 0)):
                body(row)


def kept_output(f: Function, b: Block, panel: Value, step: Value, row: Value) -> Value:
    """Where the output of a step lies that the backward reads: in the slots of state 0, or, where a reset
    writes over them, in memory of its own."""
    return f.at(b["outputs"], (panel * b["s_lines"] + step * b["rows"] + row) * f.bytes)
