"""A cell's equations as ONNX nodes, from the graph that PyTorch traces of its function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.func import functionalize
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from ..cells import Cell
from ..errors import Error
from .graph import Graph

_ONE_TO_ONE = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "neg": "Neg", "abs": "Abs", "sign": "Sign",
    "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "exp": "Exp", "log": "Log", "sqrt": "Sqrt",
    "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos", "erf": "Erf", "pow": "Pow", "floor": "Floor",
    "ceil": "Ceil", "round": "Round", "maximum": "Max", "minimum": "Min", "isnan": "IsNaN",
    "isinf": "IsInf", "gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual",
    "eq": "Equal",
}  # fmt: skip
"""ATen's elementwise operators and ONNX's that compute the same from the same numbers."""

_LOGICAL = {
    "logical_and": "And", "bitwise_and": "And", "logical_or": "Or", "bitwise_or": "Or",
    "logical_xor": "Xor", "bitwise_xor": "Xor", "logical_not": "Not", "bitwise_not": "Not",
}  # fmt: skip
"""The same of truth values."""

_COMPOSED: dict[str, Callable[..., str]] = {
    "log1p": lambda graph, a: graph.op("Log", graph.op("Add", a, graph.constant(1.0))),
    "expm1": lambda graph, a: graph.op("Sub", graph.op("Exp", a), graph.constant(1.0)),
    "rsqrt": lambda graph, a: graph.op("Reciprocal", graph.op("Sqrt", a)),
    "exp2": lambda graph, a: graph.op("Pow", graph.constant(2.0), a),
    "log2": lambda graph, a: graph.op("Mul", graph.op("Log", a), graph.constant(1 / math.log(2))),
    "log10": lambda graph, a: graph.op("Mul", graph.op("Log", a), graph.constant(1 / math.log(10))),
    "trunc": lambda graph, a: graph.op("Mul", graph.op("Sign", a), graph.op("Floor", graph.op("Abs", a))),
    "copysign": lambda graph, a, b: graph.op(
        "Where", _below_zero(graph, b), graph.op("Neg", graph.op("Abs", a)), graph.op("Abs", a)
    ),
    "ne": lambda graph, a, b: graph.op("Not", graph.op("Equal", a, b)),
}
"""Those that ONNX makes of several."""

_OTHERS = {"where", "clamp"}
"""Those that `_node` writes by itself."""

_FILLS = {"full": 1, "full_like": 1, "scalar_tensor": 0}
"""Operators that make a constant, and which argument it is; a scalar broadcasts to any shape."""

_SAME = {"clone", "alias", "detach", "_to_copy", "lift_fresh_copy"}
"""Those that give what they are given, a truth value as a number where that is wanted."""

_TRUTHS = {*_LOGICAL, *_SAME, *_FILLS, "gt", "ge", "lt", "le", "eq", "ne", "isnan", "isinf", "where"}
"""Those whose results may be truth values."""


def write(
    graph: Graph,
    cell: Cell,
    x: Sequence[str],
    r: Sequence[str] | None,
    states: Sequence[str],
    vectors: Sequence[str],
) -> list[str]:
    """Adds the cell's nodes to the graph; the names of the next states."""
    traced = _trace(cell)
    given = iter([*x, *(r or ()), *states, *vectors])
    values: dict[Node, Any] = {}
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            values[node] = next(given)
        elif node.op == "get_attr":
            values[node] = graph.constant(getattr(traced, str(node.target)))
        elif node.op == "call_function":
            values[node] = _node(graph, cell, node, values)
        elif node.op == "output":
            return [values[n] for n in node.args[0]]  # type: ignore[union-attr]
    raise Error(f"export: the graph of the cell {cell.name} has no end")


def _trace(cell: Cell) -> GraphModule:
    # Odd sizes, so that none of them is taken for a count.
    projections = cell.gates * (1 if cell.recurrent == "none" else 2)
    given = [torch.ones(5, 7) for _ in range(projections + cell.states)]
    given += [torch.ones(7) for _ in cell.vectors]

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        rest = iter(tensors)
        x = tuple(next(rest) for _ in range(cell.gates))
        r = None if cell.recurrent == "none" else tuple(next(rest) for _ in range(cell.gates))
        states = tuple(next(rest) for _ in range(cell.states))
        return cell(x, r, states, tuple(rest))

    # What is an operator of ATen's core, but not of ONNX's as torch has it, is taken apart as well.
    aten = torch.ops.aten
    more = [aten.elu, aten.gelu, aten.hardtanh, aten.leaky_relu]
    table: Any = {**core_aten_decompositions(), **get_decompositions(more)}
    # What is written in place becomes another tensor.
    traced = make_fx(functionalize(flat), decomposition_table=table)(*given)
    if not isinstance(traced, GraphModule):
        raise Error(f"export: the cell {cell.name} cannot be traced")
    return traced


def _below_zero(graph: Graph, a: str) -> str:
    """Whether its sign is minus, as -0.0's is."""
    inverse = graph.op("Div", graph.constant(1.0), a)
    return graph.op("Or", *(graph.op("Less", v, graph.constant(0.0)) for v in (a, inverse)))


def _node(graph: Graph, cell: Cell, node: Node, values: dict[Node, Any]) -> str:
    name = str(node.target).removeprefix("aten.").partition(".")[0]
    arguments: list[Any] = list(node.args)

    def number(argument: Any) -> str:
        if not isinstance(argument, Node):
            return graph.constant(float(argument))
        return graph.op("Cast", values[argument], to=1) if _is_truth(argument) else values[argument]

    def truth(argument: Node) -> str:
        if _is_truth(argument):
            return values[argument]
        return graph.op("Not", graph.op("Equal", values[argument], graph.constant(0.0)))

    if name == "mul" and _is_truth(node):
        name = "logical_and"
    _check(cell, node, name)
    if name in _SAME:
        return truth(arguments[0]) if _is_truth(node) else number(arguments[0])
    if name in _FILLS:
        filled = graph.constant(float(arguments[_FILLS[name]]))
        return graph.op("Cast", filled, to=9) if _is_truth(node) else filled
    if name in ("add", "sub") and node.kwargs.get("alpha", 1) != 1:
        scaled = graph.op("Mul", number(arguments[1]), graph.constant(float(node.kwargs["alpha"])))  # type: ignore[arg-type]
        return graph.op(_ONE_TO_ONE[name], number(arguments[0]), scaled)
    if name == "clamp":
        low, high = ([*arguments[1:], None, None])[:2]
        bounds = [-math.inf if low is None else low, math.inf if high is None else high]
        raised = graph.op("Max", number(arguments[0]), number(bounds[0]))
        return graph.op("Min", raised, number(bounds[1]))
    if name == "where":
        if not _is_truth(node):
            return graph.op("Where", truth(arguments[0]), *map(number, arguments[1:]))
        condition, a, b = map(truth, arguments)  # of which onnxruntime has no Where
        other = graph.op("And", graph.op("Not", condition), b)
        return graph.op("Or", graph.op("And", condition, a), other)
    if name in _LOGICAL:
        return graph.op(_LOGICAL[name], *map(truth, arguments))
    if name in _COMPOSED:
        return _COMPOSED[name](graph, *map(number, arguments))
    return graph.op(_ONE_TO_ONE[name], *map(number, arguments))


def _check(cell: Cell, node: Node, name: str) -> None:
    """Raises Error unless what the node computes is known here."""
    numbers = node.meta["val"].dtype is torch.float32 or name in _FILLS
    known = name in {*_ONE_TO_ONE, *_LOGICAL, *_COMPOSED, *_OTHERS, *_SAME, *_FILLS}
    fits = name in _TRUTHS if _is_truth(node) else numbers
    if not known or not fits or set(node.kwargs) & {"rounding_mode", "decimals"}:
        raise Error(
            f"export: the cell {cell.name} uses {node.target}, for which no ONNX operator is known here; "
            f"write it with {', '.join(sorted({*_ONE_TO_ONE, *_LOGICAL, *_COMPOSED, *_OTHERS}))}"
        )


def _is_truth(node: Node) -> bool:
    return node.meta["val"].dtype is torch.bool
