"""Seeds of random numbers, checked in one place."""

from __future__ import annotations

from typing import Any

import torch

from .errors import Error

MOST = 2**63 - 1


def check_seed(name: str, seed: Any) -> None:
    """Raises Error for what is no whole number from 0 to 2^63 - 1."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MOST:
        raise Error(f"{name}: seed is {seed!r}; wanted a whole number from 0 to 2^63 - 1")


def generator(name: str, seed: int | None) -> torch.Generator:
    """A generator of that seed, None: of one that the system draws; name: who asks, for the error."""
    made = torch.Generator()
    if seed is None:
        made.seed()
        return made
    check_seed(name, seed)
    return made.manual_seed(seed)
