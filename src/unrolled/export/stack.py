"""A stack of recurrent layers as ONNX: its standard nodes where they compute the cell, else a Scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from .. import cells
from ..scan import Stack, Weights
from . import cell as equations
from .graph import Graph


@dataclass(frozen=True)
class Node:
    """A cell that ONNX has: the operator, torch's gate for each of ONNX's, and its attributes."""

    kind: str
    gates: tuple[int, ...]
    activations: tuple[str, ...]
    options: tuple[tuple[str, int], ...] = ()


NODES = {
    cells.rnn_tanh: Node("RNN", (0,), ("Tanh",)),
    cells.rnn_relu: Node("RNN", (0,), ("Relu",)),
    # r, z, n here; z, r, h there.
    cells.gru: Node("GRU", (1, 0, 2), ("Sigmoid", "Tanh"), (("linear_before_reset", 1),)),
    # i, f, g, o here; i, o, f, c there.
    cells.lstm: Node("LSTM", (0, 3, 1, 2), ("Sigmoid", "Tanh", "Tanh")),
    cells.peephole_lstm: Node("LSTM", (0, 3, 1, 2), ("Sigmoid", "Tanh", "Tanh")),
}
RESET_BEFORE = Node("GRU", (1, 0, 2), ("Sigmoid", "Tanh"), (("linear_before_reset", 0),))
"""What a ResetBeforeGRU is, whose parameters are a GRU's."""
PEEPHOLES = (0, 2, 1)
"""peephole_i, _f, _o here; i, o, f there."""


@dataclass(frozen=True)
class Rows:
    """What the rows of the batch hold: their lengths (batch,) int64, and as masks."""

    lengths: str
    valid: str
    """(time, batch, 1): whether the step lies inside its row."""
    empty: str
    """(1, batch, 1): whether the row has no step."""


def rows(graph: Graph, lengths: str, x: str) -> Rows:
    """The masks of `lengths`, for an input (time, batch, …)."""
    inside = graph.op("Less", _steps(graph, x), lengths)
    none = graph.op("Equal", lengths, graph.constant([0]))
    return Rows(
        lengths,
        graph.op("Unsqueeze", inside, graph.constant([2])),
        graph.op("Unsqueeze", none, graph.constant([0, 2])),
    )


def at(graph: Graph, x: str, step: str) -> str:
    """(time, batch, 1): whether it is this step (batch,) of an input (time, batch, …)."""
    return graph.op("Unsqueeze", graph.op("Equal", _steps(graph, x), step), graph.constant([2]))


def _steps(graph: Graph, x: str) -> str:
    """(time, 1): the numbers of the steps."""
    time = graph.op("Gather", graph.op("Shape", x), graph.constant(np.array(0)))
    steps = graph.op("Range", graph.constant(np.array(0)), time, graph.constant(np.array(1)))
    return graph.op("Unsqueeze", steps, graph.constant([1]))


def joined(graph: Graph, parts: Sequence[str]) -> str:
    """The states of several layers or directions, one after another."""
    return graph.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]


def parted(graph: Graph, state: str, count: int) -> list[str]:
    """The states of so many layers or directions, each by itself."""
    return graph.op("Split", state, count=count, axis=0) if count > 1 else [state]


def write(
    graph: Graph,
    stack: Stack,
    parameters: Sequence[Tensor],
    x: str,
    state: Sequence[str],
    of: Rows,
    node: Node | None = None,
) -> tuple[str, list[str]]:
    """Adds the layers to the graph: the output (time, batch, directions * output) and the last states.

    x: (time, batch, feature). state: (layers * directions, batch, size) each. node: what a layer is in
    ONNX, if not what its cell is there.
    """
    node = node or (None if stack.proj_size else NODES.get(stack.cell))
    finals: list[list[str]] = []
    slots = stack.num_layers * stack.directions
    apart = [parted(graph, s, slots) for s in state]
    for layer, weights in enumerate(stack.weights(parameters)):
        begin = layer * stack.directions
        initial = [parts[begin : begin + stack.directions] for parts in apart]
        if node is not None:
            x, last = _standard(graph, node, stack, weights, x, initial, of)
            finals.append(last)
        else:
            outputs = []
            for direction, one in enumerate(weights):
                before = [parts[direction] for parts in initial]
                output, last = _scan(graph, stack, one, x, before, of, direction == 1)
                outputs.append(output)
                finals.append(last)
            x = graph.op("Concat", *outputs, axis=2) if len(outputs) > 1 else outputs[0]
    states = zip(*finals, strict=True)
    return x, [joined(graph, parts) for parts in states]


def _standard(
    graph: Graph,
    node: Node,
    stack: Stack,
    weights: list[Weights],
    x: str,
    initial: list[list[str]],
    of: Rows,
) -> tuple[str, list[str]]:
    begin = [joined(graph, parts) for parts in initial]
    bias = ""
    if stack.bias:
        both = [torch.cat([_ordered(w.b_ih, node.gates), _ordered(w.b_hh, node.gates)]) for w in weights]
        bias = graph.constant(torch.stack(both), "bias")
    inputs = [
        x,
        graph.constant(torch.stack([_ordered(w.ih, node.gates) for w in weights]), "weight_ih"),
        graph.constant(torch.stack([_ordered(w.hh, node.gates) for w in weights]), "weight_hh"),
        bias,
        graph.op("Cast", of.lengths, to=TensorProto.INT32),
        *begin,
    ]
    if stack.cell.vectors:
        peepholes = [torch.cat([w.vectors[i] for i in PEEPHOLES]) for w in weights]
        inputs.append(graph.constant(torch.stack(peepholes), "peepholes"))
    output, *last = graph.op(
        node.kind,
        *inputs,
        count=1 + stack.cell.states,
        hidden_size=stack.hidden_size,
        direction="bidirectional" if stack.bidirectional else "forward",
        activations=list(node.activations) * stack.directions,
        **dict(node.options),
    )
    # (time, directions, batch, hidden) -> (time, batch, directions * hidden).
    output = graph.op("Transpose", output, perm=[0, 2, 1, 3])
    output = graph.op("Reshape", output, graph.constant([0, 0, stack.directions * stack.hidden_size]))
    # A row without steps keeps its state; the node would put zeros.
    pairs = zip(begin, last, strict=True)
    return output, [graph.op("Where", of.empty, before, after) for before, after in pairs]


def _ordered(rows: Tensor | None, gates: tuple[int, ...]) -> Tensor:
    """The rows of a parameter, gate by gate in ONNX's order."""
    if rows is None:
        raise TypeError("a standard node's weight is missing")
    return torch.cat([rows.chunk(len(gates))[i] for i in gates])


def _scan(
    graph: Graph, stack: Stack, weights: Weights, x: str, initial: list[str], of: Rows, reverse: bool
) -> tuple[str, list[str]]:
    """One layer in one direction as a Scan over time, its body the traced equations.

    A Scan rather than a Loop: it runs along an axis as long as its input, in either direction, and needs
    no condition, no counter and no gathering of steps, each of which a Loop's body would have to do.
    """
    count = stack.cell.states
    body = _body(stack, weights, graph._name("body"))
    projected = graph.op("MatMul", x, graph.constant(weights.ih.t(), "weight_ih"))
    if weights.b_ih is not None:
        projected = graph.op("Add", projected, graph.constant(weights.b_ih, "bias_ih"))
    first = graph.constant([0])
    *last, output = graph.op(
        "Scan",
        *(graph.op("Squeeze", s, first) for s in initial),
        projected,
        of.valid,
        count=count + 1,
        body=body,
        num_scan_inputs=2,
        scan_input_directions=[int(reverse)] * 2,
        scan_output_directions=[int(reverse)],
    )
    return output, [graph.op("Unsqueeze", s, first) for s in last]


def _body(stack: Stack, weights: Weights, name: str):
    body, cell = Graph(name + "/"), stack.cell
    states = [
        body.input(f"{name}/state{i}", torch.float32, ["batch", stack.state_size(i)])
        for i in range(cell.states)
    ]
    rows = cell.gates * stack.hidden_size
    projected = body.input(f"{name}/projected", torch.float32, ["batch", rows])
    valid = body.input(f"{name}/valid", TensorProto.BOOL, ["batch", 1])
    following = equations.write(
        body,
        cell,
        _gates(body, projected, cell.gates),
        _recurrent(body, stack, weights, states[0]),
        states,
        [body.constant(v, "vector") for v in weights.vectors],
    )
    if weights.hr is not None:
        following[0] = body.op("MatMul", following[0], body.constant(weights.hr.t(), "weight_hr"))
    for i, (before, after) in enumerate(zip(states, following, strict=True)):
        kept = body.op("Where", valid, after, before)
        body.output(kept, f"{name}/next{i}", torch.float32, ["batch", stack.state_size(i)])
    output = body.op("Where", valid, following[0], body.constant(0.0))
    body.output(output, f"{name}/output", torch.float32, ["batch", stack.output_size])
    return body.build(name)


def _gates(graph: Graph, value: str, gates: int) -> list[str]:
    return graph.op("Split", value, count=gates, axis=1) if gates > 1 else [value]


def _recurrent(graph: Graph, stack: Stack, weights: Weights, h: str) -> list[str] | None:
    """R·h + b_hh by gate, or None for a cell without."""
    if weights.hh is None:
        return None
    gates = stack.cell.gates
    if stack.cell.recurrent == "dense":
        value = graph.op("MatMul", h, graph.constant(weights.hh.t(), "weight_hh"))
        if weights.b_hh is not None:
            value = graph.op("Add", value, graph.constant(weights.b_hh, "bias_hh"))
        return _gates(graph, value, gates)
    parts = [graph.op("Mul", h, graph.constant(part, "weight_hh")) for part in weights.hh.chunk(gates)]
    if weights.b_hh is not None:
        biases = weights.b_hh.chunk(gates)
        parts = [graph.op("Add", p, graph.constant(b)) for p, b in zip(parts, biases, strict=True)]
    return parts
