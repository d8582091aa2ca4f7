"""One step of the scan for some rows: the recurrent product, the cell's equations, the projection."""

from __future__ import annotations

from collections.abc import Sequence

from .emit import I64, PTR, Function, Module, Value
from .evaluate import Evaluator
from .fields import Block
from .graph import Node
from .products import coming, for_widths
from .shape import STEP, Shape, by_two, kept_output, lines, outputs, put_output, slot


def step_rows(module: Module, shape: Shape) -> None:
    """step_R(block, p0, p1, row, step, local): one step of R rows, for some panels of units."""
    cut, columns = shape.cut(shape.r_columns), shape.r_columns
    for rows in cut.sizes:
        f = module.function(f"step_{rows}", STEP)
        b = Block(f, f.arguments[0])
        _, p0, p1, row, step, local = f.arguments
        scratch = f.room(f"[{rows * max(cut.widths[rows]) * columns * f.width} x float]")
        wide = columns * f.bytes
        a = slot(f, b, shape, 0, f.int(0), step, row)
        a_lines = lines(b, shape, 0) * f.bytes
        b_panel = (b["h_full"] * f.width + b["h_tail"]) * wide
        n = local * b["rows"] + row
        # The panels after these, or before them where the pass is turned.
        each = b["panel_step"]
        away = f.choose(f.compare("ne", step & 1, 0), 0 - each, each)

        def tile(
            width: int,
            p: Value,
            f: Function = f,
            b: Block = b,
            rest: tuple[Value, ...] = (a, a_lines, b_panel, n, scratch, row, step, local, away),
            shapes: tuple[int, int] = (rows, wide),
        ) -> None:
            a, a_lines, b_panel, n, scratch, row, step, local, away = rest
            rows, wide = shapes
            r_only = len(shape.graph.r_only) * f.bytes
            f.call(
                "void",
                f"r_{rows}_{width}",
                [
                    a,
                    a_lines,
                    f.int(1),
                    b["h_full"],
                    b["h_tail"],
                    f.at(b["w_r"], p * b_panel),
                    b_panel,
                    f.at(b["xp"], n * b["xp_row"] + p * b["xp_panel"]),
                    b["xp_panel"],
                    b["xp_row"],
                    b["xp_gate"],
                    f.at(b["bias_r"], p * r_only),
                    f.int(r_only),
                    scratch,
                    f.int(rows * wide),
                    f.int(wide),
                    coming(f, cut, b["fetch"], b["w_r"], b_panel, p + away, (rows, width, row)),
                ],
            )
            point = [scratch, p, f.int(width), row, f.int(rows), step, local]
            f.call("void", "point", [f.arguments[0], *point])

        for_widths(f, p0, p1, cut.widths[rows], tile)
        f.finish()


POINT = [(PTR, "block"), (PTR, "sums"), (I64, "p"), (I64, "count")]
POINT += [(I64, "row"), (I64, "rows"), (I64, "step"), (I64, "local")]


def point(module: Module, shape: Shape) -> None:
    """point(…): the cell's equations for some panels and rows of a step; the next states stored."""
    f = module.function("point", POINT)
    b = Block(f, f.arguments[0])
    begins = outputs(f, b, f.arguments[6])
    count, rows = f.arguments[3], f.arguments[5]
    by_two(f, shape.machine, count, rows, lambda places: _equations(f, b, shape, begins, places))
    f.finish()


def _equations(
    f: Function, b: Block, shape: Shape, begins: dict[str, Value], places: Sequence[tuple[Value, Value]]
) -> None:
    """What `point` does at some places, (panel, row) counted from its first."""
    vectors = [_Vector(f, b, shape, *place) for place in places]
    value = Evaluator(f, lambda node: f.joined(vectors, lambda v: v.leaf(node)))
    for line, node in enumerate(shape.hoisted, shape.vectors):
        value.lazy(node, lambda line=line: f.joined(vectors, lambda v: v.vector(line)))
    with f.wide(len(vectors)):
        states = [value(s) for s in shape.graph.states]
        kept = [value(s) for s in shape.saved]
    for index, vector in enumerate(vectors):
        vector.store(*[[f.part(wide, index) for wide in some] for some in (states, kept)])
    # After all have been stored: at the first branch the compiler would put off what is left to compute.
    for index, vector in enumerate(vectors):
        vector.put_out(f.part(states[0], index), begins)


class _Vector:
    """Where one row's units of a panel lie in a step."""

    def __init__(self, f: Function, b: Block, shape: Shape, j: Value, i: Value) -> None:
        _, sums, p0, _, first, rows, self._step, local = f.arguments
        self._f, self._b, self._shape = f, b, shape
        wide = shape.r_columns * f.bytes
        self._panel, self._row = p0 + j, first + i
        self._r = f.at(sums, (j * rows + i) * wide)
        n = local * b["rows"] + self._row
        self._x = f.at(b["xp"], n * b["xp_row"] + self._panel * b["xp_panel"])
        self._vectors = f.at(b["vectors"], self._panel * (shape.vector_lines * f.bytes))

    def leaf(self, node: Node) -> Value:
        """What an equation begins with."""
        f, index, graph = self._f, node.args[0], self._shape.graph
        if node.op in ("r", "s"):
            place = f.at(self._r, graph.r_gates.index(index) * f.bytes)
        elif node.op == "x":
            # Gates whose units do not fill vectors follow each other without a gap.
            return f.load(f.vector, f.at(self._x, self._b["xp_gate"] * index))
        elif node.op == "vector":
            return self.vector(index)
        else:
            place = slot(f, self._b, self._shape, index, self._panel, self._step, self._row)
        return f.load(f.vector, place, f.bytes)

    def vector(self, line: int) -> Value:
        """One of the vectors, or of what is made of them."""
        return self._f.load(self._f.vector, self._f.at(self._vectors, line * self._f.bytes), self._f.bytes)

    def store(self, states: Sequence[Value], kept: Sequence[Value]) -> None:
        """The next states, and what the backward wants."""
        f, b, panel, row, step = self._f, self._b, self._panel, self._row, self._step
        shape = self._shape
        for k, state in enumerate(states):
            if k or not shape.projected:
                f.store(state, slot(f, b, shape, k, panel, step + 1, row), f.bytes)
        if shape.projected:
            f.store(states[0], slot(f, b, shape, None, panel, step, row), f.bytes)
        if kept:
            place = ((panel * b["steps"] + step) * b["rows"] + row) * (len(kept) * f.bytes)
            for index, value in enumerate(kept):
                f.store(value, f.at(b["saved"], place + index * f.bytes), f.bytes)

    def put_out(self, value: Value, begins: dict[str, Value]) -> None:
        """The output, unless it is yet to be projected."""
        if self._shape.projected:
            return
        f, b = self._f, self._b
        row = f.load(I64, f.at(b["rowmap"], self._row * 8), 8)
        put_output(f, b, value, row, begins, self._panel)
        if self._shape.reads_output:
            with f.when(f.compare("ne", b["reset"], f.null())):
                place = kept_output(f, b, self._panel, self._step, self._row)
                f.store(value, place, f.bytes)


def projected_rows(module: Module, shape: Shape) -> None:
    """project_R(block, q0, q1, row, step, local): output and state 0 from the cell's own output."""
    cut = shape.cut(1)
    for rows in cut.sizes:
        f = module.function(f"project_{rows}", STEP)
        b = Block(f, f.arguments[0])
        _, q0, q1, row, step, _ = f.arguments
        begins = outputs(f, b, step)
        a = slot(f, b, shape, None, f.int(0), step, row)
        a_lines, out_lines = lines(b, shape, None), lines(b, shape, 0)
        b_panel = (b["p_full"] * f.width + b["p_tail"]) * f.bytes

        def tile(
            width: int,
            q: Value,
            f: Function = f,
            b: Block = b,
            rest: tuple[Value, ...] = (a, a_lines, out_lines, b_panel, row, step),
            rows: int = rows,
            begins: dict[str, Value] = begins,
        ) -> None:
            a, a_lines, out_lines, b_panel, row, step = rest
            state = slot(f, b, shape, 0, q, step + 1, row)
            zeros, nothing = b["zeros"], f.int(0)
            f.call(
                "void",
                f"p_{rows}_{width}",
                [
                    *(a, a_lines * f.bytes, f.int(1), b["p_full"], b["p_tail"]),
                    *(f.at(b["w_p"], q * b_panel), b_panel),
                    *(zeros, nothing, nothing, nothing, zeros, nothing),
                    *(state, out_lines * f.bytes, f.int(f.bytes), f.null()),
                ],
            )
            with f.loop(0, width) as j, f.loop(0, rows) as i:
                value = f.load(f.vector, f.at(state, (j * out_lines + i) * f.bytes), f.bytes)
                actual = f.load(I64, f.at(b["rowmap"], (row + i) * 8), 8)
                put_output(f, b, value, actual, begins, q + j)

        for_widths(f, q0, q1, cut.widths[rows], tile)
        f.finish()
