"""A classifier and a tagger as ONNX graphs: whole texts and sentences in, logits out."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..models import Classifier, Tagger
from ..models.tagger import Sentences
from ..text import Batch
from . import parts
from . import stack as stacks
from .graph import Graph
from .stack import Rows


def write(graph: Graph, model: Classifier | Tagger) -> None:
    """Adds the whole model to the graph, its inputs and its output."""
    if isinstance(model, Classifier):
        _classifier(graph, model)
    else:
        _tagger(graph, model)


def example(model: Classifier | Tagger) -> tuple[list[Tensor], Tensor]:
    """Inputs of rows of many lengths, an empty one too, and the model's logits for them."""
    generator = torch.Generator().manual_seed(0)

    def draw(count: int, *shape: int) -> Tensor:
        return torch.randint(count, shape, generator=generator)

    training, device = model.training, model.device
    model.eval()
    try:
        words, lengths = draw(len(model.vocabulary), 4, 6), torch.tensor([6, 0, 1, 4])
        batch = Batch(words, lengths, model.vocabulary)
        if isinstance(model, Classifier):
            return [words, lengths], model(batch.to(device))
        spelled, counts, which = (
            draw(len(model.characters), 5, 3),
            torch.tensor([3, 1, 2, 3, 1]),
            draw(5, 4, 6),
        )
        letters = Batch(spelled, counts, model.characters)
        wanted = model(Sentences(batch.to(device), letters.to(device), which.to(device)))
        return [words, lengths, spelled, counts, which], wanted
    finally:
        model.train(training)


def _classifier(graph: Graph, model: Classifier) -> None:
    indices = graph.input("indices", torch.int64, ["batch", "time"])
    lengths = graph.input("lengths", torch.int64, ["batch"])
    steps = graph.op("Transpose", indices, perm=[1, 0])
    x = parts.embedded(graph, model, steps)
    of = stacks.rows(graph, lengths, x)
    output, _ = parts.layers(graph, model.layers, x, parts.zeros(graph, model.layers.stack, x), of)
    pooled = _pooled(graph, model, output, of)
    logits = parts.head(graph, model.head, pooled)
    if model.votes is not None:
        logits = graph.op("Add", logits, parts.votes(graph, model.votes, steps, of))
    graph.output(logits, "logits", torch.float32, ["batch", len(model.labels)])


def _pooled(graph: Graph, model: Classifier, output: str, of: Rows) -> str:
    """One vector a row (batch, width) from the outputs (time, batch, width)."""
    pooling, first = model.config["pooling"], graph.constant([0])
    if pooling == "mean":
        count = graph.op("Max", of.lengths, graph.constant([1]))
        count = graph.op("Unsqueeze", graph.op("Cast", count, to=1), graph.constant([1]))
        return graph.op("Div", graph.op("ReduceSum", output, first, keepdims=0), count)
    nothing = graph.constant(0.0)
    if pooling == "last":
        two = model.layers.stack.directions == 2
        forward, *backward = graph.op("Split", output, count=2, axis=2) if two else [output]
        end = stacks.at(graph, output, graph.op("Sub", of.lengths, graph.constant([1])))
        ends = graph.op("ReduceSum", graph.op("Where", end, forward, nothing), first, keepdims=0)
        begins = [graph.op("Gather", part, graph.constant(np.array(0)), axis=0) for part in backward]
        pooled = graph.op("Concat", ends, *begins, axis=1) if two else ends
    elif model.score is None:
        inside = graph.op("Where", of.valid, output, graph.constant(-math.inf))
        pooled = graph.op("ReduceMax", inside, axes=[0], keepdims=0)
    else:
        score = parts.head(graph, model.score, output)
        score = graph.op("Where", of.valid, score, graph.constant(-math.inf))
        weights = graph.op("Where", of.valid, graph.op("Softmax", score, axis=0), nothing)
        pooled = graph.op("ReduceSum", graph.op("Mul", output, weights), first, keepdims=0)
    return graph.op("Where", graph.op("Squeeze", of.empty, first), nothing, pooled)


def _joined(graph: Graph, h: str, slots: range, width: int) -> str:
    """The last states of some layers and directions, side by side: (batch, width)."""
    chosen = graph.op("Gather", h, graph.constant(slots), axis=0)
    turned = graph.op("Transpose", chosen, perm=[1, 0, 2])
    return graph.op("Reshape", turned, graph.constant([-1, width]))


def _tagger(graph: Graph, model: Tagger) -> None:
    words = graph.input("words", torch.int64, ["batch", "time"])
    lengths = graph.input("lengths", torch.int64, ["batch"])
    spelled = graph.input("spelled", torch.int64, ["distinct", "characters"])
    counts = graph.input("spelled_lengths", torch.int64, ["distinct"])
    which = graph.input("which", torch.int64, ["batch", "time"])
    stack = model.spelling.stack
    table = graph.constant(model.character_embedding.weight, "characters")
    letters = graph.op("Gather", table, graph.op("Transpose", spelled, perm=[1, 0]))
    begin = parts.zeros(graph, stack, letters)
    _, last = parts.layers(graph, model.spelling, letters, begin, stacks.rows(graph, counts, letters))
    spelling = _joined(graph, last[0], range(2), 2 * stack.output_size)
    x = graph.op(
        "Concat",
        parts.embedded(graph, model, graph.op("Transpose", words, perm=[1, 0])),
        graph.op("Gather", spelling, graph.op("Transpose", which, perm=[1, 0])),
        axis=2,
    )
    of, begin = stacks.rows(graph, lengths, x), parts.zeros(graph, model.layers.stack, x)
    output, _ = parts.layers(graph, model.layers, x, begin, of)
    logits = graph.op("Transpose", parts.head(graph, model.head, output), perm=[1, 0, 2])
    graph.output(logits, "logits", torch.float32, ["batch", "time", len(model.tags)])
