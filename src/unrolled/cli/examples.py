"""Labelled texts from the columns of a table."""

from __future__ import annotations

from pathlib import Path

from ..errors import Error
from ..text import read_columns
from ..training import Example


def labelled(file: Path, text: str, label: str, labels: str | None = None) -> list[Example]:
    """The rows of a table, or those with one of `labels` (separated by commas) only.

    Raises Error if the file has no such column, or no row has one of the labels.
    """
    rows = [Example(*row) for row in read_columns(file, [text, label])]
    if labels is None:
        return rows
    wanted = [name.strip() for name in labels.split(",")]
    present = {row.label for row in rows}
    missing = [name for name in wanted if name not in present]
    if missing:
        shown = sorted(present)
        more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
        raise Error(f"{file}: no row has the label {missing[0]!r}; it has {', '.join(shown[:20])}{more}")
    return [row for row in rows if row.label in set(wanted)]
