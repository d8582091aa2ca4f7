"""A whole stack forward without dropout, nothing kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..stack import Call
from .claim import workers
from .division import cost
from .fields import FIELDS
from .geometry import Geometry
from .layer import Layer, place
from .pack import PARTS, packed
from .plans import shelf
from .pool import Work
from .program import Kernel, forward_kernel
from .room import empty


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Output (batch, time, directions * output), states (layers * directions, batch, size) each."""
    stack = call.stack
    kernel = forward_kernel(stack, False)
    if any([s.stride(-1) != 1 for s in call.state]):
        call = replace(call, state=tuple([s.contiguous() for s in call.state]))
    x, finals = call.input, finals_of(call.state, low(call.lower))
    for index in range(stack.num_layers):
        parameters = stack.parts(call.parameters, index)
        lower = call.lower if index + 1 == stack.num_layers else None
        x = layer_forward(call, kernel, index, parameters, x, finals, lower)
    return x, finals


def layer_forward(
    call: Call,
    kernel: Kernel,
    index: int,
    parameters: list[Sequence[Tensor]],
    x: Tensor,
    finals: tuple[Tensor, ...],
    lower: torch.dtype | None,
) -> Tensor:
    """One layer's output (batch, time, directions * output); its last states go into `finals`."""
    stack, (batch, time) = call.stack, x.shape[:2]
    indexed = not x.is_floating_point()
    if not indexed and x.stride(-1) != 1:
        x = x.contiguous()
    out = output_like(x, stack.output_size * stack.directions, low(lower))
    size = stack.layer_input_size(index)
    about = cost(stack, 0 if indexed else size, batch, time)
    with workers(about) as (pool, count):
        key = (stack, size, batch, time, count, indexed, kernel.address, call.lengths is None)
        plans = shelf(key)
        layer = plans.take()
        if layer is None:
            geometry = Geometry(stack, kernel.shape, size, batch, time)
            layer = Layer(geometry, count, False, indexed, call.lengths is not None)
        if layer.deal is not None and call.lengths is not None:
            layer.deal.give(call.lengths)
        panels = [packed(stack, kernel.shape, own, indexed, pool, count) for own in parameters]
        fill_in(layer, call, index, [p.pointers for p in panels], (x, out, finals))
        pool.run(Work(layer.phases(kernel.address, count)))
        plans.give(layer)
    return out


def fill_in(
    layer: Layer,
    call: Call,
    index: int,
    parts: Sequence[list[int]],
    tensors: tuple[Tensor, Tensor, Sequence[Tensor]],
) -> None:
    """Tells a layer's blocks where everything is: its parts (in the order of `PARTS`, by direction), its
    input, output and last states. All that must outlive its run, for the kernel has addresses only."""
    x, out, finals = tensors
    for direction, groups in enumerate(layer.directions):
        own = tensors_of(call, index, direction, x, out, finals)
        names, values = fields_of(own, direction == 1)
        for group in groups:
            group.block[_PARTS] = parts[direction]
            group.block[names] = values


def low(lower: torch.dtype | None) -> torch.dtype:
    """What the kernels write an output in that is wanted in this dtype."""
    return torch.bfloat16 if lower is torch.bfloat16 else torch.float32


def finals_of(state: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Uninitialised last states, shaped as the initial ones."""
    return tuple([empty(s.shape, dtype) for s in state])


def output_like(x: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uninitialised (batch, time, size) with time outside in memory if it is so in x."""
    batch, time = x.shape[:2]
    count = batch * time * size
    made = empty([count], dtype)
    if x.stride(0) >= x.stride(1):
        return made.view(batch, time, size)
    return made.view(time, batch, size).transpose(0, 1)


def tensors_of(
    call: Call, index: int, direction: int, x: Tensor, out: Tensor, finals: Sequence[Tensor]
) -> tuple[Any, ...]:
    """The tensors that one direction of a layer reads and writes."""
    size, slot = call.stack.output_size, index * call.stack.directions + direction
    part = out[..., direction * size : (direction + 1) * size] if call.stack.bidirectional else out
    initial, final = (tuple([s[slot] for s in given]) for given in (call.state, finals))
    return x, part, initial, final, call.reset


_PARTS = np.array([FIELDS[name] for name in PARTS])


def fields_of(tensors: tuple[Any, ...], reverse: bool) -> tuple[list[int], list[int]]:
    """The fields that a call's tensors fill in, and their values."""
    x, out, initial, finals, reset = tensors
    names = ["x", "x_row", "x_step"] if x.is_floating_point() else ["indices", "i_row", "i_step"]
    values = [*place(x, reverse)]
    given, other = ("out", "low") if out.dtype is torch.float32 else ("low", "out")
    names += [given, f"{given}_row", f"{given}_step", other]
    values += [*place(out, reverse), 0]
    names += ["reset", "reset_row", "reset_step"]
    # A boundary before step t is, walking backwards, one before step t - 1.
    values += (0, 0, 0) if reset is None else place(reset, reverse, 1)
    names.append("final_low")
    values.append(int(finals[0].dtype is torch.bfloat16))
    for k, (state, final) in enumerate(zip(initial, finals, strict=True)):
        names += [f"initial{k}", f"initial_row{k}", f"final{k}", f"final_row{k}"]
        values += [state.data_ptr(), 4 * state.stride(0)]
        values += [final.data_ptr(), final.element_size() * final.stride(0)]
    return [FIELDS[n] for n in names], values
