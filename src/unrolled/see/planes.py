"""States in the plane in which they vary most."""

from __future__ import annotations

import torch
from torch import Tensor


def path_in_two_dimensions(states: Tensor) -> tuple[Tensor, tuple[str, str]]:
    """(time, 2): the states in the plane in which they vary most (principal components), and the names of
    the two axes with the share of the variance on each; two units or fewer are shown as they are."""
    units = states.shape[1]
    if units <= 2:
        flat = torch.nn.functional.pad(states, (0, 2 - units))
        return flat, ("unit 0", "unit 1" if units == 2 else "")
    centred = (states - states.mean(0)).double()
    _, strengths, directions = torch.linalg.svd(centred, full_matrices=False)
    directions = torch.nn.functional.pad(directions[:2], (0, 0, 0, max(0, 2 - len(directions))))
    # The sign of a component is arbitrary: its largest weight is made positive.
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    directions = directions * torch.where(largest < 0, -1.0, 1.0)
    shares = strengths.square() / strengths.square().sum().clamp(min=1e-30)
    shares = [*shares.tolist(), 0.0][:2]
    names = [f"component {i + 1} ({100 * share:.0f} % of the variance)" for i, share in enumerate(shares)]
    return (centred @ directions.T).float(), (names[0], names[1])


def side_by_side(states: Tensor) -> list[int]:
    """Units in the order of their angle in the plane of the two strongest directions of variation."""
    if states.shape[1] < 3 or len(states) < 3:
        return list(range(states.shape[1]))
    centred = (states - states.mean(0)).double()
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return torch.atan2(directions[1], directions[0]).argsort().tolist()
