"""A layer with its backward, as one node of autograd."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...errors import Error
from .. import reference, transforms
from ..stack import Call
from .claim import ALONE, alone, workers
from .course import Course, Form
from .division import cost, most_groups
from .gradients import Read
from .pack import Packed
from .plans import Shelf, shelf
from .pool import Pool, Work
from .program import forward_kernel
from .ragged import Ragged
from .sync import LINE
from .trial import trial_of


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer as the inference, differentiable; a second time through the reference."""
    output, *states = layer(call)
    return output, tuple(states)


class _Held:
    """What a pass has until its backward is over: the course, whose blocks the backward reads, and the
    panels. It goes with the history, which autograd keeps, and that goes with autograd's other tensors:
    after the backward, or when the graph is dropped."""

    def __init__(self, plans: Shelf, course: Course, panels: Sequence[Packed], read: list[int]) -> None:
        self._plans, self.course, self._panels, self._read = plans, course, panels, read
        self.used = threading.Lock()
        """Held while a backward runs: two threads may go through one graph."""

    def read(self, tensors: Sequence[Tensor]) -> bool:
        """Whether these are where the ones were that the pass has read."""
        return list(map(Tensor.data_ptr, tensors)) == self._read

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ending():  # as in `room.Loan`
            self._plans.give(self.course)


class Scan:
    """A forward pass, and how its backward is run.

    zeros: the initial states, where autograd is not given any, which has less to keep then.
    batch_first: whether the input is (batch, time, …), or (time, batch, …). The output is as it lies in
    memory: autograd forbids to change views in place that are made within a node.
    """

    def __init__(
        self,
        plans: Shelf,
        course: Course,
        zeros: Sequence[Tensor] | None = None,
        batch_first: bool = True,
        lengths: Tensor | Ragged | None = None,
        reset: Tensor | None = None,
        lower: torch.dtype | None = None,
    ) -> None:
        self._plans, self.course, self._zeros, self.batch_first = plans, course, zeros, batch_first
        self._given = 0 if zeros else course.stack.cell.states
        self._lengths, self._reset, self._lower = lengths, reset, lower
        self._ragged = lengths if isinstance(lengths, Ragged) else None
        self.noted: list[Tensor] = []
        if lengths is not None:
            self.noted.append(lengths.sizes if isinstance(lengths, Ragged) else lengths)
        if reset is not None:
            self.noted.append(reset)

    def parts(self, rest: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Of what autograd was given beside the input, the initial states and the parameters."""
        return self._zeros or rest[: self._given], rest[self._given :]

    def forward(
        self, pool: Pool, count: int, x: Tensor, rest: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """The output as it lies in memory and the last states, in bfloat16 if that is wanted; and the
        history, for autograd to keep."""
        course = self.course
        addresses = list(map(Tensor.data_ptr, (x, *rest)))
        state, parameters = self.parts(rest)
        panels = course.packed(parameters, addresses[1 + self._given :], pool, count)
        history = course.history()
        out, *finals = course.results(self._lower, x)
        if course.layer.deal is not None and self._lengths is not None:
            course.layer.deal.give(self._lengths)
        step = x, state, out, finals, self._reset, self.batch_first, self._ragged
        pool.run(course.work(step, history, panels))
        held = _Held(self._plans, course, panels, addresses)
        history.held = held  # pyright: ignore[reportAttributeAccessIssue]
        return out, finals, history

    def backward(
        self,
        wanted: Sequence[bool],
        x: Tensor,
        rest: Sequence[Tensor],
        kept: Tensor,
        dout: Read,
        dfinals: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """The gradients of what autograd was given; wanted: whether it wants them; kept: the history, as it
        was kept; dout, dfinals: the gradients of the output and of the last states."""
        course, given = self.course, self._given
        dx, dinitial = wanted[0], True in wanted[1 : 1 + given]
        state, parameters = self.parts(rest)
        about = 2 * course.cost
        with workers(about, course.trial) if about >= ALONE else alone as (pool, count):
            held = getattr(kept, "held", None)
            if held is not None and held.read((x, *rest)):
                with held.used:
                    back = held.course.back(dx, dinitial, count)
                    return back.run(parameters, x, state, given, dout, dfinals, pool, self.batch_first)
            # Hooks have kept them elsewhere, or computed them again, and the course is another step's.
            plans = shelf((self._plans.key, "anew"))
            course = plans.take() or Course(course.form)
            x, *state = [t.contiguous() for t in (x, *state)]
            filled = self._anew(course, x, state, parameters, kept, pool, count)
            back = course.back(dx, dinitial, count)
            found = back.run(parameters, x, state, given, dout, dfinals, pool, self.batch_first)
        del filled
        plans.give(course)
        return found

    def _anew(
        self,
        course: Course,
        x: Tensor,
        state: Sequence[Tensor],
        parameters: Sequence[Tensor],
        kept: Tensor,
        pool: Pool,
        count: int,
    ) -> Any:
        """Lays a course out as a forward pass of these tensors leaves it; what it reads, to be held."""
        for t in (x, kept, *state, *parameters):
            if t.is_floating_point() and t.dtype is not torch.float32:
                raise Error(f"{course.stack}: hooks gave back a saved tensor as {t.dtype}; wanted float32")
        panels = course.packed(parameters, [p.data_ptr() for p in parameters], pool, count)
        history = kept if kept.data_ptr() % LINE == 0 and kept.is_contiguous() else kept.clone()
        out, *finals = course.results(self._lower, x)
        step = x, state, out, finals, self._reset, self.batch_first, self._ragged
        course.fill(step, history, panels)
        deal = course.layer.deal
        if deal is not None and self._lengths is not None:
            deal.give(self._lengths)
            Work([[deal.work(1)]]).alone()
        return panels, history, out, finals

    def again(
        self,
        x: Tensor,
        rest: Sequence[Tensor],
        grads: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """The same with a graph of their own, for those who differentiate twice, or many at once."""
        twice = torch.is_grad_enabled()
        with torch.enable_grad():
            return self._again(x, rest, grads, twice)

    def _again(
        self,
        x: Tensor,
        rest: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        twice: bool,
    ) -> list[Tensor | None]:
        # Each as a tensor of its own: one may have been made of another, or be given twice.
        x, *rest = [t.view_as(t) if t.requires_grad else t for t in (x, *rest)]
        state, parameters = self.parts(rest)
        given, lengths, packed = x if self.batch_first else x.transpose(0, 1), self._lengths, self._ragged
        one_step = self.course.form.one_step
        if one_step:
            given, state = x.unsqueeze(1), [s.unsqueeze(0) for s in state]
        if isinstance(lengths, Ragged):
            given, lengths = lengths.padded(x), torch.from_numpy(lengths.lengths)
        call = Call(self.course.stack, given, tuple(parameters), tuple(state), lengths, self._reset)
        output, states = reference.run(call)
        if packed is not None:
            output = packed.packed(output)
        elif self.course.turned:
            output = output.transpose(0, 1)
        elif one_step:
            output, states = output.squeeze(1), [s.squeeze(0) for s in states]
        inputs = [x, *rest]
        wanted = [t for t in inputs if t.requires_grad]
        results = zip((output, *states), grads, strict=True)
        pairs = [(r, g.to(r.dtype)) for r, g in results if r.requires_grad and g is not None]
        found = iter(
            torch.autograd.grad(
                [r for r, _ in pairs], wanted, [g for _, g in pairs], create_graph=twice, allow_unused=True
            )
        )
        return [next(found) if t.requires_grad else None for t in inputs]


def layer(call: Call) -> tuple[Tensor, ...]:
    """One layer's output and last states, differentiable."""
    if any([not t.is_contiguous() for t in call.state]):
        call = replace(call, state=tuple([s.contiguous() for s in call.state]))
    if not call.indexed and call.input.stride(-1) != 1:
        call = replace(call, input=call.input.contiguous())
    stack, x = call.stack, call.input
    kernel = forward_kernel(stack, True)
    batch, time = x.shape[:2]
    reset = None if call.reset is None else call.reset.stride()
    about = cost(stack, 0 if call.indexed else stack.input_size, batch, time)
    with workers(about, trial_of("forward", stack, x.shape)) as (pool, count):
        key = (stack, x.shape, x.stride(), count, call.indexed, call.lengths is None, reset, kernel.address)
        plans = shelf((*key, most_groups(), call.lower is torch.bfloat16))
        course = plans.take()
        if course is None:
            lengths, resets, turned = call.lengths is not None, reset is not None, x.stride(0) < x.stride(1)
            course = Course(Form(stack, kernel, batch, time, count, call.indexed, resets, lengths, turned))
        scan = Scan(plans, course, None, True, call.lengths, call.reset, call.lower)
        out, *last = apply(scan, pool, count, x, *call.state, *call.parameters)
    return out.transpose(0, 1) if course.turned else out, *last


class Layered(torch.autograd.Function):
    """`Scan` as a node of autograd."""

    @staticmethod
    def forward(
        ctx: Any, scan: Scan, pool: Pool, count: int, x: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        """Output and last states; rest: the initial states, if it is given any, and the parameters."""
        out, finals, kept = scan.forward(pool, count, x, rest)
        ctx.set_materialize_grads(False)
        ctx.scan = scan
        # Lengths and resets only to hear of it when they have been written since.
        ctx.save_for_backward(x, *rest, *scan.noted, kept)
        return out, *finals

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        """The gradients of the input, the states and the parameters."""
        scan: Scan = ctx.scan
        x, *rest, kept = ctx.saved_tensors
        if scan.noted:
            rest = rest[: len(rest) - len(scan.noted)]
        dout, *dfinals = grads
        incoming = scan.course.incoming
        read = incoming.known(dout)
        twice = torch.is_grad_enabled()
        # What is known stands for itself alone.
        for g in grads if read is None else dfinals:
            twice = twice or (g is not None and transforms.batched(g))
        if twice:
            return None, None, None, *scan.again(x, rest, grads)
        read = read or incoming.look(dout)
        return None, None, None, *scan.backward(ctx.needs_input_grad[3:], x, rest, kept, read, dfinals)


# torch's own in C++: its Python wrapper asks first whether transforms are at work, which engines.refuses
# and `alike.plain` have done.
apply = super(torch.autograd.Function, Layered).apply  # pyright: ignore[reportAttributeAccessIssue]
