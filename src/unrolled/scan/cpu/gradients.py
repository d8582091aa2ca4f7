"""The backward pass of one layer, laid out once for all steps of one shape."""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch
from torch import Tensor

from ..stack import Stack, Weights
from . import room
from .derived import BASES, Memory
from .fields import FIELDS
from .layer import Layer, assign, place
from .machine import machine
from .pack import named
from .pool import Pool, Work
from .program import backward_kernel
from .side import Side

_OUTPUT = [FIELDS[n + part] for n in ("dout", "out") for part in ("", "_row", "_step")]
_OUTPUT.append(FIELDS["dout_low"])
_RESULT = [FIELDS[n] for n in ("result", "result_row", "result_step")]


class Backward:
    """Phases of one `Work`: weights transposed and features in panels; the scan; the products of the
    gates' gradients with weights, states and features; and copies of the results of odd sizes."""

    def __init__(self, stack: Stack, layer: Layer, indexed: bool, dx: bool, count: int) -> None:
        self._stack, self._memory, self._dx = stack, Memory(), dx and not indexed
        self._short = layer.lengths
        self._sides = [
            Side(stack, layer, d, self._memory, indexed, self._dx) for d in range(stack.directions)
        ]
        groups = sum(len(own) for own in layer.directions)
        together = count if groups == 1 and count <= layer.geometry.out_panels else 1
        closed = [side.close(count, together) for side in self._sides]
        before, after, last = ([*chain(*phases)] for phases in zip(*closed, strict=True))
        self._kernel = backward_kernel(stack.cell, stack.bias, stack.proj_size > 0, machine())
        scans = [address for side in self._sides for address in side.scans]
        scan = [(self._kernel.address, assign(scans, together, count))]
        self._work = Work([phase for phase in (before, scan, after, last) if phase])

    def run(
        self, weights: list[Weights], x: Tensor, out: Tensor, grads: tuple[Tensor, ...], pool: Pool
    ) -> list[Tensor | None]:
        """The gradients of (input, states, parameters)."""
        out, dout = (t if t.stride(-1) == 1 else t.contiguous() for t in (out, grads[0]))
        dfinals = [g.to(torch.float32).contiguous() for g in grads[1:]]
        dinitials = [torch.empty(g.shape) for g in dfinals]
        memory = room.take(self._memory.zeros + self._memory.rest)
        zeros, rest = memory[: self._memory.zeros], memory[self._memory.zeros :]
        if len(zeros):
            zeros.zero_()
        dxs, results, held = [], [], []
        for direction, (side, own) in enumerate(zip(self._sides, weights, strict=True)):
            made = side.results()
            tensors = {n: t.contiguous() for n, t in named(own).items()} | made
            tensors |= {"zeros": zeros, "rest": rest}
            for k, (dfinal, dinitial) in enumerate(zip(dfinals, dinitials, strict=True)):
                tensors[f"dfinal{k}"], tensors[f"dinitial{k}"] = dfinal[direction], dinitial[direction]
            bases = [tensors[name].data_ptr() if name in tensors else 0 for name in BASES]
            side.begin(np.array(bases, dtype=np.int64))
            low = int(dout.dtype is torch.bfloat16)
            side.of_output(_OUTPUT, [*self._part(dout, direction), *self._part(out, direction), low])
            if self._dx:
                dxs.append(self._like(x))
                side.of_result(_RESULT, place(dxs[-1], direction == 1))
            results.append(made)
            held.append(tensors)  # kernels have addresses only
        pool.run(self._work)
        found = [s.parameters(m, w, rest) for s, m, w in zip(self._sides, results, weights, strict=True)]
        room.give(memory)
        for other in dxs[1:]:
            dxs[0] += other
        return [dxs[0] if dxs else None, *dinitials, *(g for one in found for g in one)]

    def _part(self, tensor: Tensor, direction: int) -> list[int]:
        """Where a direction's part of an output lies."""
        address, row, step = place(tensor, direction == 1)
        return [address + tensor.element_size() * direction * self._stack.output_size, row, step]

    def _like(self, x: Tensor) -> Tensor:
        # A row that ends early gets no gradient past its end.
        make = torch.zeros_like if self._short else torch.empty_like
        dx = make(x)
        return dx if dx.stride(-1) == 1 else make(x, memory_format=torch.contiguous_format)
