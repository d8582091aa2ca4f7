"""Every check of a scan's arguments, made once, before any arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from ..errors import Error
from . import autocast, transforms
from .stack import Call, Stack

State = Tensor | Sequence[Tensor]


def validate(
    stack: Stack,
    input: Tensor,
    parameters: Sequence[Tensor],
    state: State | None,
    lengths: Tensor | Sequence[int] | None,
    reset: Tensor | None,
    batch_first: bool,
    training: bool,
) -> tuple[Call, bool]:
    """The call in the engines' layout, batch first, and whether the input came without a batch axis."""
    if len(parameters) != len(stack.shapes):
        raise Error(f"{stack}: got {len(parameters)} parameters; wanted {', '.join(stack.shapes)}")
    for p, (name, shape) in zip(parameters, stack.shapes.items(), strict=True):
        if p.shape != shape:
            raise Error(f"{stack}: {name} has shape {tuple(p.shape)}; wanted {tuple(shape)}")
    batched = _check_input(stack, input, parameters[0], batch_first)
    if not batched:
        input = input[None]
    elif not batch_first:
        input = input.transpose(0, 1)
    batch, time = input.shape[:2]
    states = _states(stack, state, parameters[0].dtype, input, batch, batched)
    checked = None if lengths is None else _lengths(stack, lengths, batch, time, batched)
    if reset is not None:
        reset = _reset(stack, reset, input, batched, batch_first).to(input.device)
    return Call(stack, input, tuple(parameters), states, checked, reset, training), not batched


def _check_input(stack: Stack, input: Tensor, weight: Tensor, batch_first: bool) -> bool:
    if not isinstance(input, Tensor):
        raise TypeError(f"{stack}: input is a {type(input).__name__}; wanted a Tensor")
    axes = "batch, time" if batch_first else "time, batch"
    wanted = f"wanted ({axes}, {stack.input_size}), or (time, {stack.input_size}) for one sequence"
    if input.device != weight.device:
        raise Error(f"{stack}: input is on {input.device} and the parameters on {weight.device}; move one")
    if input.dtype == torch.int64:
        if input.dim() not in (1, 2):
            raise Error(f"{stack}: indices have shape {tuple(input.shape)}; wanted ({axes}) or (time,)")
        return input.dim() == 2
    if input.dim() not in (2, 3):
        raise Error(f"{stack}: Expected input to be 2-D or 3-D, got shape {tuple(input.shape)}; {wanted}")
    if input.shape[-1] != stack.input_size:
        raise Error(
            f"{stack}: input has shape {tuple(input.shape)}, its last axis (feature) must be equal to "
            f"input_size {stack.input_size}; {wanted}"
        )
    if not same_dtype(input, weight.dtype):
        raise Error(
            f"{stack}: RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
            f"Convert input: input.to({weight.dtype}), or convert model: model.to({input.dtype})"
        )
    return input.dim() == 3


def same_dtype(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether the tensor has the dtype, or autocast will see to it."""
    return tensor.dtype == dtype or (tensor.is_floating_point() and autocast.active(tensor.device.type))


def _states(
    stack: Stack, state: State | None, dtype: torch.dtype, input: Tensor, batch: int, batched: bool
) -> tuple[Tensor, ...]:
    count, shapes = stack.cell.states, stack.state_shapes(batch)
    if state is None:
        if input.dtype is not torch.int64:
            dtype = input.dtype
        return tuple(torch.zeros(shape, dtype=dtype, device=input.device) for shape in shapes)
    if not isinstance(state, (Tensor, Sequence)) or isinstance(state, str):
        wanted = "a Tensor" if count == 1 else f"a tuple of {count} Tensors"
        raise TypeError(f"{stack}: state is a {type(state).__name__}; wanted {wanted}")
    states = (state,) if isinstance(state, Tensor) else tuple(state)
    if len(states) != count or isinstance(state, Tensor) != (count == 1):
        got = "a Tensor" if isinstance(state, Tensor) else f"{type(state).__name__} of {len(states)}"
        wanted = "a Tensor" if count == 1 else f"a tuple of {count} Tensors"
        raise Error(f"{stack}: state is {got}; wanted {wanted}")
    for i, (s, (slots, _, size)) in enumerate(zip(states, shapes, strict=True)):
        wanted = (slots, batch, size) if batched else (slots, size)
        axes = "(layers * directions, batch, size)" if batched else "(layers * directions, size)"
        if not isinstance(s, Tensor):
            raise TypeError(f"{stack}: state {i} is a {type(s).__name__}; wanted a Tensor")
        if tuple(s.shape) != wanted:
            raise Error(
                f"{stack}: Expected hidden[{i}] size {wanted}, got {list(s.shape)}: a state is {axes}, "
                f"whatever batch_first is"
            )
        if s.device != input.device or not same_dtype(s, dtype):
            raise Error(f"{stack}: state {i} is {s.dtype} on {s.device}; wanted {dtype} on {input.device}")
    return states if batched else tuple(s[:, None] for s in states)


def _lengths(
    stack: Stack, lengths: Tensor | Sequence[int], batch: int, time: int, batched: bool
) -> Tensor | None:
    if not batched:
        raise Error(f"{stack}: lengths were given for an input without a batch axis; cut the input instead")
    if not isinstance(lengths, Tensor):
        listed: list[Any] = list(lengths) if isinstance(lengths, Iterable) else [None]
        if not all(isinstance(n, Integral) and not isinstance(n, bool) for n in listed):
            raise TypeError(f"{stack}: lengths are {lengths!r}; wanted whole numbers, one for each row")
        if listed and not 0 <= min(listed) <= max(listed) <= time:  # among them what no tensor can hold
            raise _out_of_range(stack, min(listed), max(listed), time)
        lengths = torch.tensor([int(n) for n in listed], dtype=torch.int64)
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise TypeError(f"{stack}: lengths are {lengths.dtype}; wanted whole numbers (int64)")
    if tuple(lengths.shape) != (batch,):
        raise Error(
            f"{stack}: lengths have shape {tuple(lengths.shape)}; wanted ({batch},), one for each row"
        )
    if lengths.is_meta:
        raise Error(f"{stack}: lengths are on meta, which holds no numbers; wanted them on the CPU")
    lengths = lengths.to("cpu", torch.int64).contiguous()
    # In a graph the values are not there yet: its operator checks them when it runs. Under torch.func
    # they may be many at once.
    if torch.compiler.is_compiling() or transforms.functional():
        return lengths
    return check_lengths(stack, lengths, time)


def check_lengths(stack: Stack, lengths: Tensor, time: int) -> Tensor | None:
    """The lengths, or None if every row is full; raises Error for one outside 0 to time."""
    if len(lengths):
        low, high = (int(n) for n in lengths.aminmax())
        if low < 0 or high > time:
            raise _out_of_range(stack, low, high, time)
        if low == time:
            return None
    return lengths


def _out_of_range(stack: Stack, low: int, high: int, time: int) -> Error:
    return Error(f"{stack}: lengths run from {low} to {high}; wanted 0 to {time}, the time axis")


def _reset(stack: Stack, reset: Tensor, input: Tensor, batched: bool, batch_first: bool) -> Tensor:
    if not isinstance(reset, Tensor) or reset.dtype != torch.bool:
        got = reset.dtype if isinstance(reset, Tensor) else type(reset).__name__
        raise TypeError(f"{stack}: reset is {got}; wanted a bool Tensor, True where a sequence begins")
    batch, time = input.shape[:2]
    if not batched:
        wanted, axes = (time,), "(time,)"
    elif batch_first:
        wanted, axes = (batch, time), "(batch, time)"
    else:
        wanted, axes = (time, batch), "(time, batch)"
    if tuple(reset.shape) != wanted:
        raise Error(f"{stack}: reset has shape {tuple(reset.shape)}; wanted {wanted}, axes {axes}")
    if reset.is_meta and not input.is_meta:
        raise Error(f"{stack}: reset is on meta and the input on {input.device}; move one")
    if not batched:
        return reset[None]
    return reset if batch_first else reset.transpose(0, 1)
