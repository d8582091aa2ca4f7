"""unrolled units DIR FILE"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from torch import Tensor

from ..errors import Error
from ..models import Model, Tagger, load
from ..see import (
    Example,
    Ranking,
    Track,
    carries_state,
    joined,
    label_tracks,
    rank_units,
    rows,
    symbols_of,
    text_tracks,
    windows,
)
from ..text import read_columns, read_text
from ..text.tagged import Sentence, read_sentences

BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Source:
    """What is read: how, how much of how much, and what there is to track in it."""

    read: Callable[[], Iterator[tuple[int, list[Tensor]]]]
    symbols: tuple[str, ...]
    tracks: list[Track]
    said: str
    whole: bool


def units(
    model: Path = typer.Argument(metavar="DIR", help="A folder made by `unrolled train`."),
    file: Path = typer.Argument(
        help="A UTF-8 text to read, or a table (see --text); for a tagger, tagged sentences."
    ),
    text: str = typer.Option(
        None,
        help="The file is a table: its column of texts, by name or by number from 1.",
        show_default=False,
    ),
    label: str = typer.Option(None, help="The table's column of labels.", show_default=False),
    column: str = typer.Option("UPOS", help="Taggers: CoNLL-U's column of tags."),
    limit: int = typer.Option(200_000, help="Characters to read, from the beginning."),
    best: int = typer.Option(3, help="Units to list for each property."),
    draws: int = typer.Option(20, help="Shifted controls for each property."),
    examples: int = typer.Option(1, help="Passages to show for each unit."),
    seed: int = typer.Option(0, help="Of the shifts."),
    as_json: bool = typer.Option(False, "--json", help="Print everything as JSON."),
) -> None:
    """Find the units that track lines, quotes, brackets, capitals, digits, words and labels.

    A score is the correlation of a unit's value with the property. Its control is the largest that any unit
    reaches when the property is shifted along the text: the lowest to the highest over all draws.
    """
    if limit < 1:
        raise Error(f"--limit is {limit}; wanted at least 1 character")
    if label is not None and text is None:
        raise Error("--label names a column of a table; name the column of texts too, with --text")
    loaded = load(model)
    if isinstance(loaded, Tagger):
        if text is not None:
            raise Error("a tagger reads tagged sentences (CoNLL-U, or a word and its tag a line), no table")
        source = _sentences(loaded, file, column, limit)
    else:
        source = _stream(loaded, file, limit) if text is None else _table(loaded, file, text, label, limit)
    options: Any = {"best": best, "draws": draws, "examples": examples, "seed": seed}
    rankings = rank_units(source.read, source.symbols, source.tracks, **options)
    if as_json:
        found = {
            "model": str(model),
            "file": str(file),
            "read": len(source.symbols),
            "whole": source.whole,
            "how": source.said,
            "draws": draws,
            "seed": seed,
            "tracks": [asdict(ranking) for ranking in rankings],
        }
        typer.echo(json.dumps(found, ensure_ascii=False, allow_nan=False))
        return
    typer.echo(f"{source.said}; {draws} shifted controls")
    for ranking in rankings:
        _print(ranking)


def _stream(model: Model, file: Path, limit: int) -> Source:
    content = read_text(file)
    part = content[:limit]
    how = (
        "one stream"
        if carries_state(model)
        else "windows, each from its beginning, since it reads both ways"
    )
    symbols = symbols_of(model, part)
    said = f"read {len(part):,} of {len(content):,} characters as {how}"
    whole = len(part) == len(content)
    return Source(lambda: windows(model, part), symbols, text_tracks(symbols), said, whole)


def _sentences(model: Tagger, file: Path, column: str, limit: int) -> Source:
    every = read_sentences(file, column)
    some: list[Sentence] = []
    for sentence in every:
        if limit <= 0:
            break
        limit -= sum(map(len, sentence.words))
        some.append(sentence)
    words = tuple(word for sentence in some for word in sentence.words)
    tracks = joined([text_tracks(sentence.words) for sentence in some])
    tracks += label_tracks([tag for sentence in some for tag in sentence.tags])
    said = f"read {len(some):,} of {len(every):,} sentences ({len(words):,} words), each from its beginning"
    texts = [sentence.words for sentence in some]
    return Source(lambda: rows(model, texts), words, tracks, said, len(some) == len(every))


def _table(model: Model, file: Path, text: str, label: str | None, limit: int) -> Source:
    table = read_columns(file, [text] if label is None else [text, label])
    texts: list[str] = []
    labels: list[str] = []
    filled = [row for row in table if row[0]]
    for row in filled:
        if limit <= 0:
            break
        limit -= len(row[0])
        texts.append(row[0])
        labels.append(row[-1])
    if not texts:
        raise Error(f"{file}: no row has a text in column {text!r}")
    read = [symbols_of(model, one) for one in texts]
    symbols = tuple(symbol for one in read for symbol in one)
    tracks = joined([text_tracks(one) for one in read])
    if label is not None:
        tracks += label_tracks([name for name, one in zip(labels, read, strict=True) for _ in one])
    said = f"read {len(texts):,} of {len(table):,} rows ({len(symbols):,} symbols), each from its beginning"
    return Source(lambda: rows(model, texts), symbols, tracks, said, len(texts) == len(filled))


def _print(ranking: Ranking) -> None:
    low, high = ranking.control
    share = f"{100 * ranking.mean:.1f} % of symbols" if ranking.binary else f"mean {ranking.mean:.1f}"
    typer.echo(f"\n{ranking.track} ({share}); best unit by chance {low:.3f} to {high:.3f}")
    for one in ranking.units:
        auc = "" if one.auc is None else f"   AUC {one.auc:.3f}"
        verdict = "" if one.beats_control else "   no better than chance"
        typer.echo(f"  layer {one.layer} unit {one.unit:<4} {one.score:+.3f}{auc}{verdict}")
        for example in one.examples:
            _print_example(example)


def _print_example(example: Example) -> None:
    if all(len(symbol) == 1 for symbol in example.symbols):
        typer.echo("      " + "".join(_shown(symbol) for symbol in example.symbols))
        typer.echo("      " + _bars(example.values) + "  unit")
        typer.echo("      " + _bars(example.track) + "  property")
        return
    pairs = zip(example.symbols, example.values, strict=True)
    typer.echo("      " + " ".join(f"{symbol}{_bars(example.values, value)}" for symbol, value in pairs))


def _bars(values: tuple[float, ...], one: float | None = None) -> str:
    """A bar for each value, or for one of them, from the lowest to the highest of all."""
    low, high = min(values), max(values)
    some = values if one is None else (one,)
    return "".join(BARS[round((v - low) / ((high - low) or 1.0) * (len(BARS) - 1))] for v in some)


def _shown(symbol: str) -> str:
    return {"\n": "↵", "\t": "⇥"}.get(symbol, symbol if symbol.isprintable() else "·")
