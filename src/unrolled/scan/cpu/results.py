"""The gradients of one direction's parameters: the tensors that kernels write, and their order."""

from __future__ import annotations

import torch
from torch import Tensor

from ..stack import Stack


class Results:
    """What the kernels write, by name: d_ih, d_hh, d_b_ih, d_b_hh, d_hr.

    one_bias: whether both biases have the same gradient, since they are added to the same gates.
    """

    def __init__(self, stack: Stack, one_bias: bool) -> None:
        self._stack, self._one_bias = stack, one_bias
        self._shapes: dict[str, tuple[tuple[int, ...], bool]] = {}

    def add(self, name: str, shape: tuple[int, ...], zeros: bool) -> None:
        """One more; zeros: whether it must begin so."""
        self._shapes[name] = shape, zeros

    def make(self) -> dict[str, Tensor]:
        """Tensors for one step."""
        return {n: torch.zeros(s) if zeros else torch.empty(s) for n, (s, zeros) in self._shapes.items()}

    def ordered(self, made: dict[str, Tensor], vectors: Tensor) -> list[Tensor]:
        """The gradients in the parameters' order.

        vectors: those of the vectors of one weight a unit (vector, hidden), the cell's own, then the
        diagonal recurrence's; not read where there are none.
        """
        stack, cell = self._stack, self._stack.cell
        own, dense, rows = len(cell.vectors), cell.recurrent == "dense", cell.gates * stack.hidden_size
        found = [made["d_ih"] if "d_ih" in made else torch.zeros(rows, stack.input_size)]
        if dense:
            found.append(made["d_hh"] if "d_hh" in made else torch.zeros(rows, stack.output_size))
        elif cell.recurrent == "diagonal":
            found.append(vectors[own : own + cell.gates].reshape(-1))
        if stack.bias:
            found.append(made["d_b_ih"] if "d_b_ih" in made else torch.zeros(rows))
        if stack.bias and dense and self._one_bias:
            found.append(found[-1].clone())
        elif stack.bias and dense:
            found.append(made["d_b_hh"] if "d_b_hh" in made else torch.zeros(rows))
        elif stack.bias and cell.recurrent == "diagonal":
            found.append(vectors[own + cell.gates :].reshape(-1))
        if stack.proj_size:
            found.append(made["d_hr"])
        return [*found, *(vectors[j].clone() for j in range(own))]
