"""unrolled compare-inputs FILE --text COLUMN --label COLUMN"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import typer
from rich.console import Console
from rich.table import Table

from ..training import ClassifierOptions
from ..training.comparison import compare_inputs, half_interval
from . import options as o
from .examples import labelled


def compare(
    file: Path = typer.Argument(help="A table: .tsv, .csv or .jsonl, packed (.gz) or not."),
    text: str = typer.Option(..., help="The column of texts: its name, or its number from 1."),
    label: str = typer.Option(..., help="The column of labels: its name, or its number from 1."),
    labels: str = typer.Option(None, help="Only rows with these labels, separated by commas."),
    seeds: int = typer.Option(3, help="Trainings with each input, 2 to 10."),
    minutes: float = typer.Option(None, help="Of each training (1 if no --steps).", show_default=False),
    steps: int = typer.Option(None, help="Of each training, instead of minutes.", show_default=False),
    width: int = typer.Option(100, help="Of the learned embedding and of the vectors."),
    hidden_size: int = typer.Option(64, help="Hidden units, of each direction."),
    least: int = typer.Option(2, help="How often a word must occur."),
    lower: bool = typer.Option(True, help="Words in lower case."),
) -> None:
    """Train one small classifier with one-hot, learned, Word2Vec and GloVe inputs, under one budget."""
    plan = o.plan(
        1.0 if minutes is None and steps is None else minutes, steps, learning_rate=2e-3, weight_decay=0.01
    )
    options = ClassifierOptions(
        unit="word", lower=lower, least=least, hidden_size=hidden_size, embedding_size=width
    )
    console = Console(soft_wrap=True)
    examples = labelled(file, text, label, labels)
    rows = compare_inputs(examples, plan, options, seeds=seeds, say=lambda line: typer.echo(line, err=True))
    table = Table(title=f"{file.name}: {len(examples):,} texts", title_justify="left")
    table.add_column("input", no_wrap=True)
    for heading in ("accuracy", "± 95 %", "macro-F1", "± 95 %"):
        table.add_column(heading, justify="right")
    for row in rows:
        figures = (f(v) for v in (row.accuracy, row.macro_f1) for f in (fmean, half_interval))
        table.add_row(row.name, *(f"{figure:.4f}" for figure in figures))
    console.print(table)
    console.print(
        f"each: {options.cell}, {hidden_size} units each way, width {width}, {o.budget(plan)}; a tenth of "
        f"the texts, drawn anew by each of {seeds} seeds, judges; intervals of the mean over seeds, "
        f"Student's t; Word2Vec and GloVe are learned from the texts trained on, and frozen",
        highlight=False,
    )
