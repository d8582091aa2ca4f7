"""One step of the scan for some rows: the recurrent product, the cell's equations, the projection."""

from __future__ import annotations

from .emit import I64, PTR, Function, Module, Value
from .evaluate import Evaluator
from .fields import Block
from .products import for_widths
from .shape import STEP, Shape, put_output, slot
from .trace import Node


def step_rows(module: Module, shape: Shape) -> None:
    """step_R(block, p0, p1, row, step, local): one step of R rows, for some panels of units."""
    cut, columns = shape.cut(shape.r_columns), shape.r_columns
    for rows in cut.sizes:
        f = module.function(f"step_{rows}", STEP)
        b = Block(f, f.arguments[0])
        _, p0, p1, row, step, local = f.arguments
        scratch = f.room(f"[{rows * max(cut.widths[rows]) * columns * f.width} x float]")
        wide, xwide = columns * f.bytes, shape.x_columns * f.bytes
        a = slot(f, b, "state", 0, f.int(0), step, row)
        length = b["x_lines"]
        b_panel = (b["h_full"] * f.width + b["h_tail"]) * wide
        n = local * b["rows"] + row

        def tile(
            width: int,
            p: Value,
            f: Function = f,
            b: Block = b,
            rest: tuple[Value, ...] = (a, length, b_panel, n, scratch, row, step, local),
            shapes: tuple[int, int, int] = (rows, wide, xwide),
        ) -> None:
            a, length, b_panel, n, scratch, row, step, local = rest
            rows, wide, xwide = shapes
            r_only = len(shape.graph.r_only) * f.bytes
            f.call(
                "void",
                f"r_{rows}_{width}",
                [
                    a,
                    b["s_lines"] * f.bytes,
                    f.int(1),
                    b["h_full"],
                    b["h_tail"],
                    f.at(b["w_r"], p * b_panel),
                    b_panel,
                    f.at(b["xp"], (p * length + n) * xwide),
                    length * xwide,
                    f.int(xwide),
                    f.at(b["bias_r"], p * r_only),
                    f.int(r_only),
                    scratch,
                    f.int(rows * wide),
                    f.int(wide),
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
    block, sums, p0, count, first, rows, step, local = f.arguments
    b = Block(f, block)
    xwide, wide = shape.x_columns * f.bytes, shape.r_columns * f.bytes
    all_rows = b["rows"]
    length = b["x_lines"]
    rowmap = b["rowmap"]
    here, there = step & b["mask"], (step + 1) & b["mask"]
    with f.loop(0, count) as j:
        panel = p0 + j
        vectors = f.at(b["vectors"], panel * (shape.vectors * f.bytes))
        states = [f.at(b[f"state{k}"], panel * b["s_lines"] * f.bytes) for k in range(shape.states)]
        sums_panel = f.at(sums, j * rows * wide)
        xp = f.at(b["xp"], (panel * length + local * all_rows) * xwide)
        with f.loop(0, rows) as i:
            row = first + i
            gates_r, gates_x = f.at(sums_panel, i * wide), f.at(xp, row * xwide)

            def leaf(
                node: Node,
                gates_r: Value = gates_r,
                gates_x: Value = gates_x,
                vectors: Value = vectors,
                states: list[Value] = states,
                row: Value = row,
            ) -> Value:
                index = node.args[0]
                if node.op in ("r", "s"):
                    place = f.at(gates_r, shape.graph.r_gates.index(index) * f.bytes)
                elif node.op == "x":
                    place = f.at(gates_x, shape.graph.x_gates.index(index) * f.bytes)
                elif node.op == "vector":
                    place = f.at(vectors, index * f.bytes)
                else:
                    place = f.at(states[index], (here * all_rows + row) * f.bytes)
                return f.load(f.vector, place, f.bytes)

            value = Evaluator(f, leaf)
            results = [value(s) for s in shape.graph.states]
            kept = [value(s) for s in shape.plan.saved] if shape.plan else []
            for k, result in enumerate(results):
                if k or not shape.projected:
                    f.store(result, f.at(states[k], (there * all_rows + row) * f.bytes), f.bytes)
            if shape.projected:
                index = panel * b["s_lines"] + here * all_rows + row
                f.store(results[0], f.at(b["raw"], index * f.bytes), f.bytes)
            else:
                put_output(f, b, results[0], f.load(I64, f.at(rowmap, row * 8), 8), step, panel)
            base = f.at(b["saved"], ((panel * b["steps"] + step) * all_rows + row) * (len(kept) * f.bytes))
            for index, result in enumerate(kept):
                f.store(result, f.at(base, index * f.bytes), f.bytes)
    f.finish()


def projected_rows(module: Module, shape: Shape) -> None:
    """project_R(block, q0, q1, row, step, local): output and state 0 from the cell's own output."""
    cut = shape.cut(1)
    for rows in cut.sizes:
        f = module.function(f"project_{rows}", STEP)
        b = Block(f, f.arguments[0])
        _, q0, q1, row, step, _ = f.arguments
        slots = b["s_lines"]
        a = f.at(b["raw"], ((step & b["mask"]) * b["rows"] + row) * f.bytes)
        b_panel = (b["p_full"] * f.width + b["p_tail"]) * f.bytes

        def tile(
            width: int,
            q: Value,
            f: Function = f,
            b: Block = b,
            rest: tuple[Value, ...] = (slots, a, b_panel, row, step),
            rows: int = rows,
        ) -> None:
            slots, a, b_panel, row, step = rest
            state = slot(f, b, "state", 0, q, step + 1, row)
            zeros, nothing = b["zeros"], f.int(0)
            f.call(
                "void",
                f"p_{rows}_{width}",
                [
                    *(a, slots * f.bytes, f.int(1), b["p_full"], b["p_tail"]),
                    *(f.at(b["w_p"], q * b_panel), b_panel, zeros, nothing, nothing, zeros, nothing),
                    *(state, slots * f.bytes, f.int(f.bytes)),
                ],
            )
            with f.loop(0, width) as j, f.loop(0, rows) as i:
                value = f.load(f.vector, f.at(state, (j * slots + i) * f.bytes), f.bytes)
                put_output(f, b, value, f.load(I64, f.at(b["rowmap"], (row + i) * 8), 8), step, q + j)

        for_widths(f, q0, q1, cut.widths[rows], tile)
        f.finish()
