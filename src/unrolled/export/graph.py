"""An ONNX graph under construction: nodes, constants, and names for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

OPSET = 17
"""The oldest with LayerNormalization; every onnxruntime of the last years reads it."""

TYPES = {torch.float32: TensorProto.FLOAT, torch.int64: TensorProto.INT64}


class Graph:
    """Collects nodes; every value is named by a string, as in ONNX."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def _name(self, hint: str) -> str:
        self._count += 1
        return f"{self.prefix}{hint}_{self._count}"

    def op(self, kind: str, *inputs: str, count: int = 1, **attributes: Any) -> Any:
        """Adds a node; returns the name of its output, or a list of `count`. "" is an absent input."""
        names = [self._name(kind) for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, names[0], **attributes))
        return names[0] if count == 1 else names

    def constant(self, value: Tensor | np.ndarray | float | Iterable[int], hint: str = "constant") -> str:
        """A weight or a number: a float is float32, whole numbers are an int64 list."""
        if isinstance(value, Tensor):
            value = value.detach().cpu().contiguous().numpy()
        elif isinstance(value, float):
            value = np.array(value, dtype=np.float32)
        elif not isinstance(value, np.ndarray):
            value = np.array(list(value), dtype=np.int64)  # type: ignore[arg-type]
        name = self._name(hint)
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def input(self, name: str, dtype: torch.dtype | int, shape: Iterable[int | str] | None) -> str:
        """Declares an input; its axes are numbers, or names for those that may change."""
        self.inputs.append(_described(name, dtype, shape))
        return name

    def output(self, value: str, name: str, dtype: torch.dtype, shape: Iterable[int | str] | None) -> None:
        """Declares a value as an output under another name."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name))
        self.outputs.append(_described(name, dtype, shape))

    def build(self, name: str) -> onnx.GraphProto:
        """The finished graph."""
        return helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)


def _described(name: str, dtype: torch.dtype | int, shape: Iterable[int | str] | None) -> Any:
    kind = dtype if isinstance(dtype, int) else TYPES[dtype]
    return helper.make_tensor_value_info(name, kind, None if shape is None else list(shape))
