"""What the graphs of several models share: embedding, layers, head."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..models import Model
from ..models.deep import DeepRecurrent
from ..models.grams import BUCKETS, MODULUS, MULTIPLIER, GramEmbedding
from ..scan import Stack
from ..scanned import Scanned
from . import stack as stacks
from .graph import Graph
from .imported import ResetBeforeGRU
from .stack import Rows


def zeros(graph: Graph, stack: Stack, x: str) -> list[str]:
    """The states of a beginning for an input (time, batch, …)."""
    batch = graph.op("Gather", graph.op("Shape", x), graph.constant([1]))
    slots = graph.constant([stack.num_layers * stack.directions])
    shapes = [
        graph.op("Concat", slots, batch, graph.constant([stack.state_size(i)]), axis=0)
        for i in range(stack.cell.states)
    ]
    return [graph.op("ConstantOfShape", shape) for shape in shapes]


def embedded(graph: Graph, model: Model, indices: str) -> str:
    """What the layers read of each symbol: one-hot, embedding, vectors, side by side."""
    made: list[str] = []
    if "one-hot" in model.kinds:
        size = graph.constant(np.array(len(model.vocabulary)))
        ends = graph.constant(np.array([0, 1], dtype=np.float32))
        made.append(graph.op("OneHot", indices, size, ends, axis=-1))
    if model.embedding is not None:
        weight = graph.constant(model.embedding.weight, "embedding")
        if isinstance(model.embedding, GramEmbedding):
            rows = _gram_rows(graph, model.embedding, indices)
            summed = graph.op(
                "ReduceSum", graph.op("Gather", weight, rows), graph.constant([-2]), keepdims=0
            )
            made.append(summed)
        else:
            made.append(graph.op("Gather", weight, indices))
    if model.vectors is not None:
        made.append(graph.op("Gather", graph.constant(model.vectors, "vectors"), indices))
    return made[0] if len(made) == 1 else graph.op("Concat", *made, axis=-1)


def _gram_rows(graph: Graph, embedding: GramEmbedding, indices: str) -> str:
    """GramEmbedding.rows of indices (time, batch): (time, batch, order)."""

    def number(n: int) -> str:
        return graph.constant(np.array(n))

    known = graph.op("Add", indices, number(1))
    time = graph.op("Slice", graph.op("Shape", indices), *map(graph.constant, ([0], [1])))
    found, hashed = [indices], known
    for n in range(1, embedding.order):
        padded = graph.op("Pad", known, graph.constant([n, 0, 0, 0]))
        before = graph.op("Slice", padded, graph.constant([0]), time, graph.constant([0]))
        hashed = graph.op("Add", graph.op("Mul", hashed, number(MULTIPLIER)), before)
        hashed = graph.op("Mod", hashed, number(MODULUS))
        bucket = graph.op("Mod", hashed, number(BUCKETS))
        found.append(graph.op("Add", bucket, number(embedding.symbols)))
    each = [graph.op("Unsqueeze", rows, graph.constant([-1])) for rows in found]
    return graph.op("Concat", *each, axis=-1)


def layers(graph: Graph, layer: Scanned, x: str, state: list[str], of: Rows) -> tuple[str, list[str]]:
    """A layer or stack of them, with what a model has between: output (time, batch, width), last states."""
    if not isinstance(layer, DeepRecurrent):
        node = stacks.RESET_BEFORE if isinstance(layer, ResetBeforeGRU) else None
        return stacks.write(graph, layer.stack, layer._flat(), x, state, of, node)
    stack = layer.stack
    apart = [stacks.parted(graph, s, stack.num_layers) for s in state]
    width, finals = stack.input_size, []
    for k in range(stack.num_layers):
        one, parameters = layer._layer(k, training=False)
        y, last = stacks.write(graph, one, parameters, x, [parts[k] for parts in apart], of)
        finals.append(last)
        wide = stack.output_size * stack.directions
        if layer.residual and width == wide:
            y = graph.op("Add", x, y)
        if len(layer.norms):
            norm = layer.norms[k]
            scale, bias = graph.constant(norm.weight), graph.constant(norm.bias)  # type: ignore[arg-type]
            y = graph.op("LayerNormalization", y, scale, bias, axis=-1, epsilon=norm.eps)
            y = graph.op("Where", of.valid, y, graph.constant(0.0))
        x, width = y, wide
    states = zip(*finals, strict=True)
    return x, [stacks.joined(graph, parts) for parts in states]


def head(graph: Graph, module: nn.Module, x: str) -> str:
    """The head, which is affine, as a matrix and a vector."""
    with torch.no_grad():
        if isinstance(module, nn.Linear):
            weight, bias = module.weight.t(), module.bias
        else:
            width = next(p.shape[1] for p in module.parameters() if p.dim() == 2)
            device = next(module.parameters()).device
            bias = module(torch.zeros(width, device=device))
            weight = module(torch.eye(width, device=device)) - bias
    return graph.op("Add", graph.op("MatMul", x, graph.constant(weight, "head")), graph.constant(bias))
