"""What torch.compile must be told: to see into our layers, and not into the engine that runs them.

It breaks its graph at every torch.nn.RNN, GRU and LSTM. The refusal goes by isinstance, and ours are
torch.nn's classes so that programs that ask for those find them. torch._dynamo.config.allow_rnn lifts it
for all; here it is lifted while a layer of ours is looked at, so that torch.nn's own are treated as before.

Where it gives a function up (under torch.func, after too many recompilations) it runs it as it is and tries
every function that this calls: an engine's hundred small ones, by what no graph can hold.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch import nn

_ENGINE = "unrolled.scan.cpu"


def admit(layers: type[nn.Module]) -> None:
    """Lets torch.compile trace modules of this class, now or, if it is not loaded yet, when it is; what
    their engine does is never compiled."""
    _when_loaded("torch._dynamo.trace_rules", lambda rules: rules.add(_ENGINE))
    _when_loaded("torch._dynamo.variables.builder", functools.partial(_wrap, layers))


def _when_loaded(name: str, tell: Callable[[Any], None]) -> None:
    if name in sys.modules:
        tell(sys.modules[name])
    else:
        sys.meta_path.insert(0, _WhenLoaded(name, tell))


class _WhenLoaded(MetaPathFinder):
    """Asked first for every module, and so knows when one is loaded."""

    def __init__(self, name: str, tell: Callable[[Any], None]) -> None:
        self.name, self.tell = name, tell

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self.tell(module)

            spec.loader.exec_module = exec_module
        return spec


def _wrap(layers: type[nn.Module], builder: Any) -> None:
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
