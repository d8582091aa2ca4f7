"""unrolled predict DIR TEXT…"""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Annotated

import typer

from ..errors import Error
from ..models import Classifier, Tagger, load
from ..text import read_text
from ..text.units import make_unit


def predict(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="A folder made by `unrolled train`.")],
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]…", help="Texts.")] = None,
    file: Annotated[Path | None, typer.Option(help="A UTF-8 file, a text a line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Give each text its label and how probable it is; for a tagger, each word its tag."""
    if (texts is None) == (file is None):
        raise Error("predict: give texts as arguments, or a file with --file")
    given = (
        texts if file is None else [line.rstrip("\r\n") for line in StringIO(read_text(file), newline=None)]
    )
    loaded = load(model)
    if isinstance(loaded, Tagger):
        _tags(loaded, given or [], as_json)
        return
    if not isinstance(loaded, Classifier):
        raise Error(
            f"{model} holds a model for {loaded.task!r}; a language model writes: unrolled generate"
        )
    for text, prediction in zip(given or [], loaded.predict(given or []), strict=True):
        if as_json:
            row = {"text": text, "label": prediction.label, "probability": prediction.probability}
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            typer.echo(f"{prediction.label}\t{prediction.probability:.4f}\t{_line(text)}")


def _line(text: str) -> str:
    """The text in one line and one column."""
    return " ".join(text.replace("\t", " ").splitlines())


def _tags(model: Tagger, texts: list[str], as_json: bool) -> None:
    """Prints each text's words with their tags; a text is cut into words as UAX #29 does."""
    cutter = make_unit("word")
    sentences = [cutter.cut(text) for text in texts]
    for words, tags in zip(sentences, model.predict(sentences), strict=True):
        if as_json:
            typer.echo(json.dumps({"words": words, "tags": tags}, ensure_ascii=False))
        else:
            typer.echo("\n".join(f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True)) + "\n")
