"""What a run is given and what it tells: its plan, the task, progress and result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from ..errors import Error
from ..models.base import Model

FADES = 3
"""Passes over the data in which weight decay alone would take a weight to 1/e."""
SHORT_PASS = 300
"""Steps that a pass counts as at least: on little data weights would fade before they are learnt."""


@dataclass(frozen=True)
class Plan:
    """How long and how to train. Exactly one of seconds and steps is given.

    seconds: of wall-clock time, with validation and saving inside.
    enough: the part of the seconds that is spent, where more would gain nothing.
    learning_rate: the highest one, after `warm_up` (a fraction of the budget) and before the cosine
        that ends in a hundredth of it.
    weight_decay: AdamW's (Loshchilov & Hutter 2017): a step takes learning rate × this of each weight.
        None: as much as lets a weight fade to 1/e within FADES passes over the data (see `decay`).
    clip: the largest norm of all gradients together.
    validations: how many times the model is judged, evenly over the budget, the last at its end.
    patience: end early when so many validations in a row were not the best; 0: never.
    checkpoint_every: seconds between two checkpoints.
    """

    seconds: float | None = None
    steps: int | None = None
    learning_rate: float = 4e-3
    weight_decay: float | None = None
    clip: float = 1.0
    warm_up: float = 0.02
    validations: int = 10
    patience: int = 0
    checkpoint_every: float = 60.0
    enough: float = 1.0

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.steps is None):
            raise Error("training: give either a number of minutes or a number of steps")
        for name in (
            "seconds",
            "steps",
            "learning_rate",
            "clip",
            "validations",
            "checkpoint_every",
            "enough",
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise Error(f"training: {name} is {value}; wanted more than 0")
        if self.weight_decay is not None and not 0 <= self.weight_decay < math.inf:
            raise Error(f"training: weight_decay is {self.weight_decay}; wanted 0 or more")
        if self.patience < 0:
            raise Error(f"training: patience is {self.patience}; wanted 0 (never end early) or more")
        if not 0 <= self.warm_up < 1:
            raise Error(
                f"training: warm_up is {self.warm_up}; wanted a part of the budget from 0 to below 1"
            )

    def decay(self, steps_per_pass: int) -> float:
        """AdamW's weight decay λ: the given one, or 1 / (FADES · steps a pass · η/2), η/2 being the mean
        rate. The weights are then a mean of their updates over the last FADES passes, which is best about
        alike for data and models of all sizes (Wang & Aitchison 2024, arXiv:2405.13698)."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 2 / (FADES * max(steps_per_pass, SHORT_PASS) * self.learning_rate)

    def rate(self, fraction: float) -> float:
        """The learning rate when so much of the budget is spent: linear from 0 over `warm_up`, then a
        cosine down to a hundredth."""
        if fraction < self.warm_up:
            return self.learning_rate * max(fraction / self.warm_up, 0.01)
        cosine = math.cos(math.pi * (fraction - self.warm_up) / (1 - self.warm_up))
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + cosine))


@dataclass(frozen=True)
class Progress:
    """Where a run stands: after each step, and (validated) after each validation."""

    step: int
    fraction: float
    loss: float
    symbols_per_second: float
    seconds: float
    seconds_left: float
    best: float | None
    validation: float | None = None


@dataclass(frozen=True)
class Result:
    """How a run ended, or stands. `best` is the task's score on the validation data.

    memory: the most that the process (on a GPU: the GPU) held, in bytes; 0 where it cannot be told.
    crowded: whether other programs had its cores for a good part of the time, as far as can be told.
    """

    best: float
    steps: int
    seconds: float
    symbols_per_second: float
    interrupted: bool
    memory: int = 0
    crowded: bool = False


class Task(Protocol):
    """What is trained: a model with its data."""

    @property
    def model(self) -> Model:
        """The model, on its device."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Whether a better score is a higher one."""
        ...

    @property
    def metric(self) -> str:
        """The score's name."""
        ...

    @property
    def steps_per_pass(self) -> int:
        """Batches in one pass over the data."""
        ...

    def loss(self, model: nn.Module) -> tuple[Tensor, int]:
        """The loss on this process's part of the next batch, and how many symbols the whole batch has.

        model: what to call; `self.model`, or that wrapped for several processes. The mean of the
        processes' losses is the loss of the whole batch.
        """
        ...

    def evaluate(self) -> float:
        """The score on the validation data; draws no random numbers."""
        ...

    def summary(self) -> dict[str, Any]:
        """What to write of the task into the model's summary.json, beside the run's own figures."""
        ...

    def position(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Where the data stands, for a checkpoint: tensors, and what JSON can hold."""
        ...

    def restore(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Goes back to such a position."""
        ...
