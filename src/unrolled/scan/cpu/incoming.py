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
        # A row that is every step's of every sequence, and one number, which both directions read.
        self._everywhere: list[Place] = [(0, 0, 0)] * directions
        with outside():
            self._zeros = torch.zeros(size, dtype=torch.float32)

    def known(self, dout: Tensor | None) -> Read | None:
        """What kernels read, if there is none or it is as another was before; None: `look` at it."""
        if dout is None:
            return self._zeros, self._everywhere
        as_usual, places = self._usual
        if as_usual(dout):
            return dout, places
        return (self._row(dout), self._everywhere) if self._even(dout) else None

    def look(self, dout: Tensor) -> Read:
        """What kernels read of any."""
        numbers = there(dout)
        # Where each call has another number of rows or of steps, guards would not know the next.
        again = numbers is dout and not self._varying
        if not any(numbers.stride()):  # a sum's: one number everywhere
            if again:
                self._even = guards([dout])
            return self._row(numbers), self._everywhere
        read = _side_by_side(numbers)
        places = lying(read, self._batch_first, self._directions, self._size)
        if again and read is dout:
            self._usual = guards([dout]), places
        return read, places

    def _row(self, grad: Tensor) -> Tensor:
        """One direction's row of a gradient that is one number, in memory."""
        if grad.dtype is torch.float32:
            # A view of it and its copy take twice as long.
            return torch.full_like(self._zeros, ctypes.c_float.from_address(grad.data_ptr()).value)
        return grad.as_strided((self._size,), (0,)).contiguous()


def _side_by_side(grad: Tensor) -> Tensor:
    """The gradient with its last axis dense; where it is one row for many, that row is made."""
    if grad.stride(-1) == 1:
        return grad
    own = grad[tuple([slice(0, 1) if stride == 0 else slice(None) for stride in grad.stride()[:-1]])]
    return own.contiguous().expand(grad.shape)
