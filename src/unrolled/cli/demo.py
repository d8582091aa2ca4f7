"""unrolled demo: the lesson, a model trained on text that ships with Python, and a picture of its state."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from ..models import LanguageModel
from ..see import check_picture, draw, record
from ..training import Options, Plan, train_language
from .ending import ending
from .lesson import lesson
from .progress import shown

PROMPT = "The "
SHOWN = "The class statement is an object that returns a value."


def demo(
    out: Path = typer.Option("unrolled-demo", help="The folder for the model and the picture."),
    seconds: float = typer.Option(60.0, help="How long to train."),
) -> None:
    """The lesson, then a network that learns to write from Python's own manual, in under two minutes."""
    picture = check_picture(out / "picture.png", len(SHOWN))
    console = Console(soft_wrap=True)
    console.rule("the lesson")
    lesson()
    console.rule("a model")
    text = manual()
    console.print(
        f"{len(text):,} characters of Python's own manual; the model reads and guesses the next one."
    )
    with shown(console, unit="character") as report:
        result = train_language(
            text,
            out,
            Plan(seconds=seconds),
            Options(),
            overwrite=True,
            report=report,
            prepared=lambda model: _sample(console, "before training it writes", model),
        )
    model = LanguageModel.load(out)
    _sample(console, "after training it writes", model)
    draw(record(model, SHOWN), picture, title="256 hidden units reading, and what they expect next")
    console.rule("done")
    console.print(f"the picture of its hidden state: {picture}", highlight=False)
    commands = [["generate", out, "--length", "400"], ["show", out, "some text", "-o", "picture.png"]]
    console.print(
        ending(result, model, out, "nats_per_symbol", commands, "character"), highlight=False, markup=False
    )
    console.print(
        "and on a text of your own:\n"
        "  unrolled train language FILE --out DIR --minutes 3\n"
        "(in a fresh clone the command is .venv/bin/unrolled)",
        highlight=False,
    )


def manual() -> str:
    """The English text that ships inside Python: the topics of its interactive help."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _sample(console: Console, title: str, model: LanguageModel) -> None:
    text = "".join(model.generate(PROMPT, 300, temperature=0.7, seed=0))
    console.rule(title)
    console.print(PROMPT + text, markup=False, highlight=False)
