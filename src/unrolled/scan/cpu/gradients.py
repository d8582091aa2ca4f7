"""The backward pass of one layer, laid out once for all steps of one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from torch import Tensor

from ..stack import Stack
from . import room
from .derived import BASE, GIVEN, RESULT, Memory
from .division import sharing
from .fields import MOST_STATES
from .layer import Layer, assign, place
from .pack import present
from .pool import Pool, Work
from .program import backward_kernel
from .side import Side

_ZEROS, _REST, _LOW = BASE["zeros"], BASE["rest"], BASE["dout_low"]
_DOUT, _RESULT = BASE[GIVEN[0]], BASE[RESULT[0]]
_DFINAL, _DINITIAL = ([BASE[f"{n}{k}"] for k in range(MOST_STATES)] for n in ("dfinal", "dinitial"))

Place = tuple[int, int, int]
"""How many bytes after a tensor's first something begins, and those between its rows and steps."""
Read = tuple[Tensor, list[Place]]
"""An output's gradient with its last axis dense, and where each direction's part of it lies."""


class Backward:
    """Phases of one `Work`: weights transposed and features in panels; the scan; the products of the
    gates' gradients with weights, states and features; and copies of the results of odd sizes.

    dx, dinitial: whether the gradients of the input and of the initial states are wanted.
    moving: the words of a group's block that differ from call to call.
    """

    def __init__(
        self,
        stack: Stack,
        layer: Layer,
        indexed: bool,
        dx: bool,
        dinitial: bool,
        count: int,
        moving: Sequence[int],
    ) -> None:
        self._stack, self._memory, self._dinitial = stack, Memory(), dinitial
        self._dx = dx and not indexed and layer.geometry.shape.reads_input
        self._short, self._varying = layer.lengths, layer.packed or layer.elastic
        self._packed = layer.packed
        groups = sum(len(own) for own in layer.directions)
        parts = _small(layer)
        apart = parts and groups >= count
        columns = layer.geometry.shape.r_columns
        together = sharing(stack, columns, layer.geometry.batch, count, groups // stack.directions)
        self._sides = [
            Side(stack, layer, d, self._memory, indexed, self._dx, dinitial, together, apart, parts)
            for d in range(stack.directions)
        ]
        closed = [side.close(count, moving) for side in self._sides]
        before, beside, *later = ([*chain(*phases)] for phases in zip(*closed, strict=True))
        self._kernel = backward_kernel(stack)
        scans = [address for side in self._sides for address in side.scans]
        scan = [(self._kernel.address, assign(scans, together, count)), *beside]
        told = [side.told(count) for side in self._sides]
        self._work = Work([phase for phase in (told, before, scan, *later) if phase])
        self._floats = self._memory.zeros + self._memory.rest
        # The weights that it reads as they are.
        each = len(stack.shapes) // stack.directions
        read = [(i, BASE[n]) for i, n in enumerate(present(stack)) if n in ("ih", "hh", "hr")]
        self._reads = [[(d * each + i, number) for i, number in read] for d in range(stack.directions)]
        self._nothing: list[Tensor] = []
        self._make: Callable[[], Tensor] | None = None
        self._lying: list[Place] | None = None

    def run(
        self,
        parameters: Sequence[Tensor],
        x: Tensor,
        state: Sequence[Tensor],
        wanted: int,
        read: Read,
        given: Sequence[Tensor | None],
        pool: Pool,
        batch_first: bool,
    ) -> list[Tensor | None]:
        """The gradients of (input, the first `wanted` states, parameters).

        read, given: the gradients of the output and of the last states, None for zeros. batch_first:
        whether the input is (batch, time, …), or (time, batch, …).
        """
        (dout, places), dfinals = read, self._last(given, state)
        dinitials = [room.like(s) for s in state] if self._dinitial else []
        memory = room.take(self._floats)
        room.zero(memory, self._memory.zeros)
        start = memory.data_ptr()
        dxs = [self._like(x) for _ in self._sides] if self._dx else []
        made, held = [side.results.make() for side in self._sides], []
        for direction, side in enumerate(self._sides):
            words = side.bases
            for number, at in zip(
                side.results.numbers, map(Tensor.data_ptr, made[direction]), strict=False
            ):
                words[number] = at
            for index, number in self._reads[direction]:
                weight = parameters[index]
                if not weight.is_contiguous():
                    weight = weight.contiguous()
                    held.append(weight)
                words[number] = weight.data_ptr()
            words[_ZEROS], words[_REST] = start, start + 4 * self._memory.zeros
            for numbers, slots in ((_DFINAL, dfinals), (_DINITIAL, dinitials)):
                for number, tensor in zip(numbers, slots, strict=False):
                    address = tensor.data_ptr()
                    words[number] = address + 4 * tensor.stride(0) if direction else address
            skip, words[_DOUT + 1], words[_DOUT + 2] = places[direction]
            words[_DOUT] = dout.data_ptr() + skip
            words[_LOW] = dout.dtype is torch.bfloat16
            if dxs:
                dx = dxs[direction]
                skip, words[_RESULT + 1], words[_RESULT + 2] = self._places(dx, batch_first)[direction]
                words[_RESULT] = dx.data_ptr() + skip
        pool.run(self._work)
        found: list[Tensor | None] = [dxs[0] if dxs else None]
        found += dinitials or [None] * wanted
        for side, own in zip(self._sides, made, strict=True):
            found += side.parameters(own, memory)
        room.give(memory)
        for other in dxs[1:]:
            dxs[0] += other
        return found

    def _last(self, given: Sequence[Tensor | None], state: Sequence[Tensor]) -> Sequence[Tensor]:
        """The last states' gradients as kernels read them."""
        self._nothing = self._nothing or [torch.zeros_like(s) for s in state]
        found = [*self._nothing]
        for index, grad in enumerate(given):
            if grad is not None:
                found[index] = there(grad).to(torch.float32).contiguous()
        return found

    def _places(self, dx: Tensor, batch_first: bool) -> list[Place]:
        if self._varying:
            return lying(dx, batch_first or self._packed, len(self._sides))
        # All inputs have one shape, and lie alike.
        self._lying = self._lying or lying(dx, batch_first, len(self._sides))
        return self._lying

    def _like(self, x: Tensor) -> Tensor:
        if self._packed:
            return room.like(x)
        # A row that ends early gets no gradient past its end.
        if x.is_contiguous() and self._varying:
            return room.like(x).zero_() if self._short else room.like(x)
        if x.is_contiguous():
            # All inputs have one shape.
            self._make = self._make or room.maker(x.shape)
            return self._make().zero_() if self._short else self._make()
        make = torch.zeros_like if self._short else torch.empty_like
        dx = make(x)
        return dx if dx.stride(-1) == 1 else make(x, memory_format=torch.contiguous_format)


def lying(tensor: Tensor, batch_first: bool, directions: int, size: int = 0) -> list[Place]:
    """Where each direction's part of it begins, the part having so many units, or all of them (0)."""
    found = []
    for direction in range(directions):
        address, row, step = place(tensor, direction == 1, 0, batch_first)
        skip = tensor.element_size() * direction * size
        found.append((address - tensor.data_ptr() + skip, row, step))
    return found


def there(grad: Tensor) -> Tensor:
    """The gradient as numbers in memory: torch may have yet to negate it, or know it for zeros alone."""
    return torch.zeros_like(grad) if grad._is_zerotensor() else grad.resolve_neg()


def _small(layer: Layer) -> bool:
    """Whether a core's cache holds the weights' gradients, so that every worker may have its own."""
    geometry = layer.geometry
    gates = geometry.stack.cell.gates * geometry.stack.hidden_size
    return 4 * gates * (geometry.input_size + geometry.stack.output_size) <= geometry.shape.machine.l2
