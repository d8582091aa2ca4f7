"""The training loop: one budget, one schedule, the best model kept."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import Error


@dataclass(frozen=True)
class Plan:
    """How long and how to train. Exactly one of seconds and steps is given.

    seconds: of wall-clock time, with validation and saving inside.
    learning_rate: the highest one, after `warm_up` (a fraction of the budget) and before the cosine
        that ends in a hundredth of it.
    clip: the largest norm of all gradients together.
    validations: how many times the model is judged, evenly over the budget, the last at its end.
    """

    seconds: float | None = None
    steps: int | None = None
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    warm_up: float = 0.02
    validations: int = 10

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.steps is None):
            raise Error("training: give either a number of minutes or a number of steps")
        for name in ("seconds", "steps", "learning_rate", "clip", "validations"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise Error(f"training: {name} is {value}; wanted more than 0")


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
    """How a run ended. Scores are nats a symbol on the validation text."""

    best: float
    steps: int
    seconds: float
    symbols_per_second: float
    interrupted: bool


def fit(
    model: nn.Module,
    loss: Callable[[], Tensor],
    evaluate: Callable[[], float],
    save: Callable[[Result], None],
    plan: Plan,
    symbols: int,
    report: Callable[[Progress], None],
) -> Result:
    """Trains until the plan's budget is spent or Ctrl-C is pressed; saves whenever a validation is best.

    loss: the loss on the next batch; symbols: how many symbols a batch has.
    save: called with the run so far each time `evaluate` gives a lower score than ever before.

    Raises Error when the loss stops being a number; the best model so far stays saved.
    """
    return _Run(model, loss, evaluate, save, plan, symbols, report).run()


class _Run:
    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[], Tensor],
        evaluate: Callable[[], float],
        save: Callable[[Result], None],
        plan: Plan,
        symbols: int,
        report: Callable[[Progress], None],
    ) -> None:
        self.model, self.loss, self.evaluate, self.save = model, loss, evaluate, save
        self.plan, self.symbols, self.report = plan, symbols, report
        self.optimizer = torch.optim.AdamW(
            model.parameters(), plan.learning_rate, (0.9, 0.99), weight_decay=plan.weight_decay, fused=True
        )
        self.begin = time.perf_counter()
        self.step = 0
        self.training_seconds = 0.0  # without validations
        self.validation_seconds = 0.0  # of the longest one: what must be left at the end
        self.best: float | None = None
        self.last_loss = math.nan

    def run(self) -> Result:
        """The whole run."""
        self.model.train()
        validated = 0
        with _interruption() as interrupted:
            while not interrupted.is_set() and (done := self._fraction()) < 1.0:
                if done >= (validated + 1) / self.plan.validations:
                    validated = int(done * self.plan.validations)
                    self._validate()
                self._train_step(done)
            self._validate()
            return self._result(interrupted.is_set())

    def _fraction(self) -> float:
        """How much of the budget is spent, 0 to 1; of time, what the last validation needs is kept back."""
        if self.plan.steps is not None:
            return self.step / self.plan.steps
        seconds = self.plan.seconds or 0.0
        reserve = min(self.validation_seconds * 1.2 + 0.1, seconds / 2)
        return (time.perf_counter() - self.begin) / (seconds - reserve)

    def _train_step(self, fraction: float) -> None:
        begin = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * _schedule(fraction, self.plan.warm_up)
        loss = self.loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.optimizer.step()
        self.step += 1
        self.last_loss = float(loss.detach())
        if not math.isfinite(self.last_loss):
            kept = "" if self.best is None else f"; the best model so far ({self.best:.4f}) is saved"
            raise Error(
                f"the loss became {self.last_loss} at step {self.step}{kept}: "
                f"try a smaller learning rate than {self.plan.learning_rate}"
            )
        self.training_seconds += time.perf_counter() - begin
        self._report()

    def _validate(self) -> None:
        begin = time.perf_counter()
        score = self.evaluate()
        if math.isfinite(score) and (self.best is None or score < self.best):
            self.best = score
            self.save(self._result(False))
        self.validation_seconds = max(self.validation_seconds, time.perf_counter() - begin)
        self._report(score)

    def _result(self, interrupted: bool) -> Result:
        seconds = time.perf_counter() - self.begin
        if self.best is None:
            raise Error("training: no validation gave a finite score, so there is no model to save")
        return Result(self.best, self.step, seconds, self._speed(), interrupted)

    def _speed(self) -> float:
        return self.step * self.symbols / self.training_seconds if self.training_seconds else 0.0

    def _report(self, validation: float | None = None) -> None:
        fraction = min(self._fraction(), 1.0)
        seconds = time.perf_counter() - self.begin
        left = seconds * (1 / fraction - 1) if fraction else math.inf
        self.report(
            Progress(
                self.step, fraction, self.last_loss, self._speed(), seconds, left, self.best, validation
            )
        )


def _schedule(fraction: float, warm_up: float) -> float:
    """Linear from 0 to 1 over `warm_up`, then a cosine from 1 to 0.01, as a factor of the rate."""
    if fraction < warm_up:
        return max(fraction / warm_up, 0.01)
    cosine = math.cos(math.pi * (fraction - warm_up) / (1 - warm_up))
    return 0.01 + 0.99 * 0.5 * (1 + cosine)


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that no step or save is torn; the second one ends at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def first(number: int, frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, first)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
