"""The text to train a language model on: in memory, or through an index where it is large."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ..text import Index, read_text
from ..text.corpus import TAGGED
from ..text.reading import kind
from ..training import Options
from ..training.symbols import UNKNOWN, form

LARGE = 64 << 20
"""Bytes of a file from which on it is read through an index."""


def corpus(
    console: Console, file: Path, column: str | None, place: Path | None, options: Options
) -> str | Index:
    """The text of a small file; the index of a large one, of a folder, of a table or of sentences, built
    with a bar where it is not there yet.

    place: the index file; None: among the user's caches.
    """
    plain = place is None and column is None and kind(file) != TAGGED and not file.is_dir()
    # What is not there has no size, and is refused by the reader.
    if plain and (not file.is_file() or file.stat().st_size < LARGE):
        return read_text(file)
    columns = (TextColumn("{task.description}"), BarColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("counting", total=None)

        def report(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total)

        return Index.build(
            file,
            place=place,
            column=column,
            unit=options.unit,
            min_count=options.least,
            unknown=UNKNOWN if options.least > 1 else None,
            normalize=form(options.normalize, options.unit),
            report=report,
        )
