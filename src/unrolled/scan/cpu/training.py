"""A layer with its backward, as one node of autograd."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout

from .. import reference
from ..stack import Call, Stack
from .fields import FIELDS, Fills
from .gradients import Backward
from .inference import PACKED, fields_of, finals_of, give, output_like, take, tensors_of
from .layer import Geometry, Layer, cost, most_groups, place
from .machine import machine
from .pack import Packed, packed
from .pool import Work, workers
from .program import Kernel, forward_kernel
from .room import Loan, borrow


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As the inference, differentiable; a second time through the reference."""
    stack, x, finals = call.stack, call.input, []
    if stack.num_layers == 1:
        x, *last = _Layered.apply(call, x, *call.state, *call.parameters)
        return x, tuple(last)
    directions = stack.directions
    each = len(call.parameters) // stack.num_layers
    for index in range(stack.num_layers):
        own = slice(index * directions, (index + 1) * directions)
        state = tuple([s[own] for s in call.state])
        parameters = call.parameters[index * each : (index + 1) * each]
        lower = call.lower if index + 1 == stack.num_layers else None
        made = Call(_single(stack, index), x, parameters, state, call.lengths, call.reset, lower=lower)
        x, *last = _Layered.apply(made, x, *state, *parameters)
        finals.append(last)
        if stack.dropout and call.training and index + 1 < stack.num_layers:
            x = dropout(x, stack.dropout)
    return x, tuple(torch.cat(states) for states in zip(*finals, strict=True))


@cache
def _single(stack: Stack, index: int) -> Stack:
    """One layer of a stack, as a stack of its own."""
    return replace(stack, num_layers=1, input_size=stack.layer_input_size(index), dropout=0.0)


class Course:
    """Training steps of one layer at one shape laid out, forward and backward: all but where a step's
    tensors lie. One step has it at a time."""

    def __init__(self, call: Call, kernel: Kernel, count: int) -> None:
        stack, x = call.stack, call.input
        geometry = Geometry(stack, kernel.shape, stack.input_size, x.shape[0], x.shape[1])
        self.layer = Layer(geometry, count, True, call.indexed, call.lengths is not None)
        self.work = Work([[(kernel.address, self.layer.jobs)]])
        self.backward: dict[tuple[bool, bool, int], Backward] = {}
        self.fills: Fills | None = None
        self.floats = 0
        """Of the history: every step's states and kept values, of all groups."""
        self._places: list[tuple[Any, str, int]] = []
        saved = len(kernel.shape.plan.saved) if kernel.shape.plan else 0
        for group in self.layer.groups:
            each = geometry.hidden_panels * geometry.time * len(group.rows.rowmap) * geometry.width
            for name, size in (group.state_sizes() | {"saved": each * saved}).items():
                self._places.append((group, name, self.floats))
                self.floats += -(-size // 16) * 16

    def fill(
        self, call: Call, out: Tensor, low: Tensor | None, finals: tuple[Tensor, ...], history: Tensor
    ) -> None:
        """Tells the kernel where the tensors of this step lie; low: the output in bfloat16, if wanted."""
        bases = [t.data_ptr() for t in (call.input, out, history, *call.state, *finals)]
        bases += [0 if t is None else t.data_ptr() for t in (call.reset, low)]
        if self.fills is not None:
            self.fills.write(bases)
            return
        self.fills, count = Fills(), call.stack.cell.states
        outside = {"indices" if call.indexed else "x": 0, "out": 1}
        outside |= {f"initial{k}": 3 + k for k in range(count)}
        outside |= {f"final{k}": 3 + count + k for k in range(count)}
        if call.reset is not None:
            outside["reset"] = len(bases) - 2
        if low is not None:
            outside["low"] = len(bases) - 1
        for direction, groups in enumerate(self.layer.directions):
            names, values = fields_of(
                tensors_of(call, 0, direction, call.input, out, finals), direction == 1
            )
            for group in groups:
                group.block[names] = values
                if low is not None:
                    # Beside the output itself, which the backward reads.
                    part = low[:, :, direction * call.stack.output_size :]
                    group.block[_LOW] = place(part, direction == 1)
                for name, base in outside.items():
                    word = FIELDS[name]
                    self.fills.add(group.block, word, base, int(group.block[word]) - bases[base])
        for group, name, start in self._places:
            self.fills.add(group.block, FIELDS[name], 2, 4 * start)
        self.fills.write(bases)


@dataclass(eq=False)
class Scan:
    """What a forward pass left for its backward."""

    course: Course
    key: Any
    input: Tensor
    packed: list[Packed]
    state: tuple[Tensor, ...]
    reset: Tensor | None
    history: Loan

    def __del__(self) -> None:
        # Nobody else may have the course, whose blocks the backward reads, before this pass is over.
        give(self.key, self.course)


_LOW = [FIELDS[name] for name in ("low", "low_row", "low_step")]


def scan_forward(call: Call) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...], Scan]:
    """One layer's output, that in bfloat16 if wanted, last states (then in bfloat16), and what its backward
    needs."""
    stack, x = call.stack, call.input
    kernel = forward_kernel(stack.cell, stack.bias, stack.proj_size > 0, True, machine())
    if not call.indexed and x.stride(-1) != 1:
        x = x.contiguous()
    state = tuple([s.contiguous() for s in call.state])
    if x is not call.input or any([s is not t for s, t in zip(state, call.state, strict=True)]):
        call = replace(call, input=x, state=state)
    batch, time = x.shape[:2]
    size = stack.output_size * stack.directions
    out = output_like(x, size)
    low = output_like(x, size, torch.bfloat16) if call.lower is torch.bfloat16 else None
    finals = finals_of(state, torch.float32 if low is None else torch.bfloat16)
    reset = None if call.reset is None else call.reset.stride()
    with workers(cost(stack, stack.input_size, batch * time), batch * stack.hidden_size) as (pool, count):
        key = (stack, x.shape, x.stride(), count, call.indexed, call.lengths is None, reset, kernel.address)
        key += most_groups(), low is None
        course = take(key) or Course(call, kernel, count)
        parameters = stack.weights(call.parameters)[0]
        own = [packed(stack, kernel.shape, p, call.indexed, pool, count) for p in parameters]
        scan = Scan(course, key, x, own, state, call.reset, borrow(course.floats))
        if call.lengths is not None:
            course.layer.shares(call.lengths.numpy())
        course.fill(call, out, low, finals, scan.history.floats)
        for made, groups in zip(own, course.layer.directions, strict=True):
            for group in groups:
                group.block[PACKED] = made.pointers
        pool.run(course.work)
    return out, low, finals, scan


class _Layered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        out, low, finals, ctx.scan = scan_forward(call)
        ctx.set_materialize_grads(False)
        # Not the call, whose tensors the graph would hold beside those that it saves.
        ctx.rest = call.stack, call.lengths, call.reset, call.training
        ctx.save_for_backward(out, *tensors)
        if low is not None:
            return low, *finals
        return out, *finals

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        out, x, *rest = ctx.saved_tensors
        stack, *others = ctx.rest
        count = stack.cell.states
        call = Call(stack, x, tuple(rest[count:]), tuple(rest[:count]), *others)
        if torch.is_grad_enabled():
            return None, *_again(call, grads)
        _, dx, *wanted = ctx.needs_input_grad
        return None, *_gradients(call, ctx.scan, out, grads, dx, any(wanted[:count]))


def _gradients(
    call: Call, scan: Scan, out: Tensor, grads: tuple[Tensor | None, ...], dx: bool, dinitial: bool
) -> list[Tensor | None]:
    """The gradients of (input, states, parameters) of one layer, whose output was `out`."""
    stack, course = call.stack, scan.course
    batch, time = scan.input.shape[:2]
    with workers(2 * cost(stack, stack.input_size, batch * time), batch * stack.hidden_size) as (
        pool,
        count,
    ):
        key = dx, dinitial, count
        if key not in course.backward:
            moving = sorted(course.fills.words | set(PACKED.tolist())) if course.fills else []
            made = Backward(stack, course.layer, call.indexed, dx, dinitial, count, moving)
            course.backward[key] = made
        own = stack.weights(call.parameters)[0]
        return course.backward[key].run(own, scan.input, out, scan.state, grads, pool)


def _again(call: Call, grads: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """The gradients with a graph of their own, for those who differentiate twice."""
    output, states = reference.run(call)
    inputs = [call.input, *call.state, *call.parameters]
    wanted = [t for t in inputs if t.requires_grad]
    results = zip((output, *states), grads, strict=True)
    pairs = [(r, g.to(r.dtype)) for r, g in results if r.requires_grad and g is not None]
    found = iter(
        torch.autograd.grad(
            [r for r, _ in pairs], wanted, [g for _, g in pairs], create_graph=True, allow_unused=True
        )
    )
    return [next(found) if t.requires_grad else None for t in inputs]
