"""The gradient of a cell's equations in one step, for some panels and rows.

It leaves the gradients of the gates' projections in `dg`, panels [column][panel][step * rows + row][W]
with the columns in the order r_only, merged, x_only.
"""

from __future__ import annotations

from collections.abc import Sequence

from .emit import I64, PTR, Function, Module, Value
from .evaluate import Evaluator
from .fields import Block
from .graph import Node
from .shape import Shape, begin, by_two, get_gradient, kept_output, slot
from .sync import share


def columns(shape: Shape) -> list[Node]:
    """The leaves whose gradients are the columns of dg, in order."""
    graph = shape.graph
    return [
        *(Node("r", (g,)) for g in graph.r_only),
        *(Node("s", (g,)) for g in graph.merged),
        *(Node("x", (g,)) for g in graph.x_only),
    ]


def dstate(f: Function, b: Block, k: int, panel: Value, row: Value) -> Value:
    """Where the gradient of state k lies that later steps gave."""
    return f.at(b[f"dstate{k}"], (panel * b["rows"] + row) * f.bytes)


def again(f: Function, b: Block, panel: Value, step: Value, row: Value) -> Value:
    """Where an output lies that is made again, by the step whose products read it: panels
    [panel][step * rows + row][W]."""
    return f.at(b["operand"], (panel * b["o_lines"] + step * b["rows"] + row) * f.bytes)


def point(module: Module, shape: Shape) -> None:
    """point(block, rank, step, count): the gradients of a step's gates and of the states before it."""
    arguments = [(PTR, "block"), (I64, "rank"), (I64, "step"), (I64, "count")]
    f = module.function("point", arguments)
    block, rank, step, count = f.arguments
    b = Block(f, block)
    p0, p1 = share(b, rank, "panels")
    start = begin(f, b, "dout", step)

    def some(places: list[tuple[Value, Value]]) -> None:
        _equations(f, b, shape, start, [(p0 + j, i) for j, i in places])

    by_two(f, shape.machine, p1 - p0, count, some)
    f.finish()


def _equations(
    f: Function, b: Block, shape: Shape, start: Value, places: Sequence[tuple[Value, Value]]
) -> None:
    """What `point` does at some places, (panel, row)."""
    graph, saved = shape.graph, shape.saved
    vectors = [_Vector(f, b, shape, start, *place) for place in places]
    value = Evaluator(f, lambda node: f.joined(vectors, lambda v: v.leaf(node)))
    for line, node in enumerate(shape.hoisted, shape.vectors):
        value.lazy(node, lambda line=line: f.joined(vectors, lambda v: v.vector(line)))
    for position, node in enumerate(saved):
        value.put(node, f.joined(vectors, lambda v, at=position: v.saved(at, len(saved))))
    if shape.reads_output:
        value.lazy(graph.states[0], lambda: f.joined(vectors, _Vector.out))
    leaves = [columns(shape), *([Node(op, (k,)) for k in range(n)] for op, n in _counts(shape))]
    with f.wide(len(vectors)):
        found = [[value(graph.grads.get(leaf, 0.0)) for leaf in some] for some in leaves]
        made = [value(graph.states[0])] if shape.again else []
    for index, vector in enumerate(vectors):
        vector.store(*[[f.part(wide, index) for wide in some] for some in (*found, made)])


def _counts(shape: Shape) -> tuple[tuple[str, int], ...]:
    return ("state", shape.states), ("vector", shape.vectors)


class _Vector:
    """Where one row's units of a panel lie in a step."""

    def __init__(self, f: Function, b: Block, shape: Shape, start: Value, panel: Value, row: Value) -> None:
        self._f, self._b, self._shape, self._panel, self._row = f, b, shape, panel, row
        self._step, self._start = f.arguments[2], start
        self._actual = f.load(I64, f.at(b["rowmap"], row * 8), 8)

    def leaf(self, node: Node) -> Value:
        """What an equation begins with."""
        f, b, index = self._f, self._b, node.args[0]
        if node.op == "vector":
            return self.vector(index)
        if node.op == "state":
            place = slot(f, b, self._shape, index, self._panel, self._step, self._row)
        elif index == 0 and self._shape.projected:
            place = f.at(b["dh"], (self._panel * b["rows"] + self._row) * f.bytes)
        else:
            place = dstate(f, b, index, self._panel, self._row)
        found = f.load(f.vector, place, f.bytes)
        if node.op != "grad" or index or self._shape.projected:
            return found
        given = get_gradient(f, b, self._actual, self._start, self._panel)
        return f.op(found.type, f"fadd {found.type} {found.name}, {given.name}")

    def vector(self, line: int) -> Value:
        """One of the vectors, or of what is made of them."""
        f, lines = self._f, self._shape.vector_lines
        place = f.at(self._b["vectors"], (self._panel * lines + line) * f.bytes)
        return f.load(f.vector, place, f.bytes)

    def saved(self, position: int, count: int) -> Value:
        """One of the values that the forward pass kept."""
        f, b = self._f, self._b
        index = (self._panel * b["steps"] + self._step) * b["rows"] + self._row
        return f.load(f.vector, f.at(b["saved"], (index * count + position) * f.bytes), f.bytes)

    def out(self) -> Value:
        """The output."""
        f = self._f
        return f.load(f.vector, kept_output(f, self._b, self._panel, self._step, self._row), f.bytes)

    def store(
        self,
        gates: Sequence[Value],
        states: Sequence[Value],
        vectors: Sequence[Value],
        outputs: Sequence[Value],
    ) -> None:
        """The gradients of the gates, of the states before, and, added up, of the vectors; and the output,
        if it is made again."""
        f, b, n = self._f, self._b, self._step * self._b["rows"] + self._row
        for column, value in enumerate(gates):
            place = ((self._panel + b["panels"] * column) * b["g_lines"] + n) * f.bytes
            f.store(value, f.at(b["dg"], place), f.bytes)
        for k, value in enumerate(states):
            if k or not self._shape.projected:
                f.store(value, dstate(f, b, k, self._panel, self._row), f.bytes)
        for j, value in enumerate(vectors):
            place = f.at(b["dvectors"], (self._panel * self._shape.vectors + j) * f.bytes)
            total = f.load(f.vector, place, f.bytes)
            f.store(f.op(f.vector, f"fadd {f.vector} {total.name}, {value.name}"), place, f.bytes)
        for value in outputs:
            step = self._step if self._shape.projected else self._step + 1
            f.store(value, again(f, b, self._panel, step, self._row), f.bytes)
