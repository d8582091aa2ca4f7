"""The gradients of one direction's parameters: the tensors that kernels write, and their order."""

from __future__ import annotations

from collections.abc import Callable
from operator import call as make

from torch import Tensor

from ..stack import Stack
from .derived import BASE
from .pack import present
from .room import maker


class Results:
    """What the kernels write, by name: d_ih, d_hh, d_b_ih, d_b_hh, d_hr."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._zeros: dict[str, bool] = {}
        self.numbers: list[int] = []
        """Of `make`'s tensors, those of their bases."""
        self._makes: list[Callable[[], Tensor]] = []
        self._begin: list[int] = []
        """Of the same, those that must begin as zeros."""
        self._order: list[int] = []
        self._in_order = False
        self._plain = stack.cell.recurrent != "diagonal" and not stack.cell.vectors

    def add(self, name: str, zeros: bool) -> None:
        """One more; zeros: whether it must begin so."""
        self._zeros[name] = zeros

    def close(self) -> None:
        """When all have been added: what a step makes, and in which order it is returned."""
        there, stack = present(self._stack), self._stack
        made = [f"d_{name}" for name in there if f"d_{name}" in self._zeros]
        self.numbers = [BASE[name] for name in made]
        makers = dict(zip(there, map(maker, stack.shapes.values()), strict=False))
        self._makes = [makers[name.removeprefix("d_")] for name in made]
        self._begin = [index for index, name in enumerate(made) if self._zeros[name]]
        for name in there:
            if stack.cell.recurrent == "diagonal" and name in ("hh", "b_hh"):
                continue
            if f"d_{name}" in made:
                self._order.append(made.index(f"d_{name}"))
            else:  # no gate reads it; its gradient is zero
                self._order.append(len(self._makes))
                self._begin.append(len(self._makes))
                self._makes.append(makers[name])

        self._in_order = self._order == [*range(len(self._makes))]

    def make(self) -> list[Tensor]:
        """Tensors for one step."""
        made = [*map(make, self._makes)]
        for index in self._begin:
            made[index].zero_()
        return made

    def ordered(self, made: list[Tensor], vectors: Tensor) -> list[Tensor]:
        """The gradients in the parameters' order.

        vectors: those of the vectors of one weight a unit (vector, hidden), the cell's own, then the
        diagonal recurrence's; not read where there are none.
        """
        if self._plain:
            return made if self._in_order else [made[index] for index in self._order]
        found = [made[index] for index in self._order]
        cell = self._stack.cell
        own = len(cell.vectors)
        if cell.recurrent == "diagonal":
            found.insert(1, vectors[own : own + cell.gates].reshape(-1))
            if self._stack.bias:
                found.insert(3, vectors[own + cell.gates :].reshape(-1))
        return [*found, *(vectors[j].clone() for j in range(own))]
