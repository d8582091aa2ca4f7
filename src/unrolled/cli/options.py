"""The options that the commands of `unrolled train` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..cells import CELLS
from ..errors import Error
from ..training import Plan, checkpoint
from ..training.choose import Choice
from ..training.parallel import Group, leads
from ..training.runs import Listener
from .progress import clock, shown

Out = Annotated[Path, typer.Option(help="The folder that the best model is written to.")]
Cell = Annotated[str | None, typer.Option(help=f"One of {', '.join(CELLS)}.", show_default=False)]
Hidden = Annotated[int | None, typer.Option(help="Hidden units of each layer; chosen without.")]
Layers = Annotated[int | None, typer.Option(help="Recurrent layers, one on another.")]
Dropout = Annotated[float | None, typer.Option(help="Between layers and before the head.")]
Embedding = Annotated[int | None, typer.Option(help="Width of the learned embedding; 0: one-hot.")]
Input = Annotated[
    str | None,
    typer.Option(
        help="What is read of a symbol: one-hot, embedding, frozen, tuned (word vectors); joined by +.",
        show_default=False,
    ),
]
Vectors = Annotated[
    Path | None, typer.Option(help="Word vectors for frozen and tuned: word2vec, GloVe or fastText text.")
]
Normalize = Annotated[
    str | None,
    typer.Option(
        help="The Unicode form that texts are read in: NFD, NFKC, NFKD, or none (as they are); without it "
        "NFC, and bytes as they are.",
        show_default=False,
    ),
]
Residual = Annotated[bool, typer.Option("--residual", help="Add each layer's input to its output.")]
Norm = Annotated[bool, typer.Option("--layer-norm", help="Normalise each layer's output.")]
Projection = Annotated[int | None, typer.Option(help="Project each layer's output to this width.")]
Variational = Annotated[
    bool, typer.Option("--variational", help="One dropout mask for all steps of a row.")
]
InputDropout = Annotated[float | None, typer.Option(help="Of the embedding's features.")]
WordDropout = Annotated[float | None, typer.Option(help="Of whole symbols.")]
RecurrentDropout = Annotated[float | None, typer.Option(help="Of weights of the recurrence (DropConnect).")]
Minutes = Annotated[float | None, typer.Option(help="Wall-clock time in all (3 if no --steps).")]
Steps = Annotated[int | None, typer.Option(help="Updates of the weights, instead of minutes.")]
Rows = Annotated[int | None, typer.Option("--batch", help="Rows read side by side.")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="The highest one of the schedule.")]
Patience = Annotated[int, typer.Option(help="End after so many validations without a best; 0: never.")]
Validations = Annotated[int, typer.Option(help="How many times the model is judged.")]
Seed = Annotated[int, typer.Option(help="Of the weights and of the order of reading.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")]
Every = Annotated[float, typer.Option(help="Seconds between checkpoints.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a model that is in the folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run in the folder.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also write a log for TensorBoard.")]


def given(**options: Any) -> dict[str, Any]:
    """The options that the user set: those that are neither None nor a flag left out."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


def plan(
    minutes: float | None, steps: int | None, rate: float | None, default_rate: float, **others: Any
) -> Plan:
    """The plan of the command line: three minutes if nothing is said."""
    if minutes is None and steps is None:
        minutes = 3.0
    seconds = None if minutes is None else minutes * 60
    return Plan(
        seconds=seconds, steps=steps, learning_rate=default_rate if rate is None else rate, **others
    )


CHOSEN = ("hidden_size", "dropout", "learning_rate", "enough")
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
def listening(console: Console, metric: str, log: Path | None) -> Iterator[Listener]:
    """Shows a run on the console, and writes TensorBoard's log into the folder `log`."""
    writer = _writer(log) if log is not None and leads() else None
    try:
        with shown(console, metric) as report:
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
