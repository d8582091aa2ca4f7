"""unrolled evaluate DIR FILE"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import Error
from ..models import Classifier, LanguageModel, Tagger, load
from ..text import read_sentences, read_text
from ..training.evaluation import evaluate_classifier, evaluate_language, evaluate_tagger, peek
from .examples import labelled


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="A folder made by `unrolled train`.")],
    file: Annotated[Path, typer.Argument(help="What to judge it by: a text, or a table.")],
    text: Annotated[str | None, typer.Option(help="Classifiers: the column of texts.")] = None,
    label: Annotated[str | None, typer.Option(help="Classifiers: the column of labels.")] = None,
    labels: Annotated[str | None, typer.Option(help="Only rows with these labels.")] = None,
    column: Annotated[str, typer.Option(help="Taggers: CoNLL-U's column of tags.")] = "UPOS",
    train: Annotated[
        Path | None,
        typer.Option(help="What it was trained on: a simple model of it stands beside the score."),
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="Language: also over windows of so many symbols.", min=1)
    ] = None,
    part: Annotated[
        float | None,
        typer.Option(help="Language: only the last part of the file (.1: a tenth), the rest to compare."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """The model's score on a file, with a 95 % interval; a simple model of --train beside it."""
    loaded = load(model)
    if isinstance(loaded, LanguageModel):
        judged, known = read_text(file), None if train is None else read_text(train)
        if part is not None:
            if not 0 < part < 1:
                raise Error(f"evaluate: --part is {part}; wanted a part between 0 and 1")
            kept = max(2, round(len(judged) * part))
            known, judged = known or judged[:-kept], judged[-kept:]
        report = evaluate_language(loaded, judged, known, window)
    elif isinstance(loaded, Classifier):
        if text is None or label is None:
            raise Error(
                "evaluate: a classifier's file is a table; name its columns with --text and --label"
            )
        rows = labelled(file, text, label, labels)
        known_rows = None if train is None else labelled(train, text, label, labels)
        report = evaluate_classifier(loaded, rows, known_rows)
    elif isinstance(loaded, Tagger):
        known_sentences = None if train is None else read_sentences(train, column)
        report = evaluate_tagger(loaded, read_sentences(file, column), known_sentences)
    else:
        raise Error(f"{model} holds a model for {loaded.task!r}, which cannot be evaluated")
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False))
        return
    typer.echo(peek(report))
    if "baseline" not in report:
        typer.echo("to hold a simple model beside it, say --train FILE (what it was trained on)")
