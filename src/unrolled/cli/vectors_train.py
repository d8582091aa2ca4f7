"""unrolled vectors train word2vec|glove CORPUS -o FILE"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from .. import files
from ..errors import Error
from ..vectors import ARCHITECTURES, FORMATS, GloVe, Progress, Word2Vec, check_format, write
from .progress import clock

train = typer.Typer(name="train", help="Learn vectors from a text.", no_args_is_help=True)

_W, _G = Word2Vec(), GloVe()
_CORPUS = typer.Argument(help="A UTF-8 text, gzipped or not: a sentence a line, words between spaces.")
_OUT = typer.Option(..., "-o", "--out", help=".txt, .vec, .bin, .glove, .safetensors; also with .gz.")
_FORMAT = typer.Option(None, help=f"Instead of by the ending: {', '.join(FORMATS)}.", show_default=False)
_THREADS = typer.Option(None, help="As many as torch computes with, unless given.", show_default=False)
_SEED = typer.Option(1, help="With one thread the same seed gives the same vectors.")
_MIN_COUNT = typer.Option(5, help="Words that come less often are left out.")


@train.command()
def word2vec(
    corpus: Path = _CORPUS,
    out: Path = _OUT,
    dimension: int = typer.Option(_W.dimension, help="Numbers of each vector."),
    architecture: str = typer.Option(_W.architecture, help=f"{' or '.join(ARCHITECTURES)}."),
    window: int = typer.Option(_W.window, help="The furthest word to either side."),
    negative: int = typer.Option(_W.negative, help="Noise words for each right one."),
    sample: float = typer.Option(_W.sample, help="Drop words of a larger share at random; 0: none."),
    min_count: int = _MIN_COUNT,
    epochs: int = typer.Option(_W.epochs, help="Times that the corpus is read."),
    learning_rate: float = typer.Option(
        None, help="The first one (0.025; cbow 0.05); it falls linearly.", show_default=False
    ),
    threads: int = _THREADS,
    seed: int = _SEED,
    format: str = _FORMAT,
) -> None:
    """Word2Vec: skip-gram or CBOW with negative sampling. Ctrl-C ends it and keeps what was learned."""
    model = Word2Vec(
        dimension, architecture, window, negative, sample, min_count, epochs, learning_rate, threads, seed
    )
    _fit(model, corpus, out, format)


@train.command()
def glove(
    corpus: Path = _CORPUS,
    out: Path = _OUT,
    dimension: int = typer.Option(_G.dimension, help="Numbers of each vector."),
    window: int = typer.Option(_G.window, help="The furthest word to either side."),
    min_count: int = _MIN_COUNT,
    epochs: int = typer.Option(_G.epochs, help="Passes over the pairs of words."),
    x_max: float = typer.Option(_G.x_max, help="The count from which on all pairs weigh the same."),
    power: float = typer.Option(_G.power, help="Of the weight of rarer pairs, (count/x_max)^power."),
    learning_rate: float = typer.Option(_G.learning_rate, help="AdaGrad's."),
    memory: float = typer.Option(_G.memory / 2**30, help="GiB for counting; more goes to disk."),
    threads: int = _THREADS,
    seed: int = _SEED,
    format: str = _FORMAT,
) -> None:
    """GloVe: from how often words stand near each other. Ctrl-C in training keeps what was learned."""
    if not math.isfinite(memory):
        raise Error(f"memory is {memory} GiB; wanted a finite number")
    model = GloVe(
        dimension,
        window,
        min_count,
        epochs,
        x_max,
        power,
        learning_rate,
        int(memory * 2**30),
        threads,
        seed,
    )
    _fit(model, corpus, out, format)


def _fit(model: Word2Vec | GloVe, corpus: Path, out: Path, format: str | None) -> None:
    chosen = check_format(out, format)
    if out.is_dir():
        raise Error(f"{out} is a folder; wanted the name of a file for the vectors")
    files.check_writable(out.parent)
    console = Console(soft_wrap=True)
    with _shown(console) as (report, last):
        learned = model.fit(corpus, report)
    write(learned, out, chosen)
    progress = last()
    how = "done" if progress.fraction >= 1 else f"stopped at {100 * progress.fraction:.0f} %"
    console.print(
        f"{how} after {clock(progress.seconds)} of training, {progress.words_per_second:,.0f} words a "
        f"second; {len(learned):,} words, dimension {learned.dimension}\n"
        f"the vectors are in {out} ({chosen}); next:\n"
        f"  unrolled vectors nearest {out} {learned.words[min(100, len(learned) - 1)]}\n"
        f"  unrolled vectors map {out} -o map.html",
        highlight=False,
    )


@contextmanager
def _shown(console: Console) -> Iterator[tuple[Callable[[Progress], None], Callable[[], Progress]]]:
    """Yields what `fit` reports to, and how to ask for the last report."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("{task.fields[figures]}"),
    )
    latest = Progress("reading", 0.0)
    with Bar(*columns, console=console, refresh_per_second=4) as bar:
        task = bar.add_task("reading", total=1.0, figures="")
        smooth, lines = math.nan, 0

        def report(progress: Progress) -> None:
            nonlocal smooth, latest, lines
            latest = progress
            if not math.isnan(progress.loss):
                smooth = progress.loss if math.isnan(smooth) else 0.8 * smooth + 0.2 * progress.loss
            figures = ""
            if progress.stage == "training":
                figures = (
                    f"epoch {progress.epoch}  loss {smooth:.4f}  {progress.words_per_second:,.0f} words/s  "
                    f"{clock(progress.seconds_left)} left"
                )
            bar.update(task, description=progress.stage, completed=progress.fraction, figures=figures)
            if (
                not console.is_terminal
                and progress.stage == "training"
                and 10 * progress.fraction >= lines + 1
            ):
                lines = int(10 * progress.fraction)
                console.print(f"{100 * progress.fraction:3.0f} %  {figures}", highlight=False)

        yield report, lambda: latest
