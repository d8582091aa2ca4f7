"""Labelled texts from the columns of a table."""

from __future__ import annotations

from pathlib import Path

from ..errors import Error
from ..text import read_columns
from ..training import Example


def labelled(file: Path, text: str, label: str, labels: str | None = None) -> list[Example]:
    """The rows of a table, or those with one of `labels` (separated by commas) only.

    Raises Error if the file has no such column, a row has no label, or no row has one of the labels.
    """
    rows = [Example(*row) for row in read_columns(file, [text, label])]
    bare = [number for number, row in enumerate(rows, 1) if not row.label.strip()]
    if bare and labels is None:
        raise Error(
            f"{file}: {len(bare):,} of {len(rows):,} rows have no {label!r}, row {bare[0]:,} the first; "
            f"give each a label, or name with --labels those to read"
        )
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
