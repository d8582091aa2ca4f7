"""The processor's engine: kernels for any cell, forward and backward, from its own equations.

It runs in float32 on torch's threads. A row's output is the same to the last bit whatever its neighbours,
the cutting of time and the threads.

**What is made once for a cell.** `trace` runs its function and its backward on tiny tensors and writes
the ops down as a `graph`; `keep` says which values the backward needs of the forward, and which it makes
again; what is made of a cell's vectors alone `hoist` makes when they are laid out. `program` asks for
the kernels: `forward` and `backward` are the loops over time, within them `step` and `slope` the
equations, which `evaluate` writes op by op as `rules`, `maths` and `special` say, for a `shape` of
vectors; `products` and `outer` are the register tiles of every matrix product, `feed` the input's,
`ahead` the same by another worker, `after` those after a backward scan, `single` all of one step of one
row. They are LLVM IR (`emit`, `value`), told everything by a block of words (`fields`), compiled and kept
on disk (`cache`), and linked (`machine`).

**A call in inference.** `engines.again` tries `ready`: if its like has come before (`alike`), all lies
there laid out (`prepared`), and only addresses are filled in (`fills`). Otherwise `inference` lays it
out: the rows are shared among workers (`geometry`, `division`, `layer`; by their lengths `deal`, packed
ones `ragged`), weights cut into panels (`pack`, `arrange`) that are kept while a `digest` says that they
hold the same, and `pool` has the work done, by torch's own `team`, whose members meet as `sync` says; of
short calls a `trial` says whether that pays. When the parameters hold something else, a laid out call
gets other `weights`; where every call has another number of steps, one for all of them is laid out
(`elastic`).

**A training step.** `practice` is what `ready` is there, `training` the node of autograd and `course` all
of a step laid out: the same layer, panels and pool forward. Backward, `gradients` runs what each
direction (`side`) has laid out (`derived`, `phases`, `segments`): the scan and its `outcome`, the products
after it; `results` are the parameters' gradients. Several layers, each a node, are `stacked`.

**Memory.** `plans` is what lies by between calls; `room` and `lent` are memory that is used again.
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
    from .fields import MOST_STATES

    if cell.states > MOST_STATES:
        return f"the cell {cell.name} has more than {MOST_STATES} states"
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
