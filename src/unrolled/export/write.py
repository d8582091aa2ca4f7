"""Layers and models to ONNX files, each compared with onnxruntime before it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from ..models import Classifier, LanguageModel, Tagger
from ..models.members import Members
from ..scanned import Scanned
from ..text import Batch
from ..version import __version__
from . import parts, predictors
from . import stack as stacks
from .graph import OPSET, Graph

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
    """Writes a layer (RNN, GRU, LSTM, Recurrent) or a model as an ONNX file.

    Inputs, in this order: input, float32 in the layer's layout, (batch, time, feature) if batch_first,
    or for a model `indices` (batch, time) int64; lengths (batch,) int64, from 0 to time; the states h
    (and c, …), (layers * directions, batch, size) float32, zeros at the beginning.
    Outputs: output, or for a model logits (batch, time, symbols); the states after each row's end, h_n
    (and c_n, …), which given back as h (and c, …) read on from there. batch and time may be any from 1.

    A Classifier: indices, lengths -> logits (batch, labels). A Tagger: words (batch, time), lengths,
    spelled (distinct, characters) and spelled_lengths (distinct,), the distinct words by character, which
    (batch, time), the row of `spelled` that each word is -> logits (batch, time, tags). At least one step.

    The cells that ONNX has become its RNN, GRU and LSTM nodes, any other a Scan over its equations. What
    is written is evaluation mode: no dropout. It is first run by onnxruntime at another batch and
    length than the example's, on rows of many lengths, an empty one too.

    Raises Error if the two disagree, with the difference; if a cell uses what ONNX has no operator for;
    if the parameters are not float32.
    """
    path = Path(path)
    if isinstance(model, (Classifier, Tagger)):
        return _predictor(model, path)
    if isinstance(model, LanguageModel):
        layer = model.layers
    elif isinstance(model, Scanned):
        layer = model
    else:
        raise TypeError(f"export.onnx: got a {type(model).__name__}; wanted a layer of unrolled or a model")
    _only_float32(model)
    proto = _proto(model, layer)
    return _written(path, proto, _check(model, layer, proto.SerializeToString()))


def _only_float32(model: nn.Module) -> None:
    wrong = {p.dtype for p in model.parameters()} - {torch.float32}
    if wrong:
        raise Error(f"export.onnx: the parameters are {wrong.pop()}; call model.float() first")


def _written(path: Path, proto: onnx_format.ModelProto, difference: float) -> Export:
    export = Export(
        tuple(i.name for i in proto.graph.input), tuple(o.name for o in proto.graph.output), difference
    )
    files.write(path.parent, {path.name: proto.SerializeToString()})
    return export


@torch.no_grad()
def _predictor(model: Classifier | Tagger, path: Path) -> Export:
    _only_float32(model)
    graph = Graph()
    predictors.write(graph, model)
    proto = _finished(graph, model, model.task)
    given, wanted = predictors.example(model)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    got = session.run(None, {n: t.numpy() for n, t in zip(names, given, strict=True)})
    return _written(path, proto, _difference(session, got, [wanted]))


def _proto(model: nn.Module, layer: Scanned | Members) -> onnx_format.ModelProto:
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
        x = parts.embedded(graph, model, graph.op("Transpose", x, perm=[1, 0]))
    elif batch_first:
        x = graph.op("Transpose", x, perm=[1, 0, 2])
    output, last = parts.layers(graph, layer, x, state, stacks.rows(graph, lengths, x))
    width = stack.output_size * stack.directions
    if isinstance(model, LanguageModel):
        output, width = parts.head(graph, model.head, output), len(model.vocabulary)
    if batch_first:
        output = graph.op("Transpose", output, perm=[1, 0, 2])
    name = "logits" if isinstance(model, LanguageModel) else "output"
    graph.output(output, name, torch.float32, [*axes, width])
    for value, n, shape in zip(last, names, shapes, strict=True):
        graph.output(value, f"{n}_n", torch.float32, shape)
    return _finished(graph, model, stack.cell.name)


def _finished(graph: Graph, model: nn.Module, name: str) -> onnx_format.ModelProto:
    proto = helper.make_model(
        graph.build(name),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="unrolled",
        producer_version=__version__,
    )
    if isinstance(model, (LanguageModel, Classifier, Tagger)):
        known = {"vocabulary": model.vocabulary.to_dict()}
        known |= {k: model.config[k] for k in ("labels", "tags", "characters") if k in model.config}
        properties = {f"unrolled.{k}": json.dumps(v, ensure_ascii=True) for k, v in known.items()}
        helper.set_model_props(proto, properties)
    onnx_format.checker.check_model(proto)
    return proto


def _state_names(count: int) -> list[str]:
    return list(STATES[:count]) if count <= len(STATES) else [f"state{i}" for i in range(count)]


def _language(model: LanguageModel, indices: Tensor, lengths: Tensor, state: Any) -> tuple[Tensor, Any]:
    """LanguageModel.forward for rows of several lengths."""
    output, last = model.hidden(Batch(indices, lengths, model.vocabulary), state)
    return model.head(output), last


def _moved(state: Tensor | tuple[Tensor, ...], device: torch.device) -> Tensor | tuple[Tensor, ...]:
    return state.to(device) if isinstance(state, Tensor) else tuple(s.to(device) for s in state)


@torch.no_grad()
def _check(model: nn.Module, layer: Scanned | Members, content: bytes) -> float:
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
    return _difference(session, got, flat)


def _difference(session: onnxruntime.InferenceSession, got: Sequence[Any], flat: Sequence[Tensor]) -> float:
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
