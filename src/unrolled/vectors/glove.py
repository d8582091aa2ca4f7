"""GloVe: vectors from how often words stand near each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Error
from . import cooccurrence
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
        for option in ("x_max", "power", "learning_rate"):
            if not 0 < getattr(self, option) < 1e6:
                raise Error(f"GloVe: {option} is {getattr(self, option)}; wanted a finite number above 0")
        if self.memory < 1 << 20:
            raise Error(f"GloVe: memory is {self.memory} bytes; wanted at least {1 << 20:,}")
        thread_count(self.threads)

    def fit(self, corpus: Source, report: Report | None = None) -> WordVectors:
        """Learns a vector for each word of the corpus; Ctrl-C in training keeps what was learned.

        corpus, report and errors: as for Word2Vec.fit. Memory: while counting `memory` bytes; in training
        16 bytes for each word and dimension (padded to 16) and the mapped pairs.
        """
        tell = report or (lambda progress: None)
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
        run = Run(self, len(encoded.words), pairs)
        run.go(tell, encoded.total)
        return WordVectors(encoded.words, run.vectors())


class Run:
    """The vectors, their sums of squared steps, and the pairs cut into jobs."""

    def __init__(self, options: GloVe, words: int, pairs: np.ndarray) -> None:
        self.options, self.pairs = options, pairs
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

    def go(self, tell: Report, words: int) -> list[float]:
        """Does all epochs, or those until Ctrl-C; returns the mean loss of each whole one."""
        from .weighted_least_squares import adagrad

        kernel: Any = adagrad
        epochs, jobs = self.options.epochs, -(-len(self.pairs) // JOB)
        losses: list[float] = []
        kernel(*self.arguments(0, 0))  # compiled before the clock runs
        begin = time.monotonic()

        def make_work() -> Callable[[int], tuple[float, int]]:
            def work(job: int) -> tuple[float, int]:
                first, last = job * JOB, min((job + 1) * JOB, len(self.pairs))
                return kernel(*self.arguments(first, last)), last - first

            return work

        for epoch in range(epochs):
            workers = Workers(thread_count(self.options.threads), jobs, make_work)

            def figures(loss: float, workers: Workers = workers, epoch: int = epoch) -> None:
                share, seconds = (epoch + workers.next / jobs) / epochs, time.monotonic() - begin
                pace = share * words * epochs / max(seconds, 1e-9)
                tell(Progress("training", share, epoch + 1, loss, pace, seconds))

            whole = workers.run(float("inf"), figures)
            figures(workers.mean_loss())
            if not whole:
                break
            losses.append(workers.total_loss / len(self.pairs))
        return losses

    def vectors(self) -> np.ndarray:
        """(words, dimension) float32: w + c."""
        words, contexts = (matrix[:, : self.options.dimension] for matrix in self.matrices)
        return words + contexts
