"""The training loop: one budget, one schedule, the best model kept, nothing lost when it is killed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import Error
from . import checkpoint
from .interruption import ctrl_c


@dataclass(frozen=True)
class Plan:
    """How long and how to train. Exactly one of seconds and steps is given.

    seconds: of wall-clock time, with validation and saving inside.
    learning_rate: the highest one, after `warm_up` (a fraction of the budget) and before the cosine
        that ends in a hundredth of it.
    clip: the largest norm of all gradients together.
    validations: how many times the model is judged, evenly over the budget, the last at its end.
    checkpoint_every: seconds between two checkpoints.
    """

    seconds: float | None = None
    steps: int | None = None
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    warm_up: float = 0.02
    validations: int = 10
    checkpoint_every: float = 60.0

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.steps is None):
            raise Error("training: give either a number of minutes or a number of steps")
        for name in ("seconds", "steps", "learning_rate", "clip", "validations", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise Error(f"training: {name} is {value}; wanted more than 0")


class Task(Protocol):
    """What is trained: a model with its data."""

    @property
    def model(self) -> nn.Module:
        """The model, on its device."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Whether a better score is a higher one."""
        ...

    def loss(self) -> tuple[Tensor, int]:
        """The loss on the next batch, and how many symbols the batch has."""
        ...

    def evaluate(self) -> float:
        """The score on the validation data; draws no random numbers."""
        ...

    def save(self, result: Result) -> None:
        """Keeps the model as the best so far."""
        ...

    def position(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Where the data stands, for a checkpoint: tensors, and what JSON can hold."""
        ...

    def restore(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Goes back to such a position."""
        ...


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
    """How a run ended, or stands. `best` is the task's score on the validation data."""

    best: float
    steps: int
    seconds: float
    symbols_per_second: float
    interrupted: bool


@dataclass
class _Counts:
    """What a run counts and a checkpoint keeps."""

    step: int = 0
    symbols: int = 0
    seconds: float = 0.0  # of earlier processes, for a resumed run
    training_seconds: float = 0.0  # without validations
    validation_seconds: float = 0.0  # of the longest one: what must be left at the end
    validated: int = 0
    best: float | None = None
    last_loss: float = math.nan


def fit(
    task: Task,
    plan: Plan,
    folder: Path,
    settings: dict[str, Any],
    report: Callable[[Progress], None],
    *,
    resume: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Trains until the plan's budget is spent or Ctrl-C is pressed; saves whenever a validation is best.

    folder: where checkpoints are kept until the run is finished.
    settings: what must be the same when the run is resumed; plain data.
    resume: go on from the newest whole checkpoint. A run of a number of steps then ends in the same
        weights, to the bit, as one that was never stopped (with the same number of threads).
    say: called with one sentence when a damaged checkpoint is passed over.

    Raises Error when the loss stops being a number (the best model so far stays saved), or when a run
    cannot be resumed.
    """
    run = _Run(task, plan, folder, settings, report)
    if resume:
        run.resume(say)
    result = run.run()
    if not result.interrupted:
        checkpoint.remove(folder)
    return result


class _Run:
    def __init__(
        self,
        task: Task,
        plan: Plan,
        folder: Path,
        settings: dict[str, Any],
        report: Callable[[Progress], None],
    ) -> None:
        self.task, self.plan, self.folder, self.settings, self.report = task, plan, folder, settings, report
        self.parameters = dict(task.model.named_parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            plan.learning_rate,
            (0.9, 0.99),
            weight_decay=plan.weight_decay,
            fused=True,
        )
        self.counts = _Counts()
        self.begin = time.perf_counter()

    def run(self) -> Result:
        """The whole run, or what is left of it."""
        self.task.model.train()
        counts, kept = self.counts, time.perf_counter()
        with ctrl_c() as interrupted:
            while not interrupted.is_set() and (done := self._fraction()) < 1.0:
                if done >= (counts.validated + 1) / self.plan.validations:
                    counts.validated = int(done * self.plan.validations)
                    self._validate()
                if time.perf_counter() - kept > self.plan.checkpoint_every:
                    self.keep()
                    kept = time.perf_counter()
                self._train_step(done)
            if interrupted.is_set():
                self.keep()
            self._validate()
            return self._result(interrupted.is_set())

    def _seconds(self) -> float:
        return self.counts.seconds + time.perf_counter() - self.begin

    def _fraction(self) -> float:
        """How much of the budget is spent, 0 to 1; of time, what the last validation needs is kept back."""
        if self.plan.steps is not None:
            return self.counts.step / self.plan.steps
        seconds = self.plan.seconds or 0.0
        reserve = min(self.counts.validation_seconds * 1.2 + 0.1, seconds / 2)
        return self._seconds() / (seconds - reserve)

    def _train_step(self, fraction: float) -> None:
        counts, begin = self.counts, time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * _schedule(fraction, self.plan.warm_up)
        loss, symbols = self.task.loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters.values(), self.plan.clip)
        counts.last_loss = float(loss.detach())
        if not math.isfinite(counts.last_loss):
            kept = "" if counts.best is None else f"; the best model so far ({counts.best:.4f}) is saved"
            raise Error(
                f"the loss became {counts.last_loss} at step {counts.step + 1}{kept}: "
                f"try a smaller learning rate than {self.plan.learning_rate}"
            )
        self.optimizer.step()
        counts.step += 1
        counts.symbols += symbols
        counts.training_seconds += time.perf_counter() - begin
        self._report()

    def _validate(self) -> None:
        counts, begin = self.counts, time.perf_counter()
        score = self.task.evaluate()
        if math.isfinite(score) and self._better(score):
            counts.best = score
            self.task.save(self._result(False))
        counts.validation_seconds = max(counts.validation_seconds, time.perf_counter() - begin)
        self._report(score)

    def _better(self, score: float) -> bool:
        best = self.counts.best
        return best is None or (score > best if self.task.higher_is_better else score < best)

    def _result(self, interrupted: bool) -> Result:
        if self.counts.best is None:
            raise Error("training: no validation gave a finite score, so there is no model to save")
        return Result(self.counts.best, self.counts.step, self._seconds(), self._speed(), interrupted)

    def _speed(self) -> float:
        seconds = self.counts.training_seconds
        return self.counts.symbols / seconds if seconds else 0.0

    def _report(self, validation: float | None = None) -> None:
        counts, fraction, seconds = self.counts, min(self._fraction(), 1.0), self._seconds()
        left = seconds * (1 / fraction - 1) if fraction else math.inf
        best = counts.best
        self.report(
            Progress(
                counts.step, fraction, counts.last_loss, self._speed(), seconds, left, best, validation
            )
        )

    def keep(self) -> None:
        """Writes a checkpoint of everything that the rest of the run depends on."""
        tensors = {f"model.{name}": p.detach() for name, p in self.parameters.items()}
        for name, parameter in self.parameters.items():
            for part, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{name}.{part}"] = value
        tensors["random"] = torch.get_rng_state()
        position, data = self.task.position()
        tensors |= {f"task.{name}": tensor for name, tensor in position.items()}
        counts = {**asdict(self.counts), "seconds": self._seconds()}
        checkpoint.write(self.folder, tensors, {"settings": self.settings, "counts": counts, "task": data})

    def resume(self, say: Callable[[str], None]) -> None:
        """Goes back to the newest whole checkpoint; raises Error if it is of another run."""
        tensors, data, problem = checkpoint.read(self.folder)
        for name, value in data["settings"].items():
            if self.settings.get(name) != value:
                raise Error(
                    f"{self.folder}: the run to resume had {name} {value}, and this call has "
                    f"{self.settings.get(name)}; resume with the same data and settings"
                )
        self.counts = _Counts(**data["counts"])
        if problem is not None:
            say(f"{problem}; going on from the one before it, step {self.counts.step}")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"model.{name}"])
        for name, parameter in self.parameters.items():
            prefix = f"optimizer.{name}."
            state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            moved = {k: v.to(parameter.device) if v.dim() else v for k, v in state.items()}
            self.optimizer.state[parameter] = moved
        task = {k.removeprefix("task."): v for k, v in tensors.items() if k.startswith("task.")}
        self.task.restore(task, data["task"])
        torch.set_rng_state(tensors["random"])


def _schedule(fraction: float, warm_up: float) -> float:
    """Linear from 0 to 1 over `warm_up`, then a cosine from 1 to 0.01, as a factor of the rate."""
    if fraction < warm_up:
        return max(fraction / warm_up, 0.01)
    cosine = math.cos(math.pi * (fraction - warm_up) / (1 - warm_up))
    return 0.01 + 0.99 * 0.5 * (1 + cosine)
