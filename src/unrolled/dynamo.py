"""torch.compile sees into our layers: it breaks its graph at every torch.nn.RNN, GRU and LSTM unless told.

The refusal goes by isinstance, and ours are torch.nn's classes so that programs that ask for those find
them. torch._dynamo.config.allow_rnn lifts it for all; here it is lifted while a layer of ours is looked at,
so that torch.nn's own are treated as before.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch import nn

_BUILDER = "torch._dynamo.variables.builder"


def admit(layers: type[nn.Module]) -> None:
    """Lets torch.compile trace modules of this class, now or, if it is not loaded yet, when it is."""
    if _BUILDER in sys.modules:
        _wrap(sys.modules[_BUILDER], layers)
    else:
        sys.meta_path.insert(0, _WhenLoaded(layers))


class _WhenLoaded(MetaPathFinder):
    """Asked first for every module, and so knows when the compiler is loaded."""

    def __init__(self, layers: type[nn.Module]) -> None:
        self.layers = layers

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _BUILDER or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _wrap(module, self.layers)

            spec.loader.exec_module = exec_module
        return spec


def _wrap(builder: ModuleType, layers: type[nn.Module]) -> None:
    known: Any = getattr(builder, "VariableBuilder", None)
    if not hasattr(known, "wrap_module"):
        return  # another torch: its own message about RNNs then says what to set
    wrap_module = known.wrap_module

    @functools.wraps(wrap_module)
    def wrapped(self: Any, value: Any) -> Any:
        if not isinstance(value, layers):
            return wrap_module(self, value)
        with builder.config.patch(allow_rnn=True):
            return wrap_module(self, value)

    known.wrap_module = wrapped
