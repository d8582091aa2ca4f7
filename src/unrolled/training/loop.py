"""The training loop: one budget, one schedule, the best model kept, nothing lost when it is killed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import Error
from ..interruption import interruptible
from . import checkpoint, curves, usage
from .parallel import Group
from .plan import Plan, Progress, Result, Task


@dataclass
class _Counts:
    """What a run counts and a checkpoint keeps."""

    step: int = 0
    symbols: int = 0
    seconds: float = 0.0  # of earlier processes, for a resumed run
    training_seconds: float = 0.0  # without validations
    validation_seconds: float = 0.0  # of the longest one: what must be left at the end
    validated: int = 0
    since_best: int = 0
    best: float | None = None
    last_loss: float = math.nan
    losses: list[float] = field(default_factory=list)  # since the last point of the curve
    curve: list[list[float]] = field(default_factory=list)


def fit(
    task: Task,
    plan: Plan,
    folder: Path,
    settings: dict[str, Any],
    report: Callable[[Progress], None],
    *,
    resume: bool = False,
    say: Callable[[str], None] = lambda text: None,
    group: Group | None = None,
) -> Result:
    """Trains until the plan's budget is spent or Ctrl-C is pressed; saves whenever a validation is best.

    folder: where the best model, its curves and, until the run is finished, checkpoints are kept.
    settings: what must be the same when the run is resumed; plain data.
    resume: go on from the newest whole checkpoint. A run of a number of steps then ends in the same
        weights, to the bit, as one that was never stopped (with the same number of threads).
    say: called with one sentence when a damaged checkpoint is passed over, and when the run is torn off.
    group: the processes that train together.

    Raises Error when the loss stops being a number (the best model so far stays saved), or when a run
    cannot be resumed.
    """
    group = group or Group()
    run = _Run(task, plan, folder, {**settings, "processes": group.size}, report, group)
    with group.explained():
        if resume:
            run.resume(say)
        try:
            result = run.run()
        except KeyboardInterrupt:  # the second one; after the first the run ends by itself
            if group.leads and checkpoint.exists(folder):
                say(f"the unfinished run is in {folder}; the same call with resume goes on from there")
            raise
    if group.leads:
        curves.draw(folder, run.counts.curve, task.metric)
        best = type(task.model).load(folder)
        best.save(folder, run.summary(result))
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
        group: Group,
    ) -> None:
        self.task, self.plan, self.folder, self.settings, self.report = task, plan, folder, settings, report
        self.group = group
        self.wrapped = group.wrap(task.model)
        self.parameters = dict(task.model.named_parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            plan.learning_rate,
            (0.9, 0.99),
            weight_decay=plan.decay(task.steps_per_pass),
            fused=True,
        )
        self.counts = _Counts()
        self.begin, self.crowd = time.perf_counter(), usage.Crowd()

    def run(self) -> Result:
        """The whole run, or what is left of it."""
        self.wrapped.train()
        kept = time.perf_counter()
        with interruptible() as interrupted:
            while True:
                due = time.perf_counter() - kept > self.plan.checkpoint_every
                done, stop, keep = self.group.decide([self._fraction(), self._stops(interrupted), due])
                if stop or done >= 1.0:
                    break
                if done >= (self.counts.validated + 1) / self.plan.validations:
                    self.counts.validated = int(done * self.plan.validations)
                    self._validate()
                if keep:
                    self.keep()
                    kept = time.perf_counter()
                self._train_step(done)
            halted = bool(self.group.decide([interrupted.is_set()])[0])
            if halted:
                self.keep()
            self._validate()
            best = self.group.decide([math.nan if self.counts.best is None else self.counts.best])[0]
            if math.isnan(best):
                raise Error("training: no validation gave a finite score, so there is no model to save")
            return self._result(best, halted)

    def _stops(self, interrupted: Any) -> bool:
        impatient = 0 < self.plan.patience <= self.counts.since_best
        return interrupted.is_set() or impatient

    def _seconds(self) -> float:
        return self.counts.seconds + time.perf_counter() - self.begin

    def _fraction(self) -> float:
        """How much of the budget is spent, 0 to 1; of time, what the last validation needs is kept back."""
        if self.plan.steps is not None:
            return self.counts.step / self.plan.steps
        seconds = (self.plan.seconds or 0.0) * self.plan.enough
        reserve = min(self.counts.validation_seconds * 1.2 + 0.1, seconds / 2)
        return self._seconds() / (seconds - reserve)

    def _train_step(self, fraction: float) -> None:
        counts, begin = self.counts, time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate(fraction)
        loss, symbols = self.task.loss(self.wrapped)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._clip()
        counts.last_loss = self.group.mean(float(loss.detach()))
        if not math.isfinite(counts.last_loss):
            kept = "" if counts.best is None else f"; the best model so far ({counts.best:.4f}) is saved"
            raise Error(
                f"the loss became {counts.last_loss} at step {counts.step + 1}{kept}: "
                f"try a smaller learning rate than {self.plan.learning_rate}"
            )
        self.optimizer.step()
        counts.step += 1
        counts.symbols += symbols
        counts.losses.append(counts.last_loss)
        counts.training_seconds += time.perf_counter() - begin
        self._report()

    def _clip(self) -> None:
        """Scales the gradients so that their norm together is at most the plan's."""
        found = [p.grad for p in self.parameters.values() if p.grad is not None]
        norm = nn.utils.get_total_norm(found)
        # torch's own would pass over all of them to multiply by 1.
        if not norm <= self.plan.clip:
            nn.utils.clip_grads_with_norm_(self.parameters.values(), self.plan.clip, norm)

    def _validate(self) -> None:
        if not self.group.leads:
            return
        counts, begin = self.counts, time.perf_counter()
        score = self.task.evaluate()
        counts.since_best += 1
        if math.isfinite(score) and self._better(score):
            counts.best, counts.since_best = score, 0
            self.task.model.save(self.folder, self.summary(self._result(score, False)))
        self._draw(score)
        counts.validation_seconds = max(counts.validation_seconds, time.perf_counter() - begin)
        self._report(score)

    def _draw(self, score: float) -> None:
        """Adds a point to the curve."""
        counts = self.counts
        loss = sum(counts.losses) / len(counts.losses) if counts.losses else math.nan
        counts.curve.append([counts.step, self._seconds(), self.plan.rate(self._fraction()), loss, score])
        counts.losses = []
        curves.write(self.folder, counts.curve, self.task.metric)

    def _better(self, score: float) -> bool:
        best = self.counts.best
        return best is None or (score > best if self.task.higher_is_better else score < best)

    def _result(self, best: float, interrupted: bool) -> Result:
        memory = usage.memory(self.task.model.device)
        crowded = self.crowd.there()
        return Result(best, self.counts.step, self._seconds(), self._speed(), interrupted, memory, crowded)

    def summary(self, result: Result) -> dict[str, Any]:
        """What summary.json says: the score, the run, the task, and the machine's part in it."""
        return {
            f"validation_{self.task.metric}": result.best,
            "seconds": round(result.seconds, 3),
            "symbols_per_second": round(result.symbols_per_second, 1),
            "steps": result.steps,
            "interrupted": result.interrupted,
            "parameters": sum(p.numel() for p in self.parameters.values()),
            "peak_memory_bytes": result.memory,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "processes": self.group.size,
            **self.task.summary(),
        }

    def _speed(self) -> float:
        seconds = self.counts.training_seconds
        return self.counts.symbols / seconds if seconds else 0.0

    def _report(self, validation: float | None = None) -> None:
        if not self.group.leads:
            return
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
        position, data = self.task.position()
        own = {"random": torch.get_rng_state(), **position}
        if self.task.model.device.type == "cuda":
            own["random_cuda"] = torch.cuda.get_rng_state(self.task.model.device)
        everyone = self.group.gather((own, data))
        if not self.group.leads:
            return
        tensors = {f"model.{name}": p.detach() for name, p in self.parameters.items()}
        for name, parameter in self.parameters.items():
            for part, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{name}.{part}"] = value
        for rank, (own, _) in enumerate(everyone):
            tensors |= {f"process.{rank}.{name}": tensor for name, tensor in own.items()}
        counts = {**asdict(self.counts), "seconds": self._seconds()}
        run = {"settings": self.settings, "counts": counts, "task": [data for _, data in everyone]}
        checkpoint.write(self.folder, tensors, run)

    def resume(self, say: Callable[[str], None]) -> None:
        """Goes back to the newest whole checkpoint; raises Error if it is of another run."""
        read = checkpoint.read(self.folder) if self.group.leads else None
        tensors, data, problem = self.group.share(read)
        self._check_same(data["settings"])
        self.counts = _Counts(**data["counts"])
        if problem is not None:
            if self.group.leads:
                checkpoint.drop_newest(self.folder)
            say(f"{problem}; going on from the one before it, step {self.counts.step}")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"model.{name}"])
        for name, parameter in self.parameters.items():
            state = _under(f"optimizer.{name}.", tensors)
            # The fused update has its count of steps there too.
            moved = {part: value.to(parameter.device) for part, value in state.items()}
            self.optimizer.state[parameter] = moved
        own = _under(f"process.{self.group.rank}.", tensors)
        self.task.restore(own, data["task"][self.group.rank])
        torch.set_rng_state(own["random"])
        if "random_cuda" in own:
            torch.cuda.set_rng_state(own["random_cuda"], self.task.model.device)

    def _check_same(self, settings: dict[str, Any]) -> None:
        """Raises Error if the run to resume had other settings or data."""
        # The task first, which has settings of its own, and the data last, which some settings part.
        last = {"task": -1, "data": 1}
        for name in sorted(settings, key=lambda name: last.get(name, 0)):
            value, now = settings[name], self.settings.get(name)
            if now != value and name == "data":
                raise Error(f"{self.folder}: the run to resume was on other data; give the same files")
            if now != value:
                raise Error(
                    f"{self.folder}: the run to resume had {name} {value}, and this call has {now}; "
                    f"resume with the same data and settings"
                )


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
