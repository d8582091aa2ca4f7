"""What autocast asks of a call: whether it does at all, and the dtype of the results."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import cells
from .stack import Stack


def active(device: str) -> bool:
    """Whether calls on such a device are within autocast; there are devices that have none."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def lowered(stack: Stack, state: torch.dtype, parameters: torch.dtype, device: str = "cpu") -> torch.dtype:
    """The dtype of output and last states.

    state: the initial states'; those that nobody gave are the input's. On a CPU torch.nn's GRU adds to its
    state, which so stays in its own dtype; RNN and LSTM are autocast's, and so is every other cell here.
    float64 stays as it is, as in all of torch's operations.
    """
    if device == "cpu" and stack.cell is cells.gru:
        return promoted(state, parameters)
    return parameters if parameters is torch.float64 else torch.get_autocast_dtype(device)


def promoted(state: torch.dtype, parameters: torch.dtype) -> torch.dtype:
    """The dtype of a sum of what is autocast's and a state."""
    if parameters is torch.float64:
        return parameters
    return torch.promote_types(torch.get_autocast_dtype("cpu"), state)


def widened(input: Any, state: Any, dtype: torch.dtype) -> tuple[Any, Any]:
    """Input and states in the parameters' dtype, in which the recurrence stays on a CPU."""

    def wide(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    return wide(input), type(state)(map(wide, state)) if type(state) in (tuple, list) else wide(state)


def state_dtype(state: object, input: Tensor, parameters: torch.dtype) -> torch.dtype:
    """The dtype of the initial states; None: of those that stand for them."""
    first = state[0] if isinstance(state, (tuple, list)) and state else state
    if isinstance(first, Tensor):
        return first.dtype
    return input.dtype if isinstance(input, Tensor) and input.is_floating_point() else parameters
