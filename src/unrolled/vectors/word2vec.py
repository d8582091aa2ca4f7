"""Word2Vec: vectors from the words around each word."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import Error
from ..interruption import interruptible
from ..seeds import check_seed
from .checkpoint import Checkpoint
from .corpus import SEPARATOR, Encoded, Source, encode
from .table import WordVectors
from .workers import Progress, Report, Workers, thread_count

JOB = 10_000
"""Tokens between two changes of the learning rate."""

ARCHITECTURES = {"skip-gram": 0.025, "cbow": 0.05}
"""The architectures and their learning rates at the start."""

LOWEST_RATE = 1e-4
"""The share of the first learning rate that the last one is."""

LANES = 16
"""Rows are padded to a multiple of it: 64 bytes of float32, a register of AVX-512 and a cache line."""


@dataclass(frozen=True)
class Word2Vec:
    """Skip-gram or CBOW with negative sampling (Mikolov et al., "Distributed representations of words and
    phrases and their compositionality", 2013), as in word2vec.c.

    Skip-gram: each word w within `window` of a centre c, as input, minimises
    −log σ(u_w·v_c) − Σ_k log σ(−u_w·v_k) with `negative` noise words k drawn by count^0.75.
    CBOW: the mean of u_w over the window in the place of u_w. The window's reach is drawn from 1 to
    `window` at each centre; a word of share f of the corpus is kept with probability
    (√(f/sample) + 1)·sample/f (0: all are kept); the learning rate falls linearly from `learning_rate`
    (None: 0.025, CBOW 0.05) to 1e-4 of it. Each epoch reads the parts of the corpus in an order drawn by
    the seed. The vectors are the u.

    min_count: words that come less often are left out. epochs: times that the corpus is read.
    threads: None: as many as torch computes with. One thread gives the same vectors for the same seed;
    several write to the same matrices without locks.
    """

    dimension: int = 100
    architecture: str = "skip-gram"
    window: int = 5
    negative: int = 5
    sample: float = 1e-3
    min_count: int = 5
    epochs: int = 5
    learning_rate: float | None = None
    threads: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise Error(f"architecture {self.architecture!r} is not one of {', '.join(ARCHITECTURES)}")
        check_counts(
            "Word2Vec", self, dimension=10_000, window=1000, negative=1000, min_count=None, epochs=None
        )
        check_seed("Word2Vec", self.seed)
        if not 0 <= self.sample < 1:
            raise Error(
                f"Word2Vec: sample is {self.sample}; wanted 0 (keep all) or a small share such as 1e-3"
            )
        if self.learning_rate is not None and not 0 < self.learning_rate < 10:
            raise Error(
                f"Word2Vec: learning_rate is {self.learning_rate}; wanted more than 0, such as 0.025"
            )
        thread_count(self.threads)

    def fit(
        self, corpus: Source, report: Report | None = None, checkpoint: Checkpoint | None = None
    ) -> WordVectors:
        """Learns a vector for each word of the corpus; Ctrl-C ends it and keeps what was learned.

        corpus: a file or folder of texts (packed with gzip or not; a sentence a line), a `Corpus` of tables
        or of several files, words being what is between white space; or sentences as lists of words.
        report: gets a Progress a few times a second.
        checkpoint: where the state is kept meanwhile; a training that is resumed from it with one thread
        gives the bits of one that was not cut off.
        Memory: 8 bytes for each word and dimension (padded to 16), half as much again at the end, the
        distinct words, and 30 MiB; the corpus lies in a temporary file of 4 bytes a word.
        Raises Error for a corpus that cannot be read, is no text or has no word frequent enough.
        """
        tell = report or (lambda progress: None)
        if checkpoint is not None:
            checkpoint.check()
        encoded = encode(corpus, self.min_count, lambda share: tell(Progress("reading", share)))
        run = Run(self, encoded)
        if checkpoint is None:
            run.go(tell)
        else:
            settings = {"model": "Word2Vec", **asdict(self), "corpus": encoded.fingerprint()}
            del settings["threads"]
            checkpoint.run(run, settings, tell)
        return WordVectors(encoded.words, np.ascontiguousarray(run.inputs[:, : self.dimension]))


def check_counts(name: str, options: Any, **most: int | None) -> None:
    """Raises Error for an option that is not a whole number from 1 to its most (None: no most)."""
    for option, highest in most.items():
        value = getattr(options, option)
        if not isinstance(value, int) or value < 1 or (highest is not None and value > highest):
            wanted = "at least 1" if highest is None else f"1 to {highest:,}"
            raise Error(f"{name}: {option} is {value!r}; wanted a whole number, {wanted}")


class Run:
    """The matrices, and the corpus cut into jobs."""

    def __init__(self, options: Word2Vec, corpus: Encoded) -> None:
        self.options, self.corpus = options, corpus
        self.inputs = aligned_zeros(len(corpus.words), options.dimension)
        self.outputs = aligned_zeros(len(corpus.words), options.dimension)
        random = np.random.default_rng(options.seed)
        for row in self.inputs:
            row[: options.dimension] = (
                random.random(options.dimension, np.float32) - 0.5
            ) / options.dimension
        self.keep = keep_thresholds(corpus.counts, options.sample)
        self.noise = aliases(corpus.counts**0.75)
        self.begins = job_begins(corpus.tokens)
        # What is read last, at the lowest rates, weighs more: the end of a corpus of several kinds of text
        # would. word2vec.c has each thread read a part of its own.
        orders = [random.permutation(len(self.begins) - 1) for _ in range(options.epochs)]
        self.order = np.concatenate(orders).astype(np.int32)
        self.position = {"job": 0, "seconds": 0.0}

    def state(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps."""
        return {"inputs": self.inputs, "outputs": self.outputs}

    @property
    def jobs(self) -> int:
        """The jobs of all epochs."""
        return (len(self.begins) - 1) * self.options.epochs

    def rate(self, job: int) -> float:
        """The learning rate of a job."""
        first = self.options.learning_rate or ARCHITECTURES[self.options.architecture]
        return first * max(LOWEST_RATE, 1 - job / self.jobs)

    def arguments(self, job: int) -> tuple[Any, ...]:
        """What the kernel gets for a job, but the last: the sentence's memory."""
        part = self.order[job]
        tokens = self.corpus.tokens[self.begins[part] : self.begins[part + 1]]
        state = np.random.SeedSequence([self.options.seed, job]).generate_state(1, np.uint64)[
            0
        ] | np.uint64(1)
        matrices = (self.inputs, self.outputs)
        rate = np.float32(self.rate(job))
        return (
            tokens,
            self.keep,
            *self.noise,
            *matrices,
            self.options.window,
            self.options.negative,
            rate,
            state,
        )

    def go(
        self, tell: Report, every: float = float("inf"), save: Callable[[], None] = lambda: None
    ) -> None:
        """Does all jobs from the position on, or those until Ctrl-C; saves every so many seconds."""
        from . import negative_sampling as compiled

        kernel: Any = compiled.skip_gram if self.options.architecture == "skip-gram" else compiled.cbow

        def make_work() -> Callable[[int], tuple[float, int]]:
            sentence = np.empty(LONGEST_SENTENCE, dtype=np.int32)
            return lambda job: kernel(*self.arguments(job), sentence)

        tokens, *others = self.arguments(0)
        kernel(tokens[:0], *others, np.empty(1, dtype=np.int32))  # compiled before the clock runs
        workers = Workers(thread_count(self.options.threads), self.jobs, make_work)
        workers.next = self.position["job"]
        begin = time.monotonic() - self.position["seconds"]

        def figures(loss: float) -> None:
            share, seconds = workers.next / self.jobs, time.monotonic() - begin
            words = share * self.corpus.total * self.options.epochs
            epoch = min(int(share * self.options.epochs) + 1, self.options.epochs)
            tell(Progress("training", share, epoch, loss, words / max(seconds, 1e-9), seconds))

        with interruptible() as stopped:
            while workers.next < self.jobs and not stopped.is_set():
                workers.run(every, figures, stopped)
                self.position = {"job": workers.next, "seconds": time.monotonic() - begin}
                if workers.next < self.jobs:
                    save()
        figures(workers.mean_loss())


LONGEST_SENTENCE = 10_000
"""Longer ones are cut."""


def aligned_zeros(rows: int, width: int) -> np.ndarray:
    """(rows, width up to a multiple of LANES) float32 that begin at a cache line."""
    padded = -(-width // LANES) * LANES
    memory = np.zeros(rows * padded + LANES, dtype=np.float32)
    skip = -memory.ctypes.data // 4 % LANES
    return memory[skip : skip + rows * padded].reshape(rows, padded)


def keep_thresholds(counts: np.ndarray, sample: float) -> np.ndarray:
    """(words,) uint32: a word is kept if 32 random bits are not above its threshold."""
    if not sample:
        return np.full(len(counts), 0xFFFFFFFF, dtype=np.uint32)
    share = counts / (sample * counts.sum())
    return (np.minimum(1, (np.sqrt(share) + 1) / share) * 0xFFFFFFFF).astype(np.uint32)


def aliases(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table to draw words by their weights (Walker, 1977): thresholds (words,) uint32 and others (words,)
    int32. A word drawn evenly stays if 32 random bits are not above its threshold; else it is the other."""
    share = weights / weights.sum() * len(weights)
    keep, other = np.ones(len(weights)), np.arange(len(weights), dtype=np.int32)
    poor, rich = list(np.flatnonzero(share < 1)), list(np.flatnonzero(share >= 1))
    while poor and rich:
        word, giver = poor.pop(), rich[-1]
        keep[word], other[word] = share[word], giver
        share[giver] -= 1 - share[word]
        if share[giver] < 1:
            poor.append(rich.pop())
    return (keep * 0xFFFFFFFF).astype(np.uint32), other


def job_begins(tokens: np.ndarray) -> np.ndarray:
    """(jobs + 1,) int64: where each job of about JOB tokens begins, after a separator if one is near."""
    begins = [0]
    while begins[-1] < len(tokens):
        wanted = begins[-1] + JOB
        near = np.flatnonzero(tokens[wanted : wanted + JOB] == SEPARATOR)
        begins.append(min(wanted + (int(near[0]) + 1 if len(near) else 0), len(tokens)))
    return np.array(begins, dtype=np.int64)
