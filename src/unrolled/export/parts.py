"""What the graphs of several models share: embedding, layers, head."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from ..models import Model
from ..models.deep import DeepRecurrent
from ..models.grams import BUCKETS, MODULUS, MULTIPLIER, GramEmbedding, GramVotes
from ..models.members import MeanHead, Members
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
            each = graph.op("Gather", weight, _gram_rows(graph, model.embedding, indices))
            made.append(graph.op("ReduceSum", each, graph.constant([-2]), keepdims=0))
        else:
            made.append(graph.op("Gather", weight, indices))
    if model.vectors is not None:
        made.append(graph.op("Gather", graph.constant(model.vectors, "vectors"), indices))
    return made[0] if len(made) == 1 else graph.op("Concat", *made, axis=-1)


def _number(graph: Graph, n: int) -> str:
    """A whole number, without axes."""
    return graph.constant(np.array(n))


def _gram_hashes(graph: Graph, indices: str, order: int) -> list[str]:
    """models.grams.hashes of indices (time, batch), each (time, batch)."""
    known = graph.op("Add", indices, _number(graph, 1))
    time = graph.op("Slice", graph.op("Shape", indices), graph.constant([0]), graph.constant([1]))
    found = [known]
    for n in range(1, order):
        padded = graph.op("Pad", known, graph.constant([n, 0, 0, 0]))
        before = graph.op("Slice", padded, graph.constant([0]), time, graph.constant([0]))
        product = graph.op("Mul", found[-1], _number(graph, MULTIPLIER))
        found.append(graph.op("Mod", graph.op("Add", product, before), _number(graph, MODULUS)))
    return found


def _gram_rows(graph: Graph, embedding: GramEmbedding, indices: str) -> str:
    """GramEmbedding.rows of indices (time, batch): (time, batch, order)."""
    longer = _gram_hashes(graph, indices, embedding.order)[1:]
    buckets = [graph.op("Mod", h, _number(graph, BUCKETS)) for h in longer]
    rows = [graph.op("Add", b, _number(graph, embedding.symbols)) for b in buckets]
    return graph.op("Concat", *_lifted(graph, [indices, *rows]), axis=-1)


def _lifted(graph: Graph, values: list[str]) -> list[str]:
    """Each with an axis more, the last."""
    return [graph.op("Unsqueeze", value, graph.constant([-1])) for value in values]


def votes(graph: Graph, module: GramVotes, indices: str, of: Rows) -> str:
    """What n-grams say of each label (batch, labels); indices: (time, batch)."""
    found = _gram_hashes(graph, indices, module.order)
    rows = [graph.op("Mod", h, _number(graph, len(module.weight))) for h in found]
    rows = graph.op("Concat", *_lifted(graph, rows), axis=-1)
    each = graph.op("Gather", graph.constant(module.weight, "votes"), rows)
    of_place = graph.op("ReduceSum", each, graph.constant([2]), keepdims=0)
    inside = graph.op("Where", of.valid, of_place, graph.constant(0.0))
    total = graph.op("ReduceSum", inside, graph.constant([0]), keepdims=0)
    count = graph.op("Mul", graph.op("Max", of.lengths, graph.constant([1])), _number(graph, module.order))
    count = graph.op("Unsqueeze", graph.op("Cast", count, to=1), graph.constant([1]))
    return graph.op("Div", total, graph.op("Sqrt", count))


def layers(
    graph: Graph, layer: Scanned | Members, x: str, state: list[str], of: Rows
) -> tuple[str, list[str]]:
    """A layer or stack of them, with what a model has between: output (time, batch, width), last states."""
    if isinstance(layer, Members):
        count = len(layer.members)
        own = zip(*(graph.op("Split", s, count=count, axis=2) for s in state), strict=True)
        each = [layers(graph, one, x, [*s], of) for one, s in zip(layer.own, own, strict=True)]
        finals = zip(*(last for _, last in each), strict=True)
        outputs = graph.op("Concat", *(y for y, _ in each), axis=-1)
        return outputs, [graph.op("Concat", *parts, axis=-1) for parts in finals]
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
    """The head: affine, as a matrix and a vector, or the mean of the members' probabilities."""
    if isinstance(module, MeanHead):
        count = len(module.heads)
        own = zip(module.heads, graph.op("Split", x, count=count, axis=-1), strict=True)
        each = [graph.op("LogSoftmax", head(graph, one, part), axis=-1) for one, part in own]
        together = graph.op("Concat", *_lifted(graph, each), axis=-1)
        total = graph.op("ReduceLogSumExp", together, axes=[-1], keepdims=0)
        return graph.op("Sub", total, graph.constant(math.log(count)))
    with torch.no_grad():
        if isinstance(module, nn.Linear):
            weight, bias = module.weight.t(), module.bias
        else:
            width = next(p.shape[1] for p in module.parameters() if p.dim() == 2)
            device = next(module.parameters()).device
            bias = module(torch.zeros(width, device=device))
            weight = module(torch.eye(width, device=device)) - bias
    return graph.op("Add", graph.op("MatMul", x, graph.constant(weight, "head")), graph.constant(bias))
