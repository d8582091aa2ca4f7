"""unrolled bench"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import typer

from .. import files


def bench(
    join: list[Path] = typer.Argument(
        None, help="Files of earlier runs (--json): show them as one, measure nothing."
    ),
    layers: str = typer.Option("rnn,gru,lstm", help="Which layers, separated by commas."),
    shapes: str = typer.Option(
        "", help="Batch:time:input:hidden, several separated by commas; default: a grid."
    ),
    random: int = typer.Option(0, min=0, help="As many shapes drawn at random, instead of the grid."),
    seed: int = typer.Option(0, help="Of the random shapes."),
    forward: bool = typer.Option(True, help="Measure the forward pass (inference)."),
    backward: bool = typer.Option(True, help="Measure forward and backward together."),
    features: bool = typer.Option(True, help="Measure lengths, resets and the other cells too."),
    first_call: bool = typer.Option(True, help="Measure the import, first calls and a call's overhead."),
    part: str = typer.Option("1/1", help="Only part k of n, such as 2/6; join the parts afterwards."),
    rounds: int = typer.Option(15, min=3, help="Turns that each peer has; the median counts."),
    threads: int = typer.Option(0, min=0, help="Threads for every peer; 0: as torch is set."),
    out: Path | None = typer.Option(None, "--json", help="Write the figures there as JSON, after each."),
) -> None:
    """Time the layers against torch.nn, ONNX Runtime and JAX (where installed), once all agree."""
    if out is not None:
        files.check_writable(out.parent)
    # Here and not above: the peers take seconds to import.
    from ..bench import report, run, work

    def keep(result: run.Result) -> None:
        if out is not None:
            content = json.dumps(report.data(result), indent=2, ensure_ascii=False) + "\n"
            files.write(out.parent, {out.name: content.encode()})

    if join:
        result = report.join([report.read(place) for place in join])
    else:
        drawn = work.random_shapes(random, seed) if random else work.GRID
        wanted = [work.Shape.parse(text) for text in shapes.split(",")] if shapes else drawn
        passes = [p for p, asked in ((False, forward), (True, backward)) if asked]
        jobs = run.jobs(layers, wanted, passes, features, first_call)
        result = run.run(run.part(part, jobs), rounds, threads, partial(typer.echo, err=True), keep)
    typer.echo(report.table(result))
    keep(result)
