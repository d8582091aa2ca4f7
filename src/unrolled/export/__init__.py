"""ONNX: layers and models as files that run without PyTorch, and recurrent nodes of such files as layers.

Wants `pip install 'unrolled[export]'`.
"""

from __future__ import annotations

from ..errors import Error

try:
    import onnx as _onnx  # noqa: F401
    import onnxruntime as _onnxruntime  # noqa: F401
except ModuleNotFoundError as error:
    raise Error(f"unrolled.export needs {error.name}: pip install 'unrolled[export]'") from error

from .imported import ResetBeforeGRU, Reversed
from .read import layers
from .write import onnx

__all__ = ["ResetBeforeGRU", "Reversed", "layers", "onnx"]
