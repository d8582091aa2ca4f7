"""PyTorch's own kernels (oneDNN, cuDNN and ATen's loops) for the cells that PyTorch has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import _VF, Tensor
from torch.backends import cudnn
from torch.backends.cudnn import rnn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .. import cells
from . import transforms
from .stack import Call, Stack

functions: Any = torch._C._VariableFunctions  # pyright: ignore[reportAttributeAccessIssue]
"""Where PyTorch has what it calls itself, and names nowhere else."""

_KERNELS: dict[cells.Cell, Callable[..., Any]] = {
    cells.rnn_tanh: _VF.rnn_tanh,
    cells.rnn_relu: _VF.rnn_relu,
    cells.gru: _VF.gru,
    cells.lstm: _VF.lstm,
}


def refuses(call: Call) -> str | None:
    """Why PyTorch's kernels cannot run this call, or None."""
    stack = call.stack
    if stack.cell not in _KERNELS:
        return f"PyTorch has no kernel for the cell {stack.cell.name}"
    if stack.proj_size and stack.cell is not cells.lstm:
        return "PyTorch projects the output of an LSTM only (proj_size)"
    if call.indexed:
        return "PyTorch's kernels read features, not the indices of a Batch"
    if call.reset is not None:
        return "PyTorch's kernels know no reset"
    if call.input.numel() == 0 or stack.input_size == 0 or stack.hidden_size == 0:
        return "PyTorch's kernels refuse an input with no elements and a layer with no units"
    if call.input._is_zerotensor():
        return "PyTorch's kernels read zeros that have no memory"
    if without_rule := transforms.active() & {"vmap", "jvp", "forward"}:
        return f"PyTorch's kernels have no rule for {', '.join(sorted(without_rule))}"
    return None


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As the reference; with lengths, through a packed sequence of the rows that are not empty."""
    if call.lengths is not None:
        return _packed(call, call.lengths)
    output, *states = _kernel(call, call.input, call.state)
    return output, tuple(states)


def compact(stack: Stack, parameters: Sequence[Tensor]) -> None:
    """Moves the parameters of a cell that cuDNN has into one piece of memory, as cuDNN reads them: else it
    would copy them there in every call. Where cuDNN is not, nothing is done."""
    if stack.cell not in _KERNELS or not all([cudnn.is_acceptable(p) for p in parameters]):
        return
    if len({p.dtype for p in parameters}) > 1 or len({p.data_ptr() for p in parameters}) < len(parameters):
        return
    weights = len(parameters) // (stack.num_layers * stack.directions)
    mode = rnn.get_cudnn_mode(stack.cell.name.upper())
    sizes = stack.input_size, mode, stack.hidden_size, stack.proj_size, stack.num_layers
    with torch.cuda.device_of(parameters[0]), torch.no_grad():
        if functions._use_cudnn_rnn_flatten_weight():
            functions._cudnn_rnn_flatten_weight(
                list(parameters), weights, *sizes, False, stack.bidirectional
            )


def _packed(call: Call, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    # A packed sequence holds no empty row: those keep their state and put out zeros.
    order = lengths.sort(descending=True).indices
    # A number in a graph that is being recorded would stay what it is now.
    if not (torch._C._get_tracing_state() and bool(lengths.min() > 0)):
        order = order[: int((lengths > 0).sum())]
    batch, time = call.input.shape[:2]
    if not len(order):
        width = call.stack.output_size * call.stack.directions
        return call.input.new_zeros(batch, time, width), tuple([s.clone() for s in call.state])
    rows = order.to(call.input.device)
    packed = pack_padded_sequence(call.input.index_select(0, rows), lengths[order], batch_first=True)
    state = tuple(s.index_select(1, rows) for s in call.state)
    data, *states = _kernel(call, packed.data, state, packed.batch_sizes)
    unpacked = PackedSequence(data, packed.batch_sizes)
    output, _ = pad_packed_sequence(unpacked, batch_first=True, total_length=time)
    whole = output.new_zeros(batch, *output.shape[1:]).index_copy(0, rows, output)
    pairs = zip(call.state, states, strict=True)
    return whole, tuple(before.index_copy(1, rows, after) for before, after in pairs)


def _kernel(
    call: Call, input: Tensor, state: tuple[Tensor, ...], batch_sizes: Tensor | None = None
) -> tuple[Tensor, ...]:
    stack = call.stack
    kernel = _KERNELS[stack.cell]
    hx = state if stack.cell is cells.lstm else state[0]
    dropout = float(stack.dropout)
    options = (stack.bias, stack.num_layers, dropout, call.training, stack.bidirectional)
    parameters = list(call.parameters)
    if batch_sizes is not None:
        return kernel(input, batch_sizes, hx, parameters, *options)
    return kernel(input, hx, parameters, *options, True)
