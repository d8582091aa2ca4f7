"""One layer's training steps laid out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import call as make
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..stack import Stack
from .division import cost
from .elastic import REACH, extend, reach
from .fields import FIELDS
from .fills import Fills
from .geometry import Geometry
from .gradients import Backward
from .incoming import Incoming
from .inference import fields_of, low
from .layer import Group, Layer
from .pack import Packed, Panels, packed, panels_of
from .pool import Pool, Work
from .program import Kernel
from .ragged import Ragged
from .room import empty, maker, whole_lines
from .segments import cut
from .shape import Shape
from .trial import trial_of

Step = tuple[Tensor, Sequence[Tensor], Tensor, Sequence[Tensor], Tensor | None, bool, Ragged | None]
"""The tensors that a step reads and writes: input, initial states, output as it lies in memory, last
states, resets; whether the batch comes first in the input; and, if that is packed, where its rows are."""


class Form(NamedTuple):
    """What steps have in common that are laid out alike.

    workers: how many do the forward pass. indexed: whether the input is symbols. resets, lengths: whether
    sequences begin anew, and end early. turned: whether time comes first in the output's memory. packed:
    whether input and output are. elastic: whether calls have fewer time steps as well.
    one_step: whether it is a step of a cell, whose tensors have no axes of time and of layers.
    """

    stack: Stack
    kernel: Kernel
    batch: int
    time: int
    workers: int
    indexed: bool
    resets: bool
    lengths: bool
    turned: bool
    packed: bool = False
    elastic: bool = False
    one_step: bool = False


class Course:
    """Training steps of one layer at one shape laid out, forward and backward: all but where a step's
    tensors lie. One step has it at a time."""

    def __init__(self, form: Form) -> None:
        stack, kernel, batch, time, count, indexed, resets, lengths, turned, packed, elastic, _ = form
        geometry = Geometry(stack, kernel.shape, stack.input_size, batch, time)
        self.form, self.stack, self.kernel, self.turned = form, stack, kernel, turned
        size = stack.output_size * stack.directions
        shape = (time, batch, size) if self.turned else (batch, time, size)
        self._packed = packed
        self._shapes: list[tuple[int, ...]] = [shape, *stack.state_shapes(batch)]
        if form.one_step:
            self._shapes = [(batch, s[-1]) for s in self._shapes]
        self._makers: dict[torch.dtype | None, list[Callable[[], Tensor]]] = {}
        self.indexed, self.cost = indexed, cost(stack, 0 if indexed else stack.input_size, batch, time)
        self.trial = trial_of("backward", stack, batch, time)
        """Of its backward passes."""
        self.layer = Layer(geometry, count, True, indexed, lengths, packed, elastic)
        self._work: Work | None = None
        self._backward: dict[tuple[bool, bool, int], Backward] = {}
        self.floats = 0
        """Of the history: every step's states and kept values, of all groups."""
        self._fills: Fills | None = None
        self.incoming = Incoming(turned, stack.directions, stack.output_size, packed or elastic)
        each = len(stack.shapes) // stack.directions
        self._cuts = [slice(d * each, (d + 1) * each) for d in range(stack.directions)]
        self._panels: list[Panels | None] = [None] * stack.directions
        self._places: list[tuple[Any, str, int]] = []
        for group in self.layer.groups:
            self._remember(group, kernel.shape, resets)
        self.history = maker([self.floats])
        """Makes the memory of one."""

    def _remember(self, group: Group, shape: Shape, resets: bool) -> None:
        """Every step's states and kept values of a group in memory."""
        rows, geometry = len(group.rows.rowmap), group.geometry
        sizes, first = group.state_sizes(ring=False), self.floats
        sizes["saved"] = geometry.hidden_panels * geometry.time * rows * geometry.width * len(shape.saved)
        if shape.reads_output and resets:
            sizes["outputs"] = sizes["state0"]
        for name, size in sizes.items():
            self._places.append((group, name, self.floats))
            self.floats += whole_lines(size)
        if shape.reads_output and not resets:
            # The state before the second step is the output of the first.
            self._places.append((group, "outputs", first + rows * geometry.width))

    def results(self, lower: torch.dtype | None, x: Tensor) -> list[Tensor]:
        """What a step's output and last states are written to, as they lie in memory; lower: the dtype that
        they are rounded to, if not the kernels' own."""
        if self._packed or self.layer.elastic:  # every step has another number of rows, or of time steps
            (*_, size), *slots = self._shapes
            lead = x.shape[:1] if self._packed else x.shape[:2]
            return [empty(shape, low(lower)) for shape in ((*lead, size), *slots)]
        makers = self._makers.get(lower)
        if makers is None:
            makers = self._makers[lower] = [maker(shape, low(lower)) for shape in self._shapes]
        return [*map(make, makers)]

    def packed(
        self, parameters: Sequence[Tensor], addresses: list[int], pool: Pool, count: int
    ) -> list[Packed]:
        """The parameters, which lie at these addresses, in panels by direction."""
        made = []
        for direction, slots in enumerate(self._cuts):
            own, at = parameters[slots], addresses[slots]
            kept = self._panels[direction]
            if kept is None or not kept.of(own, at):
                kept = panels_of(self.stack, self.kernel.shape, own, self.indexed)
                self._panels[direction] = kept
            if kept is None:
                made.append(packed(self.stack, self.kernel.shape, own, self.indexed, pool, count))
            else:
                made.append(kept.packed(own, at, pool, count))
        return made

    def work(self, tensors: Step, history: Tensor, own: Sequence[Packed]) -> Work:
        """A step with these tensors, which is told first where they lie."""
        fills = self._give(tensors, history, own)
        if self._work is None:
            workers = self.form.workers
            first, *others = self.layer.phases(self.kernel.address, workers)
            told = [fills.work(workers)]
            # Whoever is told deals the rows then, in the same phase: it is one worker.
            phases = [told + first, *others] if others else [told, first]
            self._work = Work(phases)
        return self._work

    def fill(self, tensors: Step, history: Tensor, own: Sequence[Packed]) -> None:
        """As `work`, of which only the telling is done."""
        self._give(tensors, history, own).fill()

    def _give(self, tensors: Step, history: Tensor, own: Sequence[Packed]) -> Fills:
        x, state, out, finals, reset, batch_first, packed = tensors
        bases = list(map(Tensor.data_ptr, (x, out, history)))
        bases.append(0 if reset is None else reset.data_ptr())
        bases += map(Tensor.data_ptr, (*state, *finals))
        for p in own:
            bases.append(p.address)
        if packed is not None:
            bases += packed.begins
        if self.layer.elastic:
            time = packed.time if packed else x.shape[1 if batch_first else 0]
            bases += reach(time, batch_first, x, out)
            for group in self.layer.groups:
                cut(group, time)
        if self._fills is None:
            self._fills = self._laid_out(tensors, bases, own)
        self._fills.give(*bases)
        return self._fills

    def back(self, dx: bool, dinitial: bool, count: int) -> Backward:
        """The backward pass by so many workers; dx, dinitial: as for `Backward`."""
        key = dx, dinitial, count
        made = self._backward.get(key)
        if made is None:
            made = Backward(self.stack, self.layer, self.indexed, dx, dinitial, count, self.moving)
            self._backward[key] = made
        return made

    @property
    def moving(self) -> list[int]:
        """The words of a group's block that differ from step to step."""
        words = self._fills.words if self._fills else set()
        return sorted(words | {FIELDS["segments"]} if self.layer.elastic else words)

    def _laid_out(self, tensors: Step, bases: list[int], own: Sequence[Packed]) -> Fills:
        x, state, out, finals, reset, batch_first, packed = tensors
        x = x if batch_first else x.transpose(0, 1)
        out = out.transpose(0, 1) if self.turned else out
        fills, count = Fills(len(bases)), len(state)
        read, written = "indices" if self.indexed else "x", "out" if out.dtype is torch.float32 else "low"
        outside = {} if self.layer.elastic else {read: 0, written: 1}
        outside |= {f"initial{k}": 4 + k for k in range(count)}
        outside |= {f"final{k}": 4 + count + k for k in range(count)}
        if reset is not None:
            outside["reset"] = 3
        size = self.stack.output_size
        for direction, groups in enumerate(self.layer.directions):
            reverse = direction == 1
            part = out[..., direction * size : (direction + 1) * size]
            slots = [state, finals]
            if not self.form.one_step:
                slots = [tuple([t[direction] for t in given]) for given in slots]
            names, values = fields_of((x, part, *slots, reset), reverse)
            for group in groups:
                group.block[names] = values
                for name, base in outside.items():
                    word = FIELDS[name]
                    fills.add(group.block, word, base, int(group.block[word]) - bases[base])
                for name, offset in own[direction].offsets.items():
                    fills.add(group.block, FIELDS[name], 4 + 2 * count + direction, offset)
                if packed is not None:
                    fills.add(group.block, FIELDS["starts"], 4 + 2 * count + len(own) + direction)
        if self.layer.elastic:
            extend(fills, len(bases) - REACH, self.layer, read, written, size * out.element_size())
        for group, name, start in self._places:
            fills.add(group.block, FIELDS[name], 2, 4 * start)
        return fills
