"""GloVe: vectors from how often words stand near each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import Error
from ..interruption import interruptible
from ..seeds import check_seed
from . import cooccurrence
from .checkpoint import Checkpoint
from .corpus import Source, encode
from .table import WordVectors
from .word2vec import aligned_zeros, check_counts
from .workers import Progress, Report, Workers, thread_count

JOB = 50_000
"""Pairs of one job."""


@dataclass(frozen=True)
class GloVe:
    """Global vectors (Pennington, Socher and Manning, "GloVe: Global vectors for word representation",
    2014).

    Minimises Σ_ij f(X_ij) (w_i·c_j + b_i + d_j − log X_ij)² / 2, f(x) = min(1, (x/x_max)^power), with
    AdaGrad, as in Stanford's program. X_ij sums 1/distance over the occurrences of j within `window` words
    of i to either side, in a sentence. The vectors are w + c.

    min_count: words that come less often are left out. epochs: passes over the pairs.
    memory: bytes for counting; what does not fit is sorted on disk (12 bytes a pair in the end, in the
    folder of TMPDIR). threads, seed: as for Word2Vec.
    """

    dimension: int = 100
    window: int = 15
    min_count: int = 5
    epochs: int = 15
    x_max: float = 10.0
    power: float = 0.75
    learning_rate: float = 0.05
    memory: int = 1 << 30
    threads: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        check_counts("GloVe", self, dimension=10_000, window=1000, min_count=None, epochs=None)
        check_seed("GloVe", self.seed)
        for option in ("x_max", "power", "learning_rate"):
            if not 0 < getattr(self, option) < 1e6:
                raise Error(f"GloVe: {option} is {getattr(self, option)}; wanted a finite number above 0")
        if self.memory < 1 << 20:
            raise Error(f"GloVe: memory is {self.memory} bytes; wanted at least {1 << 20:,}")
        thread_count(self.threads)

    def fit(
        self, corpus: Source, report: Report | None = None, checkpoint: Checkpoint | None = None
    ) -> WordVectors:
        """Learns a vector for each word of the corpus; Ctrl-C in training keeps what was learned.

        corpus, report, checkpoint and errors: as for Word2Vec.fit; what is resumed counts the pairs again,
        for which threads and memory must be the same. Memory: while counting `memory` bytes; in training
        16 bytes for each word and dimension (padded to 16) and at the end 4 more, and the pairs, which are
        mapped.
        """
        tell = report or (lambda progress: None)
        if checkpoint is not None:
            checkpoint.check()
        encoded = encode(corpus, self.min_count, lambda share: tell(Progress("reading", share)))
        threads = thread_count(self.threads)
        pairs = cooccurrence.count(
            encoded,
            self.window,
            self.memory,
            threads,
            self.seed,
            lambda share: tell(Progress("counting", share)),
        )
        if not len(pairs):
            raise Error(
                "no two words of the corpus stand near each other; wanted sentences of several words"
            )
        run = Run(self, len(encoded.words), encoded.total, pairs)
        if checkpoint is None:
            run.go(tell)
        else:
            settings = {"model": "GloVe", **asdict(self), "corpus": encoded.fingerprint()}
            checkpoint.run(run, settings | {"threads": threads}, tell)
        return WordVectors(encoded.words, run.vectors())


class Run:
    """The vectors, their sums of squared steps, and the pairs cut into jobs."""

    def __init__(self, options: GloVe, words: int, total: int, pairs: np.ndarray) -> None:
        """words: distinct ones; total: words of the text."""
        self.options, self.total, self.pairs = options, total, pairs
        self.jobs = -(-len(pairs) // JOB)
        self.losses: list[float] = []
        self.position: dict[str, Any] = {"epoch": 0, "job": 0, "loss": 0.0, "seconds": 0.0}
        dimension = options.dimension
        self.width = aligned_zeros(1, dimension).shape[1]
        random = np.random.default_rng(options.seed)
        self.matrices, self.biases = [], []
        for _ in ("words", "contexts"):
            matrix, bias = aligned_zeros(words, 2 * self.width), np.ones((words, 2), dtype=np.float32)
            for row in matrix:
                row[:dimension] = (random.random(dimension, np.float32) - 0.5) / dimension
            matrix[:, self.width :] = 1
            bias[:, 0] = (random.random(words, np.float32) - 0.5) / dimension
            self.matrices.append(matrix)
            self.biases.append(bias)

    def arguments(self, begin: int, end: int) -> tuple[Any, ...]:
        """What the kernel gets for some of the pairs."""
        o = self.options
        figures = (np.float32(o.learning_rate), np.float32(o.x_max), np.float32(o.power))
        return self.pairs, begin, end, *self.matrices, *self.biases, self.width, *figures

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps."""
        kinds = {"matrix": self.matrices, "bias": self.biases}
        return {f"{kind}{i}": array for kind, arrays in kinds.items() for i, array in enumerate(arrays)}

    def work(self, job: int) -> tuple[float, int]:
        """A job's sum of losses and how many there were."""
        from .weighted_least_squares import adagrad

        first, last = job * JOB, min((job + 1) * JOB, len(self.pairs))
        kernel: Any = adagrad
        return kernel(*self.arguments(first, last)), last - first

    def go(
        self, tell: Report, every: float = float("inf"), save: Callable[[], None] = lambda: None
    ) -> None:
        """Does all epochs from the position on, or those until Ctrl-C; saves every so many seconds.

        `losses` gets the mean of each epoch that ends.
        """
        from .weighted_least_squares import adagrad

        kernel: Any = adagrad
        kernel(*self.arguments(0, 0))  # compiled before the clock runs
        begin = time.monotonic() - self.position["seconds"]
        due = time.monotonic() + every
        with interruptible() as stopped:
            while self.position["epoch"] < self.options.epochs and not stopped.is_set():
                workers = Workers(thread_count(self.options.threads), self.jobs, lambda: self.work)
                workers.next, workers.total_loss = self.position["job"], self.position["loss"]

                def figures(loss: float, workers: Workers = workers) -> None:
                    tell(self.progress(workers.next, loss, time.monotonic() - begin))

                workers.run(max(0.0, due - time.monotonic()), figures, stopped)
                figures(workers.mean_loss())
                self._move(workers, time.monotonic() - begin)
                if self.position["epoch"] < self.options.epochs and (
                    stopped.is_set() or time.monotonic() >= due
                ):
                    save()
                    due = time.monotonic() + every

    def progress(self, job: int, loss: float, seconds: float) -> Progress:
        """Where the training stands at a job of the position's epoch."""
        epochs, epoch = self.options.epochs, self.position["epoch"]
        share = (epoch + job / self.jobs) / epochs
        return Progress(
            "training", share, epoch + 1, loss, share * self.total * epochs / max(seconds, 1e-9), seconds
        )

    def _move(self, workers: Workers, seconds: float) -> None:
        """The position after some jobs."""
        epoch, job, loss = self.position["epoch"], workers.next, workers.total_loss
        if job == self.jobs:
            self.losses.append(loss / len(self.pairs))
            epoch, job, loss = epoch + 1, 0, 0.0
        self.position = {"epoch": epoch, "job": job, "loss": loss, "seconds": seconds}

    def vectors(self) -> np.ndarray:
        """(words, dimension) float32: w + c."""
        words, contexts = (matrix[:, : self.options.dimension] for matrix in self.matrices)
        return words + contexts
