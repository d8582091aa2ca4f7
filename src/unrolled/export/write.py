"""Layers and models to ONNX files, each compared with onnxruntime before it is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx as onnx_format
import onnxruntime
import torch
from onnx import helper
from torch import Tensor, nn

from .. import files
from ..errors import Error
from ..layers import _Scanned
from ..models import LanguageModel
from ..models.deep import DeepRecurrent
from ..text import Batch
from ..version import __version__
from . import stack as stacks
from .graph import OPSET, Graph
from .stack import Rows

TOLERANCE = 1e-4
"""The largest difference from PyTorch's result, relative to its largest number, that is let through."""

STATES = ("h", "c", "n", "m")


@dataclass(frozen=True)
class Export:
    """What a finished file takes and gives, by name and in order, and how far it was from PyTorch."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    difference: float


def onnx(model: nn.Module, path: str | Path) -> Export:
    """Writes a layer (RNN, GRU, LSTM, Recurrent) or a LanguageModel as an ONNX file.

    Inputs, in this order: input, float32 in the layer's layout, (batch, time, feature) if batch_first,
    or for a model `indices` (batch, time) int64; lengths (batch,) int64, from 0 to time; the states h
    (and c, …), (layers * directions, batch, size) float32, zeros at the beginning.
    Outputs: output, or for a model logits (batch, time, symbols); the states after each row's end, h_n
    (and c_n, …), which given back as h (and c, …) read on from there. batch and time may be any.

    The cells that ONNX has become its RNN, GRU and LSTM nodes, any other a Scan over its equations. What
    is written is evaluation mode: no dropout. It is first run by onnxruntime at another batch and
    length than the example's, on rows of many lengths, an empty one too.

    Raises Error if the two disagree, with the difference; if a cell uses what ONNX has no operator for;
    if the parameters are not float32.
    """
    path = Path(path)
    if isinstance(model, LanguageModel):
        layer = model.layers
    elif isinstance(model, _Scanned):
        layer = model
    else:
        raise TypeError(
            f"export.onnx: got a {type(model).__name__}; wanted a layer of unrolled or a LanguageModel"
        )
    wrong = {p.dtype for p in model.parameters()} - {torch.float32}
    if wrong:
        raise Error(f"export.onnx: the parameters are {wrong.pop()}; call model.float() first")
    proto = _proto(model, layer)
    content = proto.SerializeToString()
    export = Export(
        tuple(i.name for i in proto.graph.input),
        tuple(o.name for o in proto.graph.output),
        _check(model, layer, content),
    )
    files.write(path.parent, {path.name: content})
    return export


def _proto(model: nn.Module, layer: _Scanned) -> onnx_format.ModelProto:
    graph, stack = Graph(), layer.stack
    batch_first = layer.batch_first or isinstance(model, LanguageModel)
    axes = ["batch", "time"] if batch_first else ["time", "batch"]
    if isinstance(model, LanguageModel):
        x = graph.input("indices", torch.int64, axes)
    else:
        x = graph.input("input", torch.float32, [*axes, stack.input_size])
    lengths = graph.input("lengths", torch.int64, ["batch"])
    slots = stack.num_layers * stack.directions
    names = _state_names(stack.cell.states)
    shapes = [[slots, "batch", stack.state_size(i)] for i in range(stack.cell.states)]
    state = [graph.input(n, torch.float32, shape) for n, shape in zip(names, shapes, strict=True)]
    if isinstance(model, LanguageModel):
        x = _embedded(graph, model, graph.op("Transpose", x, perm=[1, 0]))
    elif batch_first:
        x = graph.op("Transpose", x, perm=[1, 0, 2])
    output, last = _layers(graph, layer, x, state, stacks.rows(graph, lengths, x))
    width = stack.output_size * stack.directions
    if isinstance(model, LanguageModel):
        output, width = _head(graph, model.head, output), len(model.vocabulary)
    if batch_first:
        output = graph.op("Transpose", output, perm=[1, 0, 2])
    name = "logits" if isinstance(model, LanguageModel) else "output"
    graph.output(output, name, torch.float32, [*axes, width])
    for value, n, shape in zip(last, names, shapes, strict=True):
        graph.output(value, f"{n}_n", torch.float32, shape)
    proto = helper.make_model(
        graph.build(stack.cell.name),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="unrolled",
        producer_version=__version__,
    )
    if isinstance(model, LanguageModel):
        vocabulary = json.dumps(model.vocabulary.to_dict(), ensure_ascii=True)
        helper.set_model_props(proto, {"unrolled.vocabulary": vocabulary})
    onnx_format.checker.check_model(proto)
    return proto


def _state_names(count: int) -> list[str]:
    return list(STATES[:count]) if count <= len(STATES) else [f"state{i}" for i in range(count)]


def _embedded(graph: Graph, model: LanguageModel, indices: str) -> str:
    parts: list[str] = []
    if "one-hot" in model.kinds:
        size = graph.constant(np.array(len(model.vocabulary)))
        ends = graph.constant(np.array([0, 1], dtype=np.float32))
        parts.append(graph.op("OneHot", indices, size, ends, axis=-1))
    if model.embedding is not None:
        parts.append(graph.op("Gather", graph.constant(model.embedding.weight, "embedding"), indices))
    if model.vectors is not None:
        parts.append(graph.op("Gather", graph.constant(model.vectors, "vectors"), indices))
    return parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=-1)


def _layers(graph: Graph, layer: _Scanned, x: str, state: list[str], of: Rows) -> tuple[str, list[str]]:
    if not isinstance(layer, DeepRecurrent):
        return stacks.write(graph, layer.stack, layer._flat(), x, state, of)
    stack = layer.stack
    apart = [stacks.parted(graph, s, stack.num_layers) for s in state]
    width, finals = stack.input_size, []
    for k in range(stack.num_layers):
        one, parameters = layer._layer(k)
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


def _head(graph: Graph, head: nn.Module, x: str) -> str:
    """The head, which is affine, as a matrix and a vector."""
    with torch.no_grad():
        if isinstance(head, nn.Linear):
            weight, bias = head.weight.t(), head.bias
        else:
            width = next(p.shape[1] for p in head.parameters() if p.dim() == 2)
            device = next(head.parameters()).device
            bias = head(torch.zeros(width, device=device))
            weight = head(torch.eye(width, device=device)) - bias
    return graph.op("Add", graph.op("MatMul", x, graph.constant(weight, "head")), graph.constant(bias))


def _language(model: LanguageModel, indices: Tensor, lengths: Tensor, state: Any) -> tuple[Tensor, Any]:
    """LanguageModel.forward for rows of several lengths."""
    output, last = model.hidden(Batch(indices, lengths, model.vocabulary), state)
    return model.head(output), last


def _moved(state: Tensor | tuple[Tensor, ...], device: torch.device) -> Tensor | tuple[Tensor, ...]:
    return state.to(device) if isinstance(state, Tensor) else tuple(s.to(device) for s in state)


@torch.no_grad()
def _check(model: nn.Module, layer: _Scanned, content: bytes) -> float:
    """The largest relative difference of onnxruntime's results; raises Error if it is too large."""
    stack, batch, time = layer.stack, 4, 6
    lengths = torch.tensor([time, 0, 1, time - 2])
    generator = torch.Generator().manual_seed(0)
    slots = stack.num_layers * stack.directions
    state = [
        torch.rand(slots, batch, stack.state_size(i), generator=generator) for i in range(stack.cell.states)
    ]
    given = state[0] if len(state) == 1 else tuple(state)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    try:
        if isinstance(model, LanguageModel):
            x = torch.randint(len(model.vocabulary), (batch, time), generator=generator)
            wanted = _language(model, x.to(device), lengths, _moved(given, device))
        else:
            axes = (batch, time) if layer.batch_first else (time, batch)
            x = torch.randn(*axes, stack.input_size, generator=generator)
            wanted = model(x.to(device), _moved(given, device), lengths=lengths)
    finally:
        model.train(training)
    names = [i.name for i in session.get_inputs()]
    got = session.run(None, {n: t.numpy() for n, t in zip(names, [x, lengths, *state], strict=True)})
    output, last = wanted
    flat = [output, *((last,) if isinstance(last, Tensor) else last)]
    worst = 0.0
    for description, one, other in zip(session.get_outputs(), got, flat, strict=True):
        expected = other.cpu().numpy()
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        difference = float(np.abs(one - expected).max(initial=0)) / scale
        if not difference <= TOLERANCE:
            raise Error(
                f"export.onnx: onnxruntime's {description.name} differs from PyTorch's by {difference:.2g} "
                f"relative; wanted at most {TOLERANCE:g}. Nothing was written"
            )
        worst = max(worst, difference)
    return worst
