"""Rows with named columns: TSV, CSV and JSON lines, packed with gzip or not."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import Error
from .reading import Report, kind, read_lines

ENDINGS = (".tsv", ".csv", ".jsonl", ".txt")


def read_columns(path: str | Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The named columns of a .tsv, .csv or .jsonl file (or one of these with .gz), a tuple a row.

    A column is a name in the file's first line, or a number from 1 (then the file has no such line).
    In a TSV (and a .txt) quotes are letters like others; in a CSV (RFC 4180) they are quotes. An empty
    cell is an empty string. In JSON lines a number is as Python writes it and null is an empty string.

    Raises Error if the file cannot be read, has no rows, lacks a column or names it twice, or has a
    row with another number of cells than the first line.
    """
    return list(iterate_columns(path, columns))


def iterate_columns(
    path: str | Path, columns: Sequence[str], report: Report | None = None
) -> Iterator[tuple[str, ...]]:
    """The rows of `read_columns` one at a time, for a file larger than memory."""
    place = Path(path)
    if not columns or isinstance(columns, str):
        raise Error(f"{place}: columns are {columns!r}; wanted a list of at least one name or number")
    ending, lines = kind(place), read_lines(place, report)
    if ending not in ENDINGS:
        raise Error(
            f"{place}: tables are .tsv, .csv or .jsonl (or these with .gz); give the file such an ending"
        )
    if ending == ".jsonl":
        rows = _json_rows(place, lines, columns)
    else:
        cells = _comma_separated(place, lines) if ending == ".csv" else _tab_separated(lines)
        rows = _chosen(place, cells, columns)
    number = 0
    for number, row in enumerate(rows, 1):  # noqa: B007
        yield row
    if not number:
        raise Error(f"{place} has no rows")


def _tab_separated(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        if content := line.rstrip("\r\n"):
            yield number, content.split("\t")


def _comma_separated(place: Path, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    # The module's limit is one for the whole process; a document may well be longer than its 128 KiB.
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))
    reader = csv.reader(lines, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise Error(f"{place}, line {reader.line_num}: not CSV: {error}") from error


def _chosen(
    place: Path, rows: Iterator[tuple[int, list[str]]], columns: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    first = next(rows, None)
    if first is None:
        return
    width = len(first[1])
    if all(column.isdecimal() for column in columns):
        places = [int(column) - 1 for column in columns]
        if not 0 <= min(places) <= max(places) < width:
            wrong = next(column for column in columns if not 1 <= int(column) <= width)
            raise Error(f"{place} has no column {wrong}; its first line has {width}, numbered from 1")
        yield tuple(first[1][i] for i in places)
    else:
        places = [_place(place, first[1], column) for column in columns]
    for number, row in rows:
        if len(row) != width:
            raise Error(f"{place}, line {number}: {len(row)} columns; wanted {width}, as in the first line")
        yield tuple(row[i] for i in places)


def _place(place: Path, header: list[str], column: str) -> int:
    if header.count(column) == 1:
        return header.index(column)
    names = ", ".join(header)
    if column in header:
        raise Error(f"{place} has more than one column {column!r}; its first line has {names}")
    raise Error(f"{place} has no column {column!r}; its first line has {names}")


def _json_rows(place: Path, lines: Iterator[str], columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Error(f"{place}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise Error(f"{place}, line {number}: not a JSON object; wanted one with {', '.join(columns)}")
        yield tuple(_cell(place, number, row, column) for column in columns)


def _cell(place: Path, number: int, row: dict[str, Any], column: str) -> str:
    if column not in row:
        raise Error(f"{place}, line {number}: no column {column!r}; it has {', '.join(row)}")
    value = row[column]
    if isinstance(value, (list, dict)):
        raise Error(f"{place}, line {number}: column {column!r} is not a text or a number")
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
