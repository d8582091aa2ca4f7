"""unrolled vectors train word2vec|glove CORPUS -o FILE"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from ..errors import Error
from ..text import Corpus
from ..text.units import make_unit, normal
from ..training.symbols import form
from ..vectors import ARCHITECTURES, FORMATS, Checkpoint, GloVe, Progress, Word2Vec, check_format, write
from .progress import clock

train = typer.Typer(name="train", help="Learn vectors from a text.", no_args_is_help=True)

_W, _G = Word2Vec(), GloVe()
_CORPUS = typer.Argument(help="Texts (a sentence a line), folders of them, tables or CoNLL-U; also .gz.")
_COLUMN = typer.Option(
    None, help="The column of tables that holds the texts: its name, or its number from 1."
)
_UNIT = typer.Option(
    "spaces", help="spaces: words are what is between white space; word: as train's --unit word cuts."
)
_LOWER = typer.Option(False, "--lower", help="Words in lower case.")
_OUT = typer.Option(..., "-o", "--out", help=".txt, .vec, .bin, .glove, .safetensors; also with .gz.")
_FORMAT = typer.Option(None, help=f"Instead of by the ending: {', '.join(FORMATS)}.", show_default=False)
_THREADS = typer.Option(None, help="As many as torch computes with, unless given.", show_default=False)
_SEED = typer.Option(1, help="With one thread the same seed gives the same vectors.")
_EVERY = typer.Option(300.0, "--checkpoint-every", help="Seconds between checkpoints, OUT.checkpoint.")
_RESUME = typer.Option(False, "--resume", help="Go on with the unfinished training of the same command.")
_OVERWRITE = typer.Option(
    False, "--overwrite", help="Replace vectors that are there, or an unfinished training of them."
)
_MIN_COUNT = typer.Option(5, help="Words that come less often are left out.")


@train.command()
def word2vec(
    corpus: list[Path] = _CORPUS,
    out: Path = _OUT,
    column: str = _COLUMN,
    unit: str = _UNIT,
    lower: bool = _LOWER,
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
    checkpoint_every: float = _EVERY,
    resume: bool = _RESUME,
    overwrite: bool = _OVERWRITE,
) -> None:
    """Word2Vec: skip-gram or CBOW with negative sampling. Ctrl-C ends it and keeps what was learned."""
    model = Word2Vec(
        dimension, architecture, window, negative, sample, min_count, epochs, learning_rate, threads, seed
    )
    source = Source(corpus, column, unit, lower)
    _fit(model, source, out, format, checkpoint_every, resume, overwrite)


@train.command()
def glove(
    corpus: list[Path] = _CORPUS,
    out: Path = _OUT,
    column: str = _COLUMN,
    unit: str = _UNIT,
    lower: bool = _LOWER,
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
    checkpoint_every: float = _EVERY,
    resume: bool = _RESUME,
    overwrite: bool = _OVERWRITE,
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
    source = Source(corpus, column, unit, lower)
    _fit(model, source, out, format, checkpoint_every, resume, overwrite)


class Source(NamedTuple):
    """Where the words come from: files, the column of tables, how a text is cut, and its letters' case."""

    paths: list[Path]
    column: str | None
    unit: str
    lower: bool

    def sentences(self, report: Callable[[Progress], None]) -> Corpus | Iterator[list[str]]:
        """What `fit` reads; raises Error if there is no file, or for an unknown unit."""
        if self.unit not in ("spaces", "word"):
            raise Error(f"unit {self.unit!r} is neither 'spaces' nor 'word'")
        corpus = Corpus(self.paths, column=self.column)
        if self.unit == "spaces" and not self.lower:
            return corpus
        lines = corpus.sentences(lambda done, size: report(Progress("reading", done / max(1, size))))
        if self.unit == "spaces":
            return (line.lower().split() for line in lines)
        cut = make_unit("word", self.lower).cut
        return (cut(normal(line, form("", "word"))) for line in lines)


def _fit(
    model: Word2Vec | GloVe,
    source: Source,
    out: Path,
    format: str | None,
    every: float,
    resume: bool,
    overwrite: bool,
) -> None:
    chosen = check_format(out, format)
    if out.is_dir():
        raise Error(f"{out} is a folder; wanted the name of a file for the vectors")
    checkpoint = Checkpoint(out.with_name(f"{out.name}.checkpoint"), every, resume)
    if overwrite and not resume:
        checkpoint.remove()
    checkpoint.check()  # before there is a bar
    if out.exists() and not (resume or overwrite):
        raise Error(f"{out} already holds vectors; choose another name, or say --overwrite")
    console = Console(soft_wrap=True)
    with _shown(console) as (report, last):
        learned = model.fit(source.sentences(report), report, checkpoint)
    write(learned, out, chosen)
    progress = last()
    how = "done"
    if progress.fraction < 1:
        how = f"stopped at {100 * progress.fraction:.0f} % (the same command with --resume goes on)"
    else:
        checkpoint.remove()
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
