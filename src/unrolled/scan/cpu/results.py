"""The gradients of one direction's parameters: the tensors that kernels write, and their order."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..stack import Stack
from .derived import BASE
from .pack import present
from .room import copy, like, zeros_like

_COPY = -1


class Results:
    """What the kernels write, by name: d_ih, d_hh, d_b_ih, d_b_hh, d_hr.

    one_bias: whether both biases have the same gradient, since they are added to the same gates.
    """

    def __init__(self, stack: Stack, one_bias: bool) -> None:
        self._stack, self._one_bias = stack, one_bias
        self._zeros: dict[str, bool] = {}
        self.numbers: list[int] = []
        """Of `make`'s tensors, those of their bases."""
        self._makes: list[tuple[int, bool]] = []
        self._order: list[int] = []

    def add(self, name: str, zeros: bool) -> None:
        """One more; zeros: whether it must begin so."""
        self._zeros[name] = zeros

    def close(self) -> None:
        """When all have been added: what a step makes, and in which order it is returned."""
        there, stack = present(self._stack), self._stack
        self.numbers = [BASE[name] for name in self._zeros]
        self._makes = [(there.index(n.removeprefix("d_")), zeros) for n, zeros in self._zeros.items()]
        for index, name in enumerate(there):
            if stack.cell.recurrent == "diagonal" and name in ("hh", "b_hh"):
                continue
            if name == "b_hh" and self._one_bias:
                self._order.append(_COPY)
            elif f"d_{name}" in self._zeros:
                self._order.append([*self._zeros].index(f"d_{name}"))
            else:  # no gate reads it; its gradient is zero
                self._order.append(len(self._makes))
                self._makes.append((index, True))

    def make(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Tensors for one step; parameters: the direction's, contiguous."""
        return [zeros_like(parameters[i]) if zeros else like(parameters[i]) for i, zeros in self._makes]

    def ordered(self, made: Sequence[Tensor], vectors: Tensor) -> list[Tensor]:
        """The gradients in the parameters' order.

        vectors: those of the vectors of one weight a unit (vector, hidden), the cell's own, then the
        diagonal recurrence's; not read where there are none.
        """
        found: list[Tensor] = []
        for index in self._order:
            found.append(copy(found[-1]) if index == _COPY else made[index])
        cell = self._stack.cell
        own = len(cell.vectors)
        if cell.recurrent == "diagonal":
            found.insert(1, vectors[own : own + cell.gates].reshape(-1))
            if self._stack.bias:
                found.insert(3, vectors[own + cell.gates :].reshape(-1))
        return [*found, *(vectors[j].clone() for j in range(own))]
