"""The processor's engine: kernels for any cell, forward and backward, from its own equations.

Every kernel is generated as LLVM IR when a cell is first used (`trace` makes a `graph` of its equations,
`rules` and `maths` say what each op is in vector code, `products`, `feed`, `step`, `forward` and `backward`
are the loops around it), compiled, and kept on disk (`cache`). It runs in float32 on rows and panels of
units (`geometry`, `division`, `layer`, `pack`), few rows by two workers (`ahead`), on torch's threads
(`team`, `pool`), and is one node of autograd (`training`, `course`, `keep`), several layers one after
another (`stacked`). Calls whose like has come before skip the checks (`ready`, and in training `practice`).

A row's output is the same to the last bit whatever its neighbours, the cutting of time and the threads.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import Parameter

from ...cells import Cell
from ...errors import Error
from .. import transforms
from ..stack import Call

if TYPE_CHECKING:
    from types import ModuleType

_MOST_STATES = 8


def refuses(call: Call) -> str | None:
    """Why this engine cannot run the call, or None."""
    stack = call.stack
    if not stack.hidden_size:
        return "the layer has no units"
    return _refuses_cell(stack.cell, stack.bias, stack.proj_size > 0) or _refuses_tensors(call)


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As the reference. Raises Error for an index outside 0..input_size - 1."""
    tensors = (call.input, *call.state, *call.parameters)
    if call.indexed and call.input.numel():
        low, high = (int(n) for n in call.input.aminmax())
        if low < 0 or high >= call.stack.input_size:
            raise Error(
                f"{call.stack}: indices run from {low} to {high}; wanted 0 to {call.stack.input_size - 1}"
            )
    if torch.is_grad_enabled() and any([t.requires_grad for t in tensors]):
        if not call.input.numel() or not call.stack.input_size:
            from .. import reference

            return reference.run(call)
        from . import practice, stacked, training

        if call.input.is_inference():  # autograd keeps none of those
            call = replace(call, input=call.input.clone())
        if call.stack.num_layers > 1:
            return stacked.run(call, practice.again, training.run)
        return training.run(call)
    from . import inference

    if call.training and call.stack.drops:
        from . import ready, stacked

        return stacked.run(call, ready.again, inference.run)
    return inference.run(call)


@cache
def _refuses_cell(cell: Cell, bias: bool, projected: bool) -> str | None:
    if cell.states > _MOST_STATES:
        return f"the cell {cell.name} has more than {_MOST_STATES} states"
    try:
        _llvm()
    except ImportError as error:
        return f"its compiler cannot be imported: {error}"
    from .trace import graph_of

    graph = graph_of(cell, bias)
    if isinstance(graph, str):
        return graph
    reads_output = any(n.op == "state" and n.args[0] == 0 for n in graph.read)
    if projected and reads_output:
        return f"the cell {cell.name} reads its own output, which proj_size narrows"
    if projected and cell.recurrent != "dense":
        return "it projects the output of a dense recurrence only (proj_size)"
    return None


def _llvm() -> ModuleType:
    import llvmlite.binding

    return llvmlite.binding


def _refuses_tensors(call: Call) -> str | None:
    if torch.compiler.is_compiling():
        return "it cannot be traced by a compiler"
    if transforms.functional():
        return "it has no rule for functorch (vmap, grad, jvp)"
    if torch._C._get_tracing_state():
        return "torch.jit.trace cannot record its kernels"
    if torch.is_autocast_enabled("cpu"):
        return "it does not run under autocast"
    if torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack():
        return "it cannot run under a dispatch mode"
    if not call.indexed and call.input.dtype != torch.float32:
        return f"it computes in float32, not in {call.input.dtype}"
    for tensor in (call.input, *call.state, *call.parameters):
        reason = _refuses_tensor(tensor)
        if reason is not None:
            return reason
    if torch.autograd.forward_ad._current_level >= 0:
        return "it has no rule for forward-mode differentiation"
    return None


def _refuses_tensor(tensor: Tensor) -> str | None:
    if type(tensor) is not Tensor and type(tensor) is not Parameter:
        return f"it takes ordinary tensors, not a {type(tensor).__name__}"
    if not tensor.is_cpu:
        return f"it runs on the CPU, not on {tensor.device}"
    if tensor.dtype != torch.float32 and tensor.dtype != torch.int64:
        return f"it computes in float32, not in {tensor.dtype}"
    if tensor.layout is not torch.strided or tensor.is_neg() or tensor._is_zerotensor():
        return "it takes ordinary dense tensors"
    return None
