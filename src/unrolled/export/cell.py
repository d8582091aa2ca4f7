"""A cell's equations as ONNX nodes, from the graph that PyTorch traces of its function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from ..cells import Cell
from ..errors import Error
from .graph import Graph

_ONE_TO_ONE = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "neg": "Neg", "abs": "Abs", "sign": "Sign",
    "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "exp": "Exp", "log": "Log", "sqrt": "Sqrt",
    "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos", "erf": "Erf", "pow": "Pow", "floor": "Floor",
    "maximum": "Max", "minimum": "Min", "where": "Where", "gt": "Greater", "ge": "GreaterOrEqual",
    "lt": "Less", "le": "LessOrEqual", "eq": "Equal", "logical_not": "Not", "logical_and": "And",
}  # fmt: skip
"""ATen's elementwise operators and ONNX's that compute the same from the same arguments."""

_FILLS = {"full": 1, "full_like": 1, "scalar_tensor": 0}
"""Operators that make a constant, and which argument it is; a scalar broadcasts to any shape."""

_SAME = {"clone", "alias", "detach", "_to_copy", "lift_fresh_copy"}


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

    table: Any = core_aten_decompositions()
    traced = make_fx(flat, decomposition_table=table)(*given)
    if not isinstance(traced, GraphModule):
        raise Error(f"export: the cell {cell.name} cannot be traced")
    return traced


def _node(graph: Graph, cell: Cell, node: Node, values: dict[Node, Any]) -> str:
    name = str(node.target).removeprefix("aten.").partition(".")[0]

    def value(argument: Any) -> str:
        return values[argument] if isinstance(argument, Node) else graph.constant(float(argument))

    arguments: list[Any] = list(node.args)
    if name in _SAME:
        return value(arguments[0])
    if name in _FILLS:
        return graph.constant(float(arguments[_FILLS[name]]))
    if name in ("add", "sub") and node.kwargs.get("alpha", 1) != 1:
        scaled = graph.op("Mul", value(arguments[1]), graph.constant(float(node.kwargs["alpha"])))  # type: ignore[arg-type]
        return graph.op(_ONE_TO_ONE[name], value(arguments[0]), scaled)
    if name == "log1p":
        return graph.op("Log", graph.op("Add", value(arguments[0]), graph.constant(1.0)))
    if name == "expm1":
        return graph.op("Sub", graph.op("Exp", value(arguments[0])), graph.constant(1.0))
    if name == "clamp":
        low, high = ([*arguments[1:], None, None])[:2]
        bounds = [-math.inf if low is None else low, math.inf if high is None else high]
        raised = graph.op("Max", value(arguments[0]), value(bounds[0]))
        return graph.op("Min", raised, value(bounds[1]))
    if name not in _ONE_TO_ONE or (name == "div" and node.kwargs.get("rounding_mode")):
        raise Error(
            f"export: the cell {cell.name} uses {node.target}, for which no ONNX operator is known here; "
            f"write it with {', '.join(sorted(_ONE_TO_ONE))}"
        )
    return graph.op(_ONE_TO_ONE[name], *map(value, arguments))
