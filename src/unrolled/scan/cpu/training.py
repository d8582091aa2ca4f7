"""A layer with its backward, as one node of autograd."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout

from .. import reference
from ..stack import Call, Stack
from .gradients import Scan, gradients
from .inference import cost, fields_of, give, output_like, packed_weights, take, tensors_of
from .layer import Geometry, Group, Layer, most_groups
from .machine import machine
from .pool import Work, workers
from .program import forward_kernel
from .room import borrow


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As the inference, differentiable; a second time through the reference."""
    stack, x, finals = call.stack, call.input, []
    directions = stack.directions
    each = len(call.parameters) // stack.num_layers
    for index in range(stack.num_layers):
        own = slice(index * directions, (index + 1) * directions)
        single = _single(stack, index)
        made = Call(
            single,
            x,
            call.parameters[index * each : (index + 1) * each],
            tuple(s[own] for s in call.state) if stack.num_layers > 1 else call.state,
            call.lengths,
            call.reset,
        )
        x, *last = _Layered.apply(made, x, *made.state, *made.parameters)
        finals.append(last)
        if stack.dropout and call.training and index + 1 < stack.num_layers:
            x = dropout(x, stack.dropout)
    if len(finals) == 1:
        return x, tuple(finals[0])
    return x, tuple(torch.cat(states) for states in zip(*finals, strict=True))


@cache
def _single(stack: Stack, index: int) -> Stack:
    """One layer of a stack, as a stack of its own."""
    return replace(stack, num_layers=1, input_size=stack.layer_input_size(index), dropout=0.0)


def scan_forward(call: Call) -> tuple[Tensor, list[Tensor], Scan]:
    """One layer's output, last states, and what its backward needs."""
    stack, x = call.stack, call.input
    kernel = forward_kernel(stack.cell, stack.bias, stack.proj_size > 0, True, machine())
    indexed = not x.is_floating_point()
    if not indexed and x.stride(-1) != 1:
        x = x.contiguous()
    batch, time = x.shape[:2]
    out = output_like(x, stack.output_size * stack.directions)
    finals = [torch.empty(s.shape) for s in call.state]
    lengths = None if call.lengths is None else call.lengths.numpy()
    with workers(cost(stack, stack.input_size, batch * time), batch * stack.hidden_size) as (pool, count):
        key = (stack, batch, time, count, indexed, lengths is None, kernel.address, most_groups())
        layer = take(key)
        if layer is None:
            geometry = Geometry(stack, kernel.shape, stack.input_size, batch, time)
            layer = Layer(geometry, count, True, indexed, lengths is not None)
        scan = Scan(layer, [], x)
        # Nobody else may have the layer, whose blocks the backward reads, before this pass is over.
        weakref.finalize(scan, give, key, layer).atexit = False
        if lengths is not None:
            layer.shares(lengths)
        # The outputs are held for this run only: what the node of autograd keeps must not lead back to it.
        held, kept, parameters = [], scan.kept, stack.weights(call.parameters)[0]
        for direction, groups in enumerate(layer.directions):
            packed = packed_weights(call, kernel, parameters[direction], indexed)
            tensors = tensors_of(call, 0, direction, x, out, tuple(finals))
            names, values = fields_of(packed, tensors, direction == 1)
            for group in groups:
                group.block[names] = values
                kept.append(_history(scan, group))
            held.append(tensors)
            kept.append((packed, tensors[2], tensors[4]))
        pool.run(Work(kernel.address, layer.jobs))
        held.clear()
    return out, finals, scan


def _history(scan: Scan, group: Group) -> Tensor:
    """Memory for every step's states and kept values."""
    geometry, plan = group.geometry, group.geometry.shape.plan
    saved = len(plan.saved) if plan else 0
    sizes = group.state_sizes()
    each = geometry.hidden_panels * geometry.time * len(group.rows.rowmap) * geometry.width
    sizes["saved"] = each * saved
    total = sum(sizes.values())
    kept = borrow(scan, total + 16)
    at = kept.data_ptr()
    for name, size in sizes.items():
        group.set(**{name: at})
        at += 4 * size
    return kept


class _Layered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        out, finals, ctx.scan = scan_forward(call)
        ctx.call = replace(call, input=tensors[0].new_empty(0), parameters=(), state=())
        ctx.save_for_backward(out, *tensors)
        return out, *finals

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        out, x, *rest = ctx.saved_tensors
        count = ctx.call.stack.cell.states
        call = replace(ctx.call, input=x, state=tuple(rest[:count]), parameters=tuple(rest[count:]))
        if torch.is_grad_enabled():
            return None, *_again(call, grads)
        return None, *gradients(call, ctx.scan, out, grads, ctx.needs_input_grad[1:])


def _again(call: Call, grads: tuple[Tensor, ...]) -> list[Tensor | None]:
    """The gradients with a graph of their own, for those who differentiate twice."""
    output, states = reference.run(call)
    inputs = [call.input, *call.state, *call.parameters]
    wanted = [t for t in inputs if t.requires_grad]
    pairs = [(r, g) for r, g in zip((output, *states), grads, strict=True) if r.requires_grad]
    found = iter(
        torch.autograd.grad(
            [r for r, _ in pairs], wanted, [g for _, g in pairs], create_graph=True, allow_unused=True
        )
    )
    return [next(found) if t.requires_grad else None for t in inputs]
