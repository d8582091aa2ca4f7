"""unrolled show DIR TEXT -o page.html"""

from __future__ import annotations

from pathlib import Path

import typer

from ..errors import Error
from ..models import Model, load
from ..see import (
    FIGURES,
    Recording,
    check_page,
    check_picture,
    draw,
    nearest_passages,
    record,
    symbols_of,
    write_page,
)
from ..text import read_text


def show(
    model: Path = typer.Argument(metavar="DIR", help="A folder made by `unrolled train`."),
    text: str = typer.Argument(help="The text to read."),
    out: Path = typer.Option(
        "page.html", "-o", "--out", help="A page: .html; a picture: .png, .svg, .pdf."
    ),
    reference: Path = typer.Option(
        None, help="A UTF-8 text in which to look for the nearest states (page).", show_default=False
    ),
    reference_limit: int = typer.Option(200_000, help="Characters of the reference to read."),
    figure: str = typer.Option("overview", help=f"Which picture: {', '.join(FIGURES)}."),
    layer: int = typer.Option(
        -1, help="The layer of the picture, from 0; -1 is the last.", show_default=False
    ),
    unit: int = typer.Option(None, help="The unit to begin with; else the one that varies most."),
) -> None:
    """Show what the hidden state does over a text: a page to look around in, or a picture."""
    if out.suffix.lower() not in (".html", ".htm"):
        check_picture(out, figure=figure)  # before anything is read
        loaded = load(model)
        place = check_picture(out, len(symbols_of(loaded, text)), figure)
        recording = record(loaded, text)
        draw(recording, place, title=model.resolve().name, figure=figure, layer=layer, unit=unit)
        typer.echo(f"drew {len(recording.symbols)} symbols into {place}")
        return
    check_page(out)
    if layer != -1:
        raise Error("--layer is for pictures (.png, .svg, .pdf); a page shows every layer")
    if reference_limit < 1:
        raise Error(f"--reference-limit is {reference_limit}; wanted at least 1 character")
    other = None if reference is None else read_text(reference)
    loaded = load(model)
    place = check_page(out, len(symbols_of(loaded, text)))
    recording = record(loaded, text)
    found: dict[str, object] = {}
    if other is not None:
        part = other[:reference_limit]
        found["passages"] = nearest_passages(loaded, recording, part)
        read = f"all {len(part):,}" if len(part) == len(other) else f"the first {len(part):,}"
        found["reference"] = (
            f"The nearest states (Euclidean) of the last layer in {reference.name}, {read} characters read."
        )
    write_page(
        recording,
        place,
        title=f"{model.resolve().name}: {_beginning(text)}",
        description=_description(loaded, recording),
        unit=unit,
        **found,
    )
    typer.echo(f"wrote {place}, {place.stat().st_size / 1e6:.1f} MB: open it in a browser")


def _description(model: Model, recording: Recording) -> str:
    config = model.config
    return (
        f"A {model.task} model: {config['cell']}, {config['num_layers']} × {config['hidden_size']} units, "
        f"{len(model.vocabulary)} symbols. {len(recording.symbols):,} symbols read from the beginning."
    )


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else line[:39] + "…"
