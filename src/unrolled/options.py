"""Every check of a layer's constructor."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from .cells import Cell
from .errors import Error


def check_options(
    name: str,
    sizes: Mapping[str, Any],
    flags: Mapping[str, Any],
    dropout: Any = 0.0,
    proj_size: Any = 0,
) -> None:
    """Raises TypeError or Error for sizes, flags and rates that no layer can have, in torch.nn's words."""
    shown = f"{name}({', '.join(str(size) for size in sizes.values())})"
    for option, value in {**sizes, "proj_size": proj_size}.items():
        if not isinstance(value, Integral) or isinstance(value, bool):
            got = f"{type(value).__name__} ({value!r})"
            raise TypeError(f"{shown}: {option} should be of type int, got: {got}")
    for option, value in flags.items():
        if not isinstance(value, bool):
            got = f"{type(value).__name__} ({value!r})"
            raise TypeError(f"{shown}: {option} should be of type bool, got: {got}")
    for option, value in sizes.items():
        if value < 1:
            raise Error(f"{shown}: {option} must be greater than zero, got {value}")
    if isinstance(dropout, bool) or not isinstance(dropout, Real) or not 0 <= float(dropout) <= 1:
        raise Error(f"{shown}: dropout is {dropout!r}; wanted a probability in range [0, 1]")
    if not 0 <= proj_size < sizes["hidden_size"]:
        raise Error(f"{shown}: proj_size is {proj_size}; wanted 0 or less than hidden_size")


@torch.no_grad()
def check_cell(name: str, cell: Cell, hidden_size: int) -> None:
    """Raises TypeError or Error if the cell's next states are not tensors of a state's shape and dtype."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(*shape, hidden_size, dtype=torch.float32, device="cpu")

    gates = tuple(zeros(2) for _ in range(cell.gates))
    states = tuple(zeros(2) for _ in range(cell.states))
    vectors = tuple(zeros() for _ in cell.vectors)
    following = cell(gates, None if cell.recurrent == "none" else gates, states, vectors)
    for i, state in enumerate(following):
        if not isinstance(state, Tensor):
            raise TypeError(
                f"{name}: the cell returned a {type(state).__name__} as state {i}; wanted a Tensor"
            )
        if state.shape != states[0].shape or state.dtype != states[0].dtype:
            raise Error(
                f"{name}: the cell returned state {i} as {state.dtype} {tuple(state.shape)} from states of "
                f"{states[0].dtype} {tuple(states[0].shape)}; wanted the same dtype and shape"
            )


def reads_output(cell: Cell) -> bool:
    """Whether the next states depend on h itself (and not only on R h): an h that does not fit tells,
    by an error or in what comes of it. Where R is diagonal R h is as wide as h."""
    if cell.recurrent == "diagonal":
        return True

    def zeros(size: int) -> Tensor:
        return torch.zeros(1, size, device="meta")

    gates = tuple(zeros(2) for _ in range(cell.gates))
    states = (zeros(3), *(zeros(2) for _ in range(cell.states - 1)))
    vectors = tuple(zeros(2) for _ in cell.vectors)
    try:
        following = cell(gates, None if cell.recurrent == "none" else gates, states, vectors)
    except RuntimeError:
        return True
    return any(state.shape != (1, 2) for state in following)
