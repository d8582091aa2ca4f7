"""unrolled bench"""

from __future__ import annotations

import json
from pathlib import Path

import typer

from .. import files


def bench(
    layers: str = typer.Option("rnn,gru,lstm", help="Which layers, separated by commas."),
    shapes: str = typer.Option(
        "", help="Batch:time:input:hidden, several separated by commas; default: a grid."
    ),
    forward: bool = typer.Option(True, help="Measure the forward pass (inference)."),
    backward: bool = typer.Option(True, help="Measure forward and backward together."),
    features: bool = typer.Option(True, help="Measure lengths, resets and the other cells too."),
    rounds: int = typer.Option(15, min=3, help="Turns that each peer has; the median counts."),
    threads: int = typer.Option(0, min=0, help="Threads for every peer; 0: as torch is set."),
    out: Path | None = typer.Option(None, "--json", help="Write the figures there as JSON too."),
) -> None:
    """Time the layers against torch.nn, ONNX Runtime and JAX (where installed), once all agree."""
    if out is not None:
        files.check_writable(out.parent)
    # Here and not above: the peers take seconds to import.
    from ..bench.report import data, table
    from ..bench.run import run

    result = run(
        layers=layers,
        shapes=shapes,
        passes=[p for p, wanted in ((False, forward), (True, backward)) if wanted],
        with_features=features,
        rounds=rounds,
        threads=threads,
        say=lambda line: typer.echo(line, err=True),
    )
    typer.echo(table(result))
    if out is not None:
        files.write(out.parent, {out.name: (json.dumps(data(result), indent=2) + "\n").encode()})
