"""An inference call laid out: all but where its input, output and states lie."""

from __future__ import annotations

from collections.abc import Sequence
from operator import call as make
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..stack import Call, Stack
from . import single
from .alike import Result
from .deal import LENGTHS
from .fields import FIELDS
from .fills import Fills
from .geometry import Geometry
from .inference import fill_in, low, output_like
from .layer import Layer
from .pack import unpacked
from .pool import Pool, Work
from .program import Kernel, forward_kernel, single_kernel
from .ragged import Ragged
from .room import empty, maker
from .weights import Weights


class Asked(NamedTuple):
    """What a call gives beside parameters and states.

    batch_first: None where it is one step of a cell, x (batch, feature) and each state (batch, size).
    """

    x: Tensor
    lengths: Tensor | Ragged | None
    reset: Tensor | None
    batch_first: bool | None
    lower: torch.dtype | None

    @property
    def axes(self) -> int:
        """Of an input that is features."""
        return 2 if self.batch_first is None or isinstance(self.lengths, Ragged) else 3

    @property
    def extent(self) -> tuple[int, int]:
        """Batch and time."""
        if isinstance(self.lengths, Ragged):
            return self.lengths.batch, self.lengths.time
        if self.batch_first is None:
            return self.x.shape[0], 1
        batch, time = self.x.shape[:2]
        return (batch, time) if self.batch_first else (time, batch)

    @property
    def form(self) -> tuple[Any, ...]:
        """All of it but how many rows and steps there are."""
        packed = isinstance(self.lengths, Ragged)
        given = self.lengths is None, self.batch_first, self.lower
        return packed, *self.x.shape[1 if packed else 2 :], *given


def dense(stack: Stack, parameters: Sequence[Tensor]) -> bool:
    """Whether the parameters are of their shapes and as the kernels read them."""
    for p, shape in zip(parameters, stack.shapes.values(), strict=True):
        if p.dtype is not torch.float32 or p.shape != shape or not p.is_contiguous():
            return False
        if not p.is_cpu or p.is_neg():
            return False
    return True


class Laid:
    """What calls share that are laid out: other parameters, and the work itself."""

    addresses: list[int]
    """Where the parameters lie that it was laid out for."""
    _weights: Weights | None
    _fills: Fills
    _work: Work
    _lower: torch.dtype | None
    _dtype: torch.dtype

    def renew(self, parameters: Sequence[Tensor], pool: Pool | None) -> bool:
        """Whether it is laid out for these parameters now."""
        if self._weights is None:
            return False
        self._weights.renew(parameters, pool)
        self.addresses = [p.data_ptr() for p in parameters]
        return True

    def _done(self, pool: Pool | None, bases: Sequence[int], made: list[Tensor]) -> Result | None:
        """The work, which writes the output and last states that were made for it; None: the parameters do
        not hold what they held."""
        self._fills.give(*bases)
        if pool is None:
            self._work.alone()
        else:
            pool.run(self._work)
        if self._weights and self._weights.digest.differs():
            return None
        if self._lower is not None and self._lower is not self._dtype:
            made = [t.to(self._lower) for t in made]
        return made[0], tuple(made[1:])


class Prepared(Laid):
    """One call laid out for `count` workers: all but where its input, output and states lie."""

    def __init__(self, call: Call, asked: Asked, pool: Pool | None, count: int) -> None:
        stack, self.count = call.stack, count
        self._extent, self._lengths = asked.extent, asked.lengths is not None
        self._packed, self._one_step = isinstance(asked.lengths, Ragged), False
        kernel = forward_kernel(stack, False)
        one = self._extent == (1, 1) and asked.lengths is None and single.fits(kernel.shape)
        if one:
            kernel = single_kernel(stack)
        # Of a single step nothing is laid out that could differ from the parameters later.
        kept = (stack, kernel.shape, call.parameters, call.indexed, pool, count)
        self._weights = None if one else Weights(*kept)
        self.addresses = [p.data_ptr() for p in call.parameters]
        self.zeros = call.state
        self._zeros = [s.data_ptr() for s in call.state]
        self.shapes = [s.shape for s in call.state]
        self._size = stack.output_size * stack.directions
        self._lower, self._dtype = call.lower, low(call.lower)
        shapes = [*self.shapes] if self._packed else [(*asked.x.shape[:2], self._size), *self.shapes]
        self._makers = [maker(shape, self._dtype) for shape in shapes]
        sample, *finals = self._results(asked.x)
        last = sample if self._packed or asked.batch_first else sample.transpose(0, 1)
        phases: list[Any] = []
        self._kept: list[Any] = [kernel]
        self._layers: list[Layer] = []
        x = call.input
        bases = [t.data_ptr() for t in (x, last, *finals, *call.state)]
        bases += self._more(asked.lengths, call.reset)
        self._fills = Fills(len(bases))
        for index in range(stack.num_layers):
            out = last if index + 1 == stack.num_layers else self._between(x)
            self._layers.append(self._layer(call, kernel, index, (x, out, finals), bases))
            phases.append(self._layers[-1].scan(kernel.address))
            self._kept += [x, out]
            x = out
        # The comparison of the weights is a part of the work: afterwards is early enough to know.
        first = [self._weights.digest.jobs] if self._weights else []
        first.append(self._fills.work(count))
        first += [layer.deal.work(count) for layer in self._layers if layer.deal]
        self._work = Work([first, *phases])
        # The memory of this call's own input and output is not for keeping: every call has its own.
        self._kept = [k for k in self._kept if k is not call.input and k is not last]
        between = {id(k): k.numel() for k in self._kept if isinstance(k, Tensor)}
        scratch = [group.scratch.numel() for layer in self._layers for group in layer.groups]
        self.floats = sum(scratch) + sum(between.values())

    def _layer(
        self,
        call: Call,
        kernel: Kernel,
        index: int,
        tensors: tuple[Tensor, Tensor, Sequence[Tensor]],
        bases: Sequence[int],
    ) -> Layer:
        """One layer laid out, and what a call gives it noted; tensors: as `fill_in` takes them."""
        stack, indexed = call.stack, not tensors[0].is_floating_point()
        geometry = Geometry(stack, kernel.shape, stack.layer_input_size(index), *self._extent)
        layer = Layer(geometry, self.count, False, indexed, self._lengths, self._packed)
        if self._weights is None:
            zeros = torch.zeros(stack.cell.gates * stack.hidden_size, dtype=torch.float32)
            self._kept.append(zeros)
            parts = [unpacked(stack, own, zeros) for own in stack.parts(call.parameters, index)]
        else:
            parts = self._weights.pointers(index)
            self._weights.tell(self._fills, layer, index)
        fill_in(layer, call, index, parts, tensors)
        outside = self._outside(index, call, indexed)
        if layer.deal is not None:
            lengths = len(bases) - 1 - self._packed
            self._fills.copy(layer.deal.words, LENGTHS, self._fills.bases, lengths)
        for direction, groups in enumerate(layer.directions):
            for group in groups:
                for field, base in outside:
                    self._fills.add(group.block, field, base, int(group.block[field]) - bases[base])
                if self._packed:
                    backwards = 8 * direction * self._extent[1]
                    self._fills.add(group.block, FIELDS["starts"], len(bases) - 1, backwards)
        return layer

    def _results(self, x: Tensor) -> list[Tensor]:
        """Memory for an output and the last states; packed, every call has another number of rows."""
        first = [empty((x.shape[0], self._size), self._dtype)] if self._packed else []
        return [*first, *map(make, self._makers)]

    def _between(self, x: Tensor) -> Tensor:
        """The output of a layer before the last; packed, of as many rows as there may be."""
        if self._packed:
            batch, time = self._extent
            return empty((batch * time, self._size))
        return output_like(x, self._size)

    def _more(self, lengths: Tensor | Ragged | None, reset: Tensor | None) -> list[int]:
        """The addresses that come last."""
        found = [] if reset is None else [reset.data_ptr()]
        if isinstance(lengths, Ragged):
            found += [lengths.address, lengths.begins[0]]
        elif lengths is not None:
            found.append(lengths.data_ptr())
        return found

    def _outside(self, index: int, call: Call, indexed: bool) -> list[tuple[int, int]]:
        """The fields whose addresses a call gives, each with the number of its base."""
        stack, count = call.stack, call.stack.cell.states
        found = [(FIELDS["indices" if indexed else "x"], 0)] if index == 0 else []
        out = "out" if self._dtype is torch.float32 else "low"
        found += [(FIELDS[out], 1)] if index + 1 == stack.num_layers else []
        found += [] if call.reset is None else [(FIELDS["reset"], 2 + 2 * count)]
        found += [(FIELDS[f"final{k}"], 2 + k) for k in range(count)]
        return found + [(FIELDS[f"initial{k}"], 2 + count + k) for k in range(count)]

    def run(
        self,
        pool: Any,
        x: Tensor,
        states: Sequence[Tensor],
        lengths: Tensor | Ragged | None,
        reset: Tensor | None,
    ) -> Result | None:
        """The call itself, the states being sound; None: the parameters do not hold what they held."""
        made = self._results(x) if self._packed else [*map(make, self._makers)]
        if self._one_step:
            made.insert(0, made[0])
        initial = self._zeros if states is self.zeros else [s.data_ptr() for s in states]
        bases = [*map(Tensor.data_ptr, (x, *made)), *initial]
        if reset is not None or lengths is not None:
            bases += self._more(lengths, reset)
        return self._done(pool, bases, made)


class OneStep(Prepared):
    """A step of a cell laid out, of tensors without axes of time and of layers; the output is the first of
    the states."""

    def __init__(self, call: Call, asked: Asked, pool: Pool | None, count: int) -> None:
        super().__init__(call, asked._replace(x=call.input, batch_first=True), pool, count)
        self.zeros = tuple([s[0] for s in self.zeros])
        self.shapes = [s.shape for s in self.zeros]
        self._makers, self._one_step = [maker(shape, self._dtype) for shape in self.shapes], True
