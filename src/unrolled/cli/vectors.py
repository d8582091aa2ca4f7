"""unrolled vectors: train, evaluate, nearest, analogy, map"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..errors import Error
from ..see import check_map, draw_map
from ..vectors import Protocol, Score, WordVectors, analogies, read, similarities
from .vectors_train import train

vectors = typer.Typer(
    name="vectors", help="Word vectors: learn, judge and look at them.", no_args_is_help=True
)
vectors.add_typer(train)

_STRICT = typer.Option(False, "--strict", help="Refuse a file with words that are not UTF-8.")
_COUNT = typer.Option(10, "-n", "--count", help="How many words to print.")
_FILE = typer.Argument(help="Vectors: word2vec text or binary, GloVe text, fastText .vec, safetensors.")


@vectors.command()
def nearest(
    file: Path = _FILE,
    words: list[str] = typer.Argument(help="A word; or three, A B C: what is to C as B is to A?"),
    count: int = _COUNT,
    strict: bool = _STRICT,
) -> None:
    """Print the words nearest to a word, or the answers to an analogy, each with its cosine."""
    if len(words) not in (1, 3):
        raise Error(f"got {len(words)} words; wanted one, or three for an analogy: A is to B as C is to ?")
    table = _read(file, strict)
    found = table.nearest(words[0], count) if len(words) == 1 else table.analogy(*words[:3], count=count)
    _print(found)


@vectors.command()
def analogy(
    file: Path = _FILE,
    a: str = typer.Argument(help="As in `analogy FILE man king woman`: man is to king …"),
    b: str = typer.Argument(help="… as …"),
    c: str = typer.Argument(help="… woman is to what?"),
    count: int = _COUNT,
    strict: bool = _STRICT,
) -> None:
    """Print the answers to an analogy, A is to B as C is to ?, each with its cosine (3CosAdd)."""
    _print(_read(file, strict).analogy(a, b, c, count=count))


def _print(found: list[tuple[str, float]]) -> None:
    for word, cosine in found:
        typer.echo(f"{cosine:7.4f}  {word}")


@vectors.command()
def evaluate(
    file: Path = _FILE,
    analogies_file: list[Path] = typer.Option(
        [], "--analogies", help="Questions as in questions-words.txt: lines `a b c d`, sections `: name`."
    ),
    similarity_file: list[Path] = typer.Option(
        [], "--similarity", help="Pairs as in WordSim-353 and SimLex-999: lines `word word judgement`."
    ),
    restrict: int = typer.Option(None, help="Only the first so many words.", show_default=False),
    case: bool = typer.Option(False, "--case", help="Tell capitals from small letters."),
    missing: str = typer.Option("skip", help="Items with an unknown word: skip, or wrong."),
    strict: bool = _STRICT,
) -> None:
    """Score the vectors per section, with coverage, intervals of 95 % and the protocol."""
    if not analogies_file and not similarity_file:
        raise Error("nothing to evaluate by; give --analogies FILE, --similarity FILE or both")
    protocol = Protocol(restrict, not case, missing)
    table = _read(file, strict)
    console = Console(soft_wrap=True)
    console.print(f"{file}: {len(table):,} words, dimension {table.dimension}", highlight=False)
    for questions in analogies_file:
        console.print(
            _table(f"analogies: {questions.name}", "accuracy", analogies(table, questions, protocol))
        )
    for pairs in similarity_file:
        console.print(
            _table(f"similarity: {pairs.name}", "Spearman's ρ", [similarities(table, pairs, protocol)])
        )
    console.print(
        f"protocol: {protocol}; analogies by 3CosAdd, argmax cos(w, b − a + c) without a, b and c; "
        f"intervals of 95 %: Wilson's for accuracy, Fisher's z for ρ",
        highlight=False,
    )


@vectors.command("map")
def map_command(
    file: Path = _FILE,
    out: Path = typer.Option("map.html", "-o", "--out", help="The map: .html, .png, .svg or .pdf."),
    words: int = typer.Option(1000, help="How many words, from the first on."),
    strict: bool = _STRICT,
) -> None:
    """Draw the vectors in the two dimensions in which they vary most (principal components)."""
    place = check_map(out)
    table = _read(file, strict)
    draw_map(table, place, words, title=file.name)
    typer.echo(f"drew {min(words, len(table)):,} words into {place}")


def _read(file: Path, strict: bool) -> WordVectors:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said below, as a sentence
        table = read(file, strict=strict)
    if table.replaced:
        typer.echo(f"{file}: {table.replaced:,} words are not UTF-8; read with \\x escapes", err=True)
    return table


def _table(title: str, name: str, scores: list[Score]) -> Table:
    # Narrow enough for 80 columns.
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("section", no_wrap=True)
    for heading in (name, "95 %", "judged", "of"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in scores:
        known = not math.isnan(score.value)
        interval = f"{score.low:.3f}–{score.high:.3f}" if not math.isnan(score.low) else "–"
        table.add_row(
            score.section,
            f"{score.value:.3f}" if known else "–",
            interval,
            f"{score.judged:,}",
            f"{score.asked:,} ({100 * score.judged / max(1, score.asked):.0f} %)",
        )
    return table
