"""unrolled train language FILE --out DIR"""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from ..cells import CELLS
from ..models import LanguageModel
from ..text import read_text
from ..training import Options, Plan, Result, train_language
from .progress import BITS, clock, shown

train = typer.Typer(name="train", help="Train a model on a file of one's own.", no_args_is_help=True)

_DEFAULT, _PLAN = Options(), Plan(steps=1)


@train.callback()
def _train() -> None:
    """Train a model on a file of one's own."""


@train.command()
def language(
    file: Path = typer.Argument(help="A UTF-8 text; its last tenth is kept for validation."),
    out: Path = typer.Option(..., help="The folder that the best model is written to."),
    cell: str = typer.Option(_DEFAULT.cell, help=f"One of {', '.join(CELLS)}."),
    hidden_size: int = typer.Option(_DEFAULT.hidden_size, help="Hidden units of each layer."),
    layers: int = typer.Option(_DEFAULT.num_layers, help="Recurrent layers, one on another."),
    dropout: float = typer.Option(_DEFAULT.dropout, help="Between layers and before the head."),
    embedding_size: int = typer.Option(
        _DEFAULT.embedding_size, help="Width of the learned embedding; 0: one-hot."
    ),
    minutes: float = typer.Option(
        None, help="Wall-clock time in all (3 if no --steps).", show_default=False
    ),
    steps: int = typer.Option(None, help="Updates of the weights, instead of minutes.", show_default=False),
    batch: int = typer.Option(_DEFAULT.batch, help="Streams of text read side by side."),
    window: int = typer.Option(_DEFAULT.window, help="Steps that gradients flow back through."),
    learning_rate: float = typer.Option(_PLAN.learning_rate, help="The highest one of the schedule."),
    seed: int = typer.Option(_DEFAULT.seed, help="Of the weights and of the order of reading."),
    device: str = typer.Option(_DEFAULT.device, help="cpu, cuda, cuda:1, …"),
    checkpoint_every: float = typer.Option(_PLAN.checkpoint_every, help="Seconds between checkpoints."),
    overwrite: bool = typer.Option(False, help="Replace a model that is already in the folder."),
    resume: bool = typer.Option(False, help="Go on with the unfinished run in the folder."),
) -> None:
    """Learn to write like a text: a model of its characters, the best one kept."""
    if minutes is None and steps is None:
        minutes = 3.0
    plan = Plan(seconds=None if minutes is None else minutes * 60, steps=steps, learning_rate=learning_rate)
    options = Options(
        cell, hidden_size, layers, dropout, embedding_size, batch, window, seed=seed, device=device
    )
    text = read_text(file)
    console = Console(soft_wrap=True)
    console.print(_description(text, plan, options), highlight=False)
    with shown(console) as report:
        result = train_language(
            text, out, plan, options, overwrite=overwrite, resume=resume, report=report, say=console.print
        )
    console.print(ending(result, out), highlight=False)


def ending(result: Result, out: Path) -> str:
    """What a run came to, and what to do with it."""
    parameters = sum(p.numel() for p in LanguageModel.load(out).parameters())
    how = "stopped" if result.interrupted else "done"
    more = "the same command with --resume goes on from here\n" if result.interrupted else ""
    return (
        f"{how} after {clock(result.seconds)}: {result.best:.4f} nats = {result.best * BITS:.3f} bits per "
        f"character on the validation text, {result.symbols_per_second:,.0f} characters a second, "
        f"{parameters:,} parameters\n"
        f"{more}the best model is in {out}; next:\n"
        f"  unrolled generate {out} --length 400\n"
        f'  unrolled show {out} "some text" -o picture.png'
    )


def _description(text: str, plan: Plan, options: Options) -> str:
    budget = f"{plan.steps:,} steps" if plan.seconds is None else clock(plan.seconds)
    return (
        f"{len(text):,} characters, {len(set(text))} distinct; {options.cell}, {options.num_layers} × "
        f"{options.hidden_size} units on {options.device}; {budget}. Ctrl-C ends early and keeps the best."
    )
