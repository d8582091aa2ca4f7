"""What the commands of `unrolled train` make of their options, and how a run is shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import Error
from ..training import Plan, checkpoint
from ..training.choose import Choice
from ..training.parallel import Group, leads
from ..training.runs import Listener
from .progress import clock, shown


def given(**options: Any) -> dict[str, Any]:
    """The options that the user set: those that are neither None nor a flag left out."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


def plan(minutes: float | None, steps: int | None, **others: Any) -> Plan:
    """The plan of the command line: three minutes if nothing is said."""
    if minutes is None and steps is None:
        minutes = 3.0
    if minutes is not None and not 0 < minutes < math.inf:
        raise Error(f"training: minutes is {minutes}; wanted more than 0")
    seconds = None if minutes is None else minutes * 60
    return Plan(seconds=seconds, steps=steps, **others)


CHOSEN = ("hidden_size", "dropout", "input_dropout", "learning_rate", "enough")
"""What is chosen for the data and the time where the user leaves it open."""


def resumed(out: Path, plan: Plan, options: Any, given: dict[str, Any]) -> tuple[Plan, Any]:
    """The plan and options with what was chosen when the run to resume began, where it is not given."""
    settings = checkpoint.read(out)[1]["settings"]
    found = {name: settings[name] for name in CHOSEN if name in settings and name not in given}
    of_plan = {name: value for name, value in found.items() if name in type(plan).__dataclass_fields__}
    of_options = {name: value for name, value in found.items() if name not in of_plan}
    return replace(plan, **of_plan), replace(options, **of_options)


def settle(
    group: Group,
    resume: bool,
    out: Path,
    plan: Plan,
    options: Any,
    given: dict[str, Any],
    choose: Callable[[], Choice],
) -> Choice:
    """Options and plan without anything left open, the same in all processes."""
    if not group.leads:
        return group.share(None)
    if resume:
        plan, options = resumed(out, plan, replace(options, **_of(options, given)), given)
        return group.share(Choice(options, plan))
    choice = choose()
    if "learning_rate" in given:
        choice = replace(choice, plan=replace(choice.plan, learning_rate=given["learning_rate"]))
    return group.share(choice)


def _of(options: Any, given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in type(options).__dataclass_fields__}


def console() -> Console:
    """Where a run is shown: nowhere, in the processes that do not lead."""
    return Console(soft_wrap=True, quiet=not leads())


@contextmanager
def listening(console: Console, metric: str, log: Path | None, unit: str = "symbol") -> Iterator[Listener]:
    """Shows a run on the console, and writes TensorBoard's log into the folder `log`. unit: see `shown`."""
    writer = _writer(log) if log is not None and leads() else None
    try:
        with shown(console, metric, unit) as report:
            if writer is None:
                yield Listener(report, say=console.print)
                return

            def both(progress: Any) -> None:
                report(progress)
                writer.add_scalar("loss/training", progress.loss, progress.step)
                if progress.validation is not None:
                    writer.add_scalar(f"{metric}/validation", progress.validation, progress.step)

            yield Listener(both, say=console.print)
    finally:
        if writer is not None:
            writer.close()


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise Error(
            "--tensorboard: the package tensorboard is not installed; install it, or leave the option out"
        ) from error
    return SummaryWriter(str(folder))


def budget(plan: Plan) -> str:
    """The plan's budget in words."""
    return f"{plan.steps:,} steps" if plan.seconds is None else clock(plan.seconds)
