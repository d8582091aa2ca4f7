"""unrolled generate DIR --prompt …"""

from __future__ import annotations

from pathlib import Path

import typer

from ..models import LanguageModel


def generate(
    model: Path = typer.Argument(metavar="DIR", help="A folder made by `unrolled train language`."),
    prompt: str = typer.Option(
        None, help="The text to write on from; without it a new line.", show_default=False
    ),
    length: int = typer.Option(
        400, help="How many symbols to write: characters, words, … as the model reads."
    ),
    temperature: float = typer.Option(0.8, help="0 the likeliest, 1 as the model thinks, more is wilder."),
    top_k: int = typer.Option(None, help="Draw among the k likeliest only.", show_default=False),
    seed: int = typer.Option(None, help="The same seed writes the same text.", show_default=False),
) -> None:
    """Write on from a prompt, symbol by symbol as they come."""
    loaded = LanguageModel.load(model)
    start = loaded.beginning if prompt is None else prompt
    symbols = loaded.generate(start, length, temperature=temperature, top_k=top_k, seed=seed)
    vocabulary = loaded.vocabulary
    # Bytes become characters, jamo syllables, and words get spaces between.
    pieces = vocabulary.stream(map(vocabulary.index, symbols))
    first = next(pieces, "")
    given = prompt or ""
    typer.echo(f"{given}{vocabulary.between(given)}{first}", nl=False)
    for piece in pieces:
        typer.echo(piece, nl=False)
    typer.echo()
