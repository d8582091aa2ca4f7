"""Recurrent nodes of an ONNX file as layers with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper
from torch import nn

from .. import cells
from ..cells import Cell
from ..errors import Error
from ..layers import GRU, LSTM, RNN, Recurrent
from .imported import ResetBeforeGRU, Reversed
from .stack import NODES, PEEPHOLES

Layer = RNN | GRU | LSTM | Recurrent | Reversed

_INT, _STRING, _STRINGS = (getattr(onnx.AttributeProto, n) for n in ("INT", "STRING", "STRINGS"))
_ATTRIBUTES = {
    **dict.fromkeys(("hidden_size", "layout", "linear_before_reset", "input_forget"), _INT),
    **{"direction": _STRING, "activations": _STRINGS, "clip": onnx.AttributeProto.FLOAT},
    **dict.fromkeys(("activation_alpha", "activation_beta"), onnx.AttributeProto.FLOATS),
}
"""What a node says of itself, and of which type it is."""
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def layers(path: str | Path) -> dict[str, Layer]:
    """The main graph's RNN, GRU and LSTM nodes by name (or "LSTM_0", … by number), with its weights.

    Each node is one layer, of one direction or two, that takes (time, batch, feature), or with layout 1
    (batch, time, feature): an RNN, GRU or LSTM; an LSTM with peepholes is a Recurrent(peephole_lstm), a
    GRU with linear_before_reset=0 a ResetBeforeGRU, and the direction "reverse" is a Reversed layer.
    Lengths and initial states are not part of a layer: they are given at its call.

    Raises Error for what is not an ONNX file; for weights that are not in the file or not of the sizes
    that it says; for a node that computes what none of our cells does (clip, input_forget, activations
    other than the default ones and an RNN's Relu).
    """
    path = Path(path)
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise Error(f"{path} cannot be read as an ONNX file ({error}); export it again") from error
    values = {}
    for tensor in model.graph.initializer:
        values[tensor.name] = tensor
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            values[node.output[0]] = node.attribute[0].t
    found: dict[str, Layer] = {}
    for node in model.graph.node:
        if node.op_type in _DEFAULTS:
            name = node.name or f"{node.op_type}_{len(found)}"
            if name in found:
                raise Error(f"{path} has two nodes named {name!r}; give each a name of its own")
            inputs = {
                key: _array(f"{path}: node {name}", values.get(key), key)
                for key in [*node.input[1:4], *node.input[7:8]]
                if key
            }
            found[name] = layer(node, inputs, f"{path}: node {name}")
    if not found:
        raise Error(f"{path} has no RNN, GRU or LSTM node")
    return found


def _array(where: str, tensor: onnx.TensorProto | None, name: str) -> np.ndarray:
    """The tensor's numbers, after its header's sizes were held against how many there are."""
    if tensor is None:
        raise Error(f"{where}: its weight {name!r} is not in the file but computed; it cannot be imported")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise Error(f"{where}: its weight {name!r} lies in another file; save the model in one file")
    numbers: dict[int, tuple[int, Any]] = {
        onnx.TensorProto.FLOAT: (4, tensor.float_data),
        onnx.TensorProto.DOUBLE: (8, tensor.double_data),
    }
    if tensor.data_type not in numbers:
        known = onnx.TensorProto.DataType
        kind = known.Name(tensor.data_type) if tensor.data_type in known.values() else tensor.data_type
        raise Error(f"{where}: its weight {name!r} is {kind}; wanted FLOAT or DOUBLE")
    size, listed = numbers[tensor.data_type]
    there = len(tensor.raw_data) / size if tensor.HasField("raw_data") else len(listed)
    stated = int(np.prod([int(n) for n in tensor.dims], dtype=object)) if tensor.dims else 1
    if min(tensor.dims, default=0) < 0 or stated != there:
        raise Error(
            f"{where}: its weight {name!r} says {list(tensor.dims)}, {stated} numbers; "
            f"the file has {there:g}"
        )
    return numpy_helper.to_array(tensor)


def layer(node: onnx.NodeProto, values: Mapping[str, np.ndarray], where: str = "node") -> Layer:
    """The layer that a node with these weights (by the name of the node's input) is."""
    own = [a for a in node.attribute if a.name in _ATTRIBUTES]
    for a in own:
        if a.type != (wanted := _ATTRIBUTES[a.name]):
            kind = onnx.AttributeProto.AttributeType.Name(wanted)
            raise Error(f"{where}: its attribute {a.name!r} is of another type; wanted {kind}")
    options = {a.name: helper.get_attribute_value(a) for a in own}
    cell = _cell(node, options, where)
    given = {i: values[key] for i, key in enumerate(node.input) if key and key in values}
    for i in (1, 2):
        if i not in given or given[i].ndim != 3:
            raise Error(f"{where}: input {i} (a weight) is missing or not of 3 axes")
    w, r = given[1], given[2]
    directions, rows, input_size = w.shape
    hidden_size = r.shape[2]
    shapes = {
        1: (directions, cell.gates * hidden_size, input_size),
        2: (directions, cell.gates * hidden_size, hidden_size),
        3: (directions, 2 * cell.gates * hidden_size),
        7: (directions, len(cell.vectors) * hidden_size),
    }
    for i, shape in shapes.items():
        if i in given and given[i].shape != shape:
            raise Error(f"{where}: input {i} has shape {given[i].shape}; wanted {shape}")
    if options.get("hidden_size", hidden_size) != hidden_size or rows != cell.gates * hidden_size:
        raise Error(f"{where}: hidden_size is {options.get('hidden_size')}; its weights have {hidden_size}")
    direction = options.get("direction", b"forward").decode("utf-8", "replace")
    if {"forward": 1, "reverse": 1, "bidirectional": 2}.get(direction) != directions:
        raise Error(
            f"{where}: direction is {direction!r} with weights for {directions}; "
            f"wanted 'forward' or 'reverse' with 1 or 'bidirectional' with 2"
        )
    sizes: dict[str, Any] = {"input_size": input_size, "hidden_size": hidden_size, "bias": 3 in given}
    sizes |= {"batch_first": bool(options.get("layout", 0)), "bidirectional": directions == 2}
    made = _make(cell, bool(options.get("linear_before_reset", 0)), sizes)
    _fill(made, cell, given)
    return Reversed(made) if direction == "reverse" else made


def _cell(node: onnx.NodeProto, options: Mapping[str, Any], where: str) -> Cell:
    kind = node.op_type
    directions = 2 if options.get("direction") == b"bidirectional" else 1
    names = [a.decode("utf-8", "replace") for a in options.get("activations", [])]
    names = names or _DEFAULTS[kind] * directions
    for name in ("clip", "input_forget", "activation_alpha", "activation_beta"):
        if options.get(name):
            raise Error(f"{where}: {name} is {options[name]}; no cell here computes with it")
    peepholes = len(node.input) > 7 and bool(node.input[7])
    for cell, standard in NODES.items():
        same = standard.kind == kind and list(standard.activations) * directions == names
        if same and bool(cell.vectors) == peepholes:
            return cell
    raise Error(f"{where}: no cell here is {kind} with the activations {names}")


def _make(cell: Cell, reset_after: bool, sizes: dict[str, Any]) -> RNN | GRU | LSTM | Recurrent:
    if cell is cells.lstm:
        return LSTM(**sizes)
    if cell is cells.gru:
        return GRU(**sizes) if reset_after else ResetBeforeGRU(**sizes)
    if cell.vectors:
        return Recurrent(cell, **sizes)
    return RNN(nonlinearity="tanh" if cell is cells.rnn_tanh else "relu", **sizes)


def _fill(made: nn.Module, cell: Cell, given: Mapping[int, np.ndarray]) -> None:
    """Copies the weights, gate by gate from ONNX's order into torch.nn's."""
    gates = NODES[cell].gates
    back = [gates.index(i) for i in range(len(gates))]

    def ordered(rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([np.split(rows, len(gates))[i] for i in back]))

    state = {}
    for direction, suffix in enumerate(["_l0", "_l0_reverse"][: given[1].shape[0]]):
        state["weight_ih" + suffix] = ordered(given[1][direction])
        state["weight_hh" + suffix] = ordered(given[2][direction])
        if 3 in given:
            b_ih, b_hh = np.split(given[3][direction], 2)
            state["bias_ih" + suffix], state["bias_hh" + suffix] = ordered(b_ih), ordered(b_hh)
        if cell.vectors:
            parts = np.split(given[7][direction], len(PEEPHOLES))
            for i, name in enumerate(cell.vectors):
                state[name + suffix] = torch.from_numpy(parts[PEEPHOLES.index(i)].copy())
    made.to(next(iter(state.values())).dtype)
    made.load_state_dict(state)
