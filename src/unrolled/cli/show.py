"""unrolled show DIR TEXT -o picture.png"""

from __future__ import annotations

from pathlib import Path

import typer

from ..models import LanguageModel
from ..see import check_picture, draw, record


def show(
    model: Path = typer.Argument(metavar="DIR", help="A folder made by `unrolled train language`."),
    text: str = typer.Argument(help="The text to read."),
    out: Path = typer.Option("picture.png", "-o", "--out", help="The picture: .png, .svg or .pdf."),
) -> None:
    """Draw the hidden state over a text, and the likeliest next characters under it."""
    place = check_picture(out, len(text))
    loaded = LanguageModel.load(model)
    draw(record(loaded, text), place, title=model.resolve().name)
    typer.echo(f"drew {len(text)} characters into {place}")
