"""The output's gradient of a layer's training steps, as kernels read it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from .alike import guards
from .gradients import Place, Read, lying, there
from .lent import outside


class Incoming:
    """What is known of the gradients that have come: most come as the one before.

    turned: whether the output is (time, batch, …) in memory, or (batch, time, …). size: of one direction's
    part. varying: whether outputs differ in how many rows or time steps they have.
    """

    def __init__(self, turned: bool, directions: int, size: int, varying: bool) -> None:
        self._batch_first, self._directions, self._size = not turned, directions, size
        self._varying = varying
        # In one piece, for two threads may go through one graph.
        self._usual: tuple[Callable[[Tensor], bool], list[Place]] = (lambda _: False), []
        self._even: Callable[[Tensor], bool] = lambda _: False
        with outside():
            nothing = torch.zeros(directions * size, dtype=torch.float32)
        self._nothing = self._everywhere(nothing)

    def known(self, dout: Tensor | None) -> Read | None:
        """What kernels read, if there is none or it is as another was before; None: `look` at it."""
        if dout is None:
            return self._nothing
        as_usual, places = self._usual
        if as_usual(dout):
            return dout, places
        return self._everywhere(self._row(dout)) if self._even(dout) else None

    def look(self, dout: Tensor) -> Read:
        """What kernels read of any."""
        numbers = there(dout)
        if numbers.numel() and not any(numbers.stride()):  # a sum's: one number everywhere
            if numbers is dout:
                self._even = guards([dout])
            return self._everywhere(self._row(numbers))
        read = _side_by_side(numbers)
        places = lying(read, self._batch_first, self._directions, self._size)
        if read is dout and not self._varying:
            self._usual = guards([dout]), places
        return read, places

    def _row(self, grad: Tensor) -> Tensor:
        """The last axis of a gradient that is one number, in memory."""
        if grad.dtype is torch.float32:
            # A view of it and its copy take twice as long.
            return torch.full_like(self._nothing[0], ctypes.c_float.from_address(grad.data_ptr()).value)
        return grad.as_strided(grad.shape[-1:], (0,)).contiguous()

    def _everywhere(self, row: Tensor) -> Read:
        """A row that is every step's of every sequence."""
        part = row.element_size() * self._size
        return row, [(direction * part, 0, 0) for direction in range(self._directions)]


def _side_by_side(grad: Tensor) -> Tensor:
    """The gradient with its last axis dense; where it is one row for many, that row is made."""
    if grad.stride(-1) == 1:
        return grad
    own = grad[tuple([slice(0, 1) if stride == 0 else slice(None) for stride in grad.stride()[:-1]])]
    return own.contiguous().expand(grad.shape)
