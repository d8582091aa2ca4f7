"""Models without a network, to hold beside every score: n-grams counted, words weighed, tags looked up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding_bag

MOST = 5_000_000
"""Symbols of a text that are counted at most: its last ones, those nearest to what is judged."""


def grams(symbols: np.ndarray, order: int, begins: np.ndarray | None = None) -> list[np.ndarray]:
    """For each n from 1 to order a number for the n-gram that ends at each symbol, equal for equal n-grams.

    begins: (symbols,) bool, True at the first symbol of each text; an n-gram that would reach over one is
        given the number of the shorter one that begins there.
    """
    one = np.unique(symbols, return_inverse=True)[1].astype(np.int64)
    found = [one]
    for _ in range(order - 1):
        before = np.empty_like(one)
        before[0], before[1:] = 0, found[-1][:-1] + 1
        if begins is not None:
            before[begins] = 0
        found.append(np.unique(before * (one.max() + 1) + one, return_inverse=True)[1].astype(np.int64))
    return found


def ngram_nats(text: Tensor, validation: Tensor, symbols: int, order: int = 5) -> np.ndarray:
    """-ln p of each symbol of `validation` but the first, under interpolated Witten-Bell n-grams of `text`,
    read as if it went on where the text ends.

    p_n(s | c) = (count(c s) + T(c) p_{n-1}(s | shorter c)) / (count(c) + T(c)), where T(c) is the number
    of distinct symbols after c, and p_0 is uniform (Witten & Bell 1991; Chen & Goodman 1998, eq. 13).
    """
    known, judged = text[-MOST:].cpu().numpy(), validation.cpu().numpy()
    count = len(known)
    both = np.concatenate([known, judged]).astype(np.int64)
    first = count + 1
    probability = np.full(len(both) - first, 1.0 / symbols)
    context = np.zeros(len(both), dtype=np.int64)  # of length 0: the same everywhere
    for n, gram in enumerate(grams(both, order), 1):
        # Positions of the text that have n - 1 symbols before them, which makes their gram a real n-gram.
        inside = slice(n - 1, count)
        seen = np.bincount(gram[inside], minlength=gram.max() + 1)
        followed = np.bincount(context[inside], minlength=context.max() + 1)
        firsts = np.unique(gram[inside], return_index=True)[1] + n - 1
        kinds = np.bincount(context[firsts], minlength=len(followed))
        here, before = gram[first:], context[first:]
        total = followed[before] + kinds[before]
        mixed = seen[here] + kinds[before] * probability
        probability = np.divide(mixed, total, out=probability, where=total > 0)
        context = np.concatenate([[0], gram[:-1]])
    return -np.log(probability)


def bag_of_ngrams(
    texts: Sequence[Tensor],
    targets: Sequence[int],
    judged: Sequence[Tensor],
    labels: int,
    order: int,
    strength: float = 10.0,
) -> np.ndarray:
    """The label that a logistic regression on n-grams up to `order` gives each judged text.

    Features: 1 + ln count, times the inverse document frequency, of n-grams that occur in two texts at
    least; rows of length 1. Penalty |W|² / (2 strength), found by L-BFGS.
    """
    count = len(texts)
    lengths = np.array([len(text) for text in (*texts, *judged)])
    symbols = torch.cat([*texts, *judged]).numpy() if lengths.sum() else np.zeros(0, dtype=np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    row, column, width = _features(symbols, rows, lengths, count, order)
    matrix = _tf_idf(row, column, len(lengths), width, count)
    weight = _regression(matrix.rows(0, count), torch.tensor(targets), labels, strength)
    return _scores(matrix.rows(count, len(lengths)), weight).argmax(1).numpy()


class _Sparse(NamedTuple):
    """A matrix by rows: the cells of row i are begins[i] to begins[i + 1]."""

    begins: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    width: int

    @classmethod
    def of(
        cls, row: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]
    ) -> _Sparse:
        """From cells sorted by row."""
        begins = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=shape[0]))])
        return cls(begins, columns, values.astype(np.float32), shape[1])

    def rows(self, begin: int, end: int) -> _Sparse:
        """Some of the rows."""
        first, last = self.begins[begin], self.begins[end]
        begins = self.begins[begin : end + 1] - first
        return _Sparse(begins, self.columns[first:last], self.values[first:last], self.width)

    def transposed(self) -> _Sparse:
        """Columns for rows."""
        height = len(self.begins) - 1
        row = np.repeat(np.arange(height), np.diff(self.begins))
        order = np.argsort(self.columns, kind="stable")
        return _Sparse.of(self.columns[order], row[order], self.values[order], (self.width, height))

    def times(self, dense: Tensor) -> Tensor:
        """The product with (width, n)."""
        return embedding_bag(
            torch.from_numpy(self.columns),
            dense,
            torch.from_numpy(self.begins[:-1]),
            mode="sum",
            per_sample_weights=torch.from_numpy(self.values),
        )


def _features(
    symbols: np.ndarray, rows: np.ndarray, lengths: np.ndarray, count: int, order: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """(row, column) of each n-gram that is in two of the first `count` rows, and the number of columns."""
    if not len(symbols):
        return rows, rows, 1
    starts = np.cumsum(lengths) - lengths
    begins = np.zeros(len(symbols), dtype=bool)
    begins[starts[lengths > 0]] = True
    places = np.arange(len(symbols)) - np.repeat(starts, lengths)
    found_rows, found_columns, width = [], [], 0
    for n, gram in enumerate(grams(symbols, order, begins), 1):
        whole = places >= n - 1
        r, g = rows[whole], gram[whole]
        pairs = np.unique(r * np.int64(gram.max() + 1) + g)
        own = pairs[pairs // (gram.max() + 1) < count] % (gram.max() + 1)
        often = np.bincount(own, minlength=gram.max() + 1) >= 2
        numbers = np.cumsum(often) - 1 + width
        kept = often[g]
        found_rows.append(r[kept])
        found_columns.append(numbers[g[kept]])
        width += int(often.sum())
    return np.concatenate(found_rows), np.concatenate(found_columns), max(width, 1)


def _tf_idf(row: np.ndarray, column: np.ndarray, height: int, width: int, count: int) -> _Sparse:
    """(height, width): tf-idf of each row, of length 1."""
    cells, counts = np.unique(row * np.int64(width) + column, return_counts=True)
    row, column = cells // width, cells % width
    documents = np.bincount(column[row < count], minlength=width)
    value = (1 + np.log(counts)) * (1 + np.log((1 + count) / (1 + documents)))[column]
    norm = np.sqrt(np.bincount(row, value**2, minlength=height))
    return _Sparse.of(row, column, value / norm[row], (height, width))


def _scores(matrix: _Sparse, weight: Tensor) -> Tensor:
    return matrix.times(weight[:-1]) + weight[-1]


def _regression(matrix: _Sparse, targets: Tensor, labels: int, strength: float) -> Tensor:
    """(width + 1, labels): the weights and, last, the bias that minimise the penalised cross-entropy."""
    weight = torch.zeros(matrix.width + 1, labels, requires_grad=True)
    transposed = matrix.transposed()
    optimizer = torch.optim.LBFGS([weight], max_iter=60, history_size=8, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        with torch.no_grad():
            logits = _scores(matrix, weight)
        logits.requires_grad_(True)
        loss = cross_entropy(logits, targets, reduction="sum")
        (slope,) = torch.autograd.grad(loss, logits)
        with torch.no_grad():
            penalty = weight[:-1].square().sum() / (2 * strength)
            weight.grad = torch.cat([transposed.times(slope) + weight[:-1] / strength, slope.sum(0)[None]])
        return loss.detach() + penalty

    optimizer.step(closure)
    return weight.detach()


def commonest_tags(
    sentences: Sequence[tuple[Sequence[str], Sequence[str]]], judged: Sequence[Sequence[str]]
) -> list[list[str]]:
    """For each word the tag that it has most often in the sentences; for a word that is not in them, that
    of its longest ending of up to four letters that is."""
    by_word: dict[str, Counter[str]] = {}
    by_ending: dict[str, Counter[str]] = {}
    for words, tags in sentences:
        for word, tag in zip(words, tags, strict=True):
            by_word.setdefault(word, Counter())[tag] += 1
            for n in range(min(len(word), 4) + 1):
                by_ending.setdefault(word[len(word) - n :], Counter())[tag] += 1
    best = {word: counts.most_common(1)[0][0] for word, counts in by_word.items()}
    endings = {ending: counts.most_common(1)[0][0] for ending, counts in by_ending.items()}

    def look_up(word: str) -> str:
        if word in best:
            return best[word]
        rest = (word[len(word) - n :] for n in range(min(len(word), 4), -1, -1))
        return next(endings[ending] for ending in rest if ending in endings)

    return [[look_up(word) for word in words] for words in judged]
