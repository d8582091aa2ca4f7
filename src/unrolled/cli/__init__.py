"""The command `unrolled`: one file a command."""

from __future__ import annotations

import sys

import torch
import typer

from ..errors import Error
from ..version import __version__
from .bench import bench
from .compare_inputs import compare
from .demo import demo
from .evaluate import evaluate
from .export import export
from .generate import generate
from .lesson import lesson
from .predict import predict
from .serve import serve
from .show import show
from .train import train
from .units import units
from .vectors import vectors

app = typer.Typer(
    help="Recurrent networks over symbols: from a line of text to hidden states to a model people use.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(lesson)
app.command()(demo)
app.add_typer(train)
app.command()(generate)
app.command()(predict)
app.command()(evaluate)
app.command()(show)
app.command()(units)
app.command()(serve)
app.command()(export)
app.command()(bench)
app.command("compare-inputs")(compare)
app.add_typer(vectors)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version and stop."
    ),
) -> None:
    pass


def main() -> None:
    """Runs the command; a user's mistake is one sentence on standard error and exit status 2."""
    try:
        app()
    except Error as error:
        print(f"unrolled: {error}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        # Of a CPU's memory torch says it by a plain RuntimeError.
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "alloc_cpu" in str(error)
        if not full:
            raise
        reason = str(error).splitlines()[0] if str(error) else "the system gave no more"
        print(f"unrolled: too little memory ({reason}); choose smaller sizes", file=sys.stderr)
        sys.exit(2)
