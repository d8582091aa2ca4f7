"""python -m unrolled.bench.words CORPUS: Word2Vec and GloVe beside gensim's and Stanford's, on one corpus.

Both sides get the same file, threads and hyper-parameters and take turns. Words a second are the words of
the file, kept or not, times the epochs, over the seconds of training alone: reading the file and counting
its words come before the clock runs.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import typer

from ..errors import Error
from ..training.comparison import T95, half_interval
from ..vectors import ARCHITECTURES, GloVe, Progress, Word2Vec, WordVectors, analogies, read, similarities


class Run(NamedTuple):
    """The vectors of one training, and its words a second."""

    vectors: WordVectors
    pace: float


def words(
    corpus: Path = typer.Argument(help="A UTF-8 text: a sentence a line, words between spaces."),
    models: str = typer.Option("skip-gram,cbow", help="Of skip-gram, cbow and glove."),
    epochs: int = typer.Option(5, help="Times that each reads the corpus."),
    threads: int = typer.Option(2, help="Of both."),
    seeds: int = typer.Option(1, min=1, max=max(T95), help="Trainings of each."),
    analogies_file: Path = typer.Option(None, "--analogies", help="As in questions-words.txt."),
    similarity_file: Path = typer.Option(None, "--similarity", help="As in WordSim-353."),
    glove_programs: Path = typer.Option(
        None, help="The folder of Stanford's vocab_count, cooccur, shuffle and glove."
    ),
) -> None:
    """Trains each model on both sides, once a seed, and prints paces and scores."""
    for model in models.split(","):
        if model not in (*ARCHITECTURES, "glove"):
            raise typer.BadParameter(f"{model!r} is not one of {', '.join(ARCHITECTURES)} and glove")
        if model == "glove" and not (glove_programs and (glove_programs / "glove").is_file()):
            raise typer.BadParameter(
                f"glove is compared with Stanford's programs, and {glove_programs} is not their folder: "
                f"give --glove-programs, the folder `build` that their Makefile fills"
            )
        sides: dict[str, Callable[[int], Run]] = {
            "unrolled": lambda seed, m=model: _ours(corpus, m, epochs, threads, seed),
            "stanford" if model == "glove" else "gensim": lambda seed, m=model: (
                _stanford(glove_programs, corpus, epochs, threads, seed)
                if m == "glove"
                else _gensim(corpus, m, epochs, threads, seed)
            ),
        }
        _compile(model, threads)
        figures: dict[str, dict[str, list[float]]] = {}
        for seed in range(1, seeds + 1):
            for name, train in sides.items():
                run = train(seed)
                for figure, value in _figures(run, analogies_file, similarity_file):
                    figures.setdefault(figure, {}).setdefault(name, []).append(value)
        for figure, values in figures.items():
            shown = "  ".join(f"{name} {_shown(some)}" for name, some in values.items())
            first, second = (float(np.mean(some)) for some in values.values())
            typer.echo(f"{model:9}  {figure:14}  {shown}  ratio {first / second:.3f}")


def _figures(run: Run, questions: Path | None, pairs: Path | None) -> Iterator[tuple[str, float]]:
    yield "words a second", run.pace
    if questions is not None:
        yield from ((f"analogies {s.section}", s.value) for s in analogies(run.vectors, questions)[-3:])
    if pairs is not None:
        yield "similarity ρ", similarities(run.vectors, pairs).value


def _shown(values: list[float]) -> str:
    """The mean, and with several its interval of 95 % over the seeds by Student's t."""
    mean = float(np.mean(values))
    form = ",.0f" if mean > 1000 else ".4f"
    if len(values) < 2:
        return format(mean, form)
    return f"{mean:{form}} ± {half_interval(values):{form}}"


def _compile(model: str, threads: int) -> None:
    """A training of almost nothing: the first one on a machine compiles the kernels, which is no pace."""
    with tempfile.TemporaryDirectory() as place:
        small = Path(place) / "small.txt"
        small.write_text("the cat sat on the mat and the dog lay\n" * 200, encoding="utf-8")
        _ours(small, model, 1, threads, 1)


def _ours(corpus: Path, model: str, epochs: int, threads: int, seed: int) -> Run:
    reports: list[Progress] = []
    trainer: Any = (
        GloVe(epochs=epochs, threads=threads, seed=seed)
        if model == "glove"
        else Word2Vec(architecture=model, epochs=epochs, threads=threads, seed=seed)
    )
    vectors = trainer.fit(corpus, reports.append)
    return Run(vectors, reports[-1].words_per_second)


def _gensim(corpus: Path, model: str, epochs: int, threads: int, seed: int) -> Run:
    try:
        from gensim.models import Word2Vec as Peer  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Error("gensim is not installed; install unrolled[bench]") from error
    ours = Word2Vec()
    peer = Peer(
        vector_size=ours.dimension,
        alpha=ARCHITECTURES[model],
        min_alpha=ARCHITECTURES[model] * 1e-4,
        window=ours.window,
        min_count=ours.min_count,
        sample=ours.sample,
        negative=ours.negative,
        sg=int(model == "skip-gram"),
        workers=threads,
        seed=seed,
    )
    peer.build_vocab(corpus_file=str(corpus))
    total = int(peer.corpus_total_words or 0)
    begin = time.perf_counter()
    peer.train(corpus_file=str(corpus), total_words=total, total_examples=peer.corpus_count, epochs=epochs)
    seconds = time.perf_counter() - begin
    found = WordVectors(
        list(map(str, peer.wv.index_to_key)), np.ascontiguousarray(peer.wv.vectors, dtype=np.float32)
    )
    return Run(found, total * epochs / seconds)


def _stanford(programs: Path, corpus: Path, epochs: int, threads: int, seed: int) -> Run:
    """Stanford's four programs, with the hyper-parameters of `GloVe`; only the last one is timed."""
    ours = GloVe()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def call(program: str, source: Path | None, target: Path | None, *options: object) -> None:
            command = [str(programs / program), "-verbose", "0", *map(str, options)]
            with (
                (source or Path("/dev/null")).open("rb") as given,
                (target or folder / "log").open("wb") as to,
            ):
                done = subprocess.run(command, stdin=given, stdout=to, stderr=subprocess.PIPE, check=False)  # noqa: S603
            if done.returncode:
                raise Error(f"{program} failed: {done.stderr.decode(errors='replace').strip()}")

        vocabulary, counts, mixed = folder / "vocabulary", folder / "counts", folder / "mixed"
        call("vocab_count", corpus, vocabulary, "-min-count", ours.min_count)
        window = ("-vocab-file", vocabulary, "-window-size", ours.window, "-overflow-file", folder / "over")
        call("cooccur", corpus, counts, "-memory", 2, *window)
        call("shuffle", counts, mixed, "-memory", 2, "-seed", seed, "-temp-file", folder / "temporary")
        files = ("-input-file", mixed, "-vocab-file", vocabulary, "-save-file", folder / "out")
        sizes = ("-vector-size", ours.dimension, "-threads", threads, "-iter", epochs, "-seed", seed)
        rates = ("-x-max", ours.x_max, "-alpha", ours.power, "-eta", ours.learning_rate, "-binary", 0)
        begin = time.perf_counter()
        call("glove", None, None, *files, *sizes, *rates)
        seconds = time.perf_counter() - begin
        total = sum(len(line.split()) for line in corpus.open("rb"))
        return Run(read(folder / "out.txt"), total * epochs / seconds)


if __name__ == "__main__":
    typer.run(words)
