"""The gradients of one direction's parameters: the tensors that kernels write, and their order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..stack import Stack
from .derived import BASE
from .room import empty

_COPY = -1


class Results:
    """What the kernels write, by name: d_ih, d_hh, d_b_ih, d_b_hh, d_hr.

    one_bias: whether both biases have the same gradient, since they are added to the same gates.
    """

    def __init__(self, stack: Stack, one_bias: bool) -> None:
        self._stack, self._one_bias = stack, one_bias
        self._shapes: dict[str, tuple[tuple[int, ...], bool]] = {}
        self.numbers: list[int] = []
        """Of `make`'s tensors, those of their bases."""
        self._makes: list[tuple[tuple[int, ...], bool]] = []
        self._order: list[int] = []

    def add(self, name: str, shape: tuple[int, ...], zeros: bool) -> None:
        """One more; zeros: whether it must begin so."""
        self._shapes[name] = shape, zeros

    def close(self) -> None:
        """When all have been added: what a step makes, and in which order it is returned."""
        self.numbers = [BASE[name] for name in self._shapes]
        self._makes = [*self._shapes.values()]
        cell, stack, names = self._stack.cell, self._stack, [*self._shapes]
        rows = cell.gates * stack.hidden_size

        def put(name: str, *shape: int) -> None:
            """A parameter that no gate reads has a gradient too, of zeros."""
            if name in names:
                self._order.append(names.index(name))
            else:
                self._order.append(len(self._makes))
                self._makes.append((shape, True))

        dense = cell.recurrent == "dense"
        put("d_ih", rows, stack.input_size)
        if dense:
            put("d_hh", rows, stack.output_size)
        if stack.bias:
            put("d_b_ih", rows)
        if stack.bias and dense and self._one_bias:
            self._order.append(_COPY)
        elif stack.bias and dense:
            put("d_b_hh", rows)
        if stack.proj_size:
            put("d_hr")

    def make(self) -> list[Tensor]:
        """Tensors for one step."""
        return [torch.zeros(s) if zeros else empty(s) for s, zeros in self._makes]

    def ordered(self, made: Sequence[Tensor], vectors: Tensor) -> list[Tensor]:
        """The gradients in the parameters' order.

        vectors: those of the vectors of one weight a unit (vector, hidden), the cell's own, then the
        diagonal recurrence's; not read where there are none.
        """
        found: list[Tensor] = []
        for index in self._order:
            found.append(found[-1].clone() if index == _COPY else made[index])
        cell = self._stack.cell
        own = len(cell.vectors)
        if cell.recurrent == "diagonal":
            found.insert(1, vectors[own : own + cell.gates].reshape(-1))
            if self._stack.bias:
                found.insert(3, vectors[own + cell.gates :].reshape(-1))
        return [*found, *(vectors[j].clone() for j in range(own))]
