"""A measured number beside the one that is wanted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """what was measured; backward: with the gradients; got and target in `unit` ("×" is a ratio)."""

    what: str
    backward: bool
    got: float
    unit: str
    target: float
    at_most: bool = False
    """Whether less is better."""
    limit: float | None = None
    """What `got` would be if matrix products at the machine's peak, a call that computes nothing, and what
    reading the weights once a step takes longer than multiplying by them, were all that took time."""

    @property
    def met(self) -> bool:
        """Whether the target is reached, as it is (not as it is rounded)."""
        return self.got <= self.target if self.at_most else self.got >= self.target
