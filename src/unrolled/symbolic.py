"""Our layers under torch.fx.symbolic_trace: leaves of the graph, as torch.nn's are.

The tracer knows leaves by the module they come from, torch.nn, and runs what comes from elsewhere.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.fx import Proxy


def leaf(module: nn.Module, input: Proxy, *others: Any) -> Proxy:
    """The call of a module as one node; others: its arguments after the input, of which the last that are
    None are left out."""
    given = [input, *others]
    while given[-1] is None:
        given.pop()
    tracer: Any = input.tracer
    return tracer.create_proxy("call_module", tracer.path_of_module(module), tuple(given), {})
