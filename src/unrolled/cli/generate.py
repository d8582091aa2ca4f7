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
    length: int = typer.Option(400, help="How many characters to write."),
    temperature: float = typer.Option(0.8, help="0 the likeliest, 1 as the model thinks, more is wilder."),
    top_k: int = typer.Option(None, help="Draw among the k likeliest only.", show_default=False),
    seed: int = typer.Option(None, help="The same seed writes the same text.", show_default=False),
) -> None:
    """Write on from a prompt, character by character as they come."""
    loaded = LanguageModel.load(model)
    start = beginning(loaded) if prompt is None else prompt
    symbols = loaded.generate(start, length, temperature=temperature, top_k=top_k, seed=seed)
    first = next(symbols, "")
    typer.echo(f"{prompt or ''}{first}", nl=False)
    for symbol in symbols:
        typer.echo(symbol, nl=False)
    typer.echo()


def beginning(model: LanguageModel) -> str:
    """What to write on from where there is no prompt: a new line, or else the first symbol known."""
    return "\n" if "\n" in model.vocabulary else model.vocabulary.symbols[0]
