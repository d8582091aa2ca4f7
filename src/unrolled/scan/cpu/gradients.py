"""The backward pass of one layer, laid out once for all steps of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..stack import Stack, Weights
from . import room
from .derived import BASE, BASES, Memory
from .fields import FIELDS, MOST_STATES
from .layer import Layer, assign, place
from .machine import machine
from .pool import Pool, Work
from .program import backward_kernel
from .side import Side

_OUTPUT = [FIELDS[n + part] for n in ("dout", "out") for part in ("", "_row", "_step")]
_OUTPUT.append(FIELDS["dout_low"])
_RESULT = [FIELDS[n] for n in ("result", "result_row", "result_step")]
_WEIGHTS = [(BASE[name], name) for name in ("ih", "hh", "hr")]
"""The parameters that a backward pass reads as they are, with the numbers of their bases."""
_ZEROS, _REST = BASE["zeros"], BASE["rest"]
_DFINAL, _DINITIAL = ([BASE[f"{n}{k}"] for k in range(MOST_STATES)] for n in ("dfinal", "dinitial"))


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
        self._stack, self._memory, self._dx, self._dinitial = stack, Memory(), dx and not indexed, dinitial
        self._short = layer.lengths
        self._sides = [
            Side(stack, layer, d, self._memory, indexed, self._dx, dinitial)
            for d in range(stack.directions)
        ]
        groups = sum(len(own) for own in layer.directions)
        together = count if groups == 1 and count <= layer.geometry.out_panels else 1
        closed = [side.close(count, together, moving) for side in self._sides]
        before, after, last = ([*chain(*phases)] for phases in zip(*closed, strict=True))
        self._kernel = backward_kernel(stack.cell, stack.bias, stack.proj_size > 0, machine())
        scans = [address for side in self._sides for address in side.scans]
        scan = [(self._kernel.address, assign(scans, together, count))]
        self._work = Work([phase for phase in (before, scan, after, last) if phase])
        self._bases = np.zeros(len(BASES), dtype=np.int64)
        self._nothing: dict[int, Tensor] = {}

    def run(
        self,
        weights: list[Weights],
        x: Tensor,
        out: Tensor,
        state: Sequence[Tensor],
        grads: tuple[Tensor | None, ...],
        pool: Pool,
    ) -> list[Tensor | None]:
        """The gradients of (input, states, parameters); grads: of the output and the last states, None
        for zeros."""
        dout = torch.zeros_like(out) if grads[0] is None else grads[0]
        # The output may lie elsewhere by now: hooks of the graph keep it where they like.
        out, dout = (t if t.stride(-1) == 1 else t.contiguous() for t in (out, dout))
        dfinals = [self._given(k, s, g) for k, (s, g) in enumerate(zip(state, grads[1:], strict=True))]
        dinitials = [torch.empty(s.shape) for s in state] if self._dinitial else []
        memory = room.take(self._memory.zeros + self._memory.rest)
        if self._memory.zeros:
            memory[: self._memory.zeros].zero_()
        dxs, results = [], []
        held: list[Any] = [out, dout, dfinals, dinitials]  # kernels have addresses only
        for direction, (side, own) in enumerate(zip(self._sides, weights, strict=True)):
            made = side.results.make()
            results.append(made)
            tensors = {BASE[name]: tensor for name, tensor in made.items()}
            tensors |= {n: t.contiguous() for n, name in _WEIGHTS if (t := getattr(own, name)) is not None}
            held.append(tensors)
            side.begin(self._addresses(tensors, memory, direction, dfinals, dinitials))
            low = int(dout.dtype is torch.bfloat16)
            side.of_output(_OUTPUT, [*self._part(dout, direction), *self._part(out, direction), low])
            if self._dx:
                dxs.append(self._like(x))
                side.of_result(_RESULT, place(dxs[-1], direction == 1))
        pool.run(self._work)
        found = [side.parameters(made, memory) for side, made in zip(self._sides, results, strict=True)]
        held.clear()
        room.give(memory)
        for other in dxs[1:]:
            dxs[0] += other
        return [
            dxs[0] if dxs else None,
            *(dinitials or [None] * len(state)),
            *(g for one in found for g in one),
        ]

    def _addresses(
        self,
        tensors: dict[int, Tensor],
        memory: Tensor,
        direction: int,
        dfinals: list[Tensor],
        dinitials: list[Tensor],
    ) -> np.ndarray:
        """The bases of a direction, by their numbers; tensors: those that are its own alone."""
        words = self._bases.data
        for number, tensor in tensors.items():
            words[number] = tensor.data_ptr()
        words[_ZEROS], words[_REST] = memory.data_ptr(), memory.data_ptr() + 4 * self._memory.zeros
        for numbers, given in ((_DFINAL, dfinals), (_DINITIAL, dinitials)):
            for number, tensor in zip(numbers, given, strict=False):
                words[number] = tensor.data_ptr() + 4 * direction * tensor.stride(0)
        return self._bases

    def _part(self, tensor: Tensor, direction: int) -> list[int]:
        """Where a direction's part of an output lies."""
        address, row, step = place(tensor, direction == 1)
        return [address + tensor.element_size() * direction * self._stack.output_size, row, step]

    def _given(self, k: int, state: Tensor, grad: Tensor | None) -> Tensor:
        """The gradient of a last state as the kernels want it."""
        if grad is not None:
            return grad.to(torch.float32).contiguous()
        if k not in self._nothing:
            self._nothing[k] = torch.zeros(state.shape)
        return self._nothing[k]

    def _like(self, x: Tensor) -> Tensor:
        # A row that ends early gets no gradient past its end.
        make = torch.zeros_like if self._short else torch.empty_like
        dx = make(x)
        return dx if dx.stride(-1) == 1 else make(x, memory_format=torch.contiguous_format)
