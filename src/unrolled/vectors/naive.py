"""The steps of Word2Vec and GloVe in plain NumPy: what the compiled ones are held against."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .corpus import SEPARATOR

_MASK = (1 << 64) - 1


class Random:
    """xorshift64*: 64 random bits a call."""

    def __init__(self, state: int) -> None:
        self.state = int(state)

    def bits(self) -> int:
        """The next 64."""
        self.state ^= self.state >> 12
        self.state ^= self.state << 25 & _MASK
        self.state ^= self.state >> 27
        return self.state * 2685821657736338717 & _MASK

    def below(self, bound: int) -> int:
        """A number from 0 to bound − 1."""
        return (self.bits() >> 32) * bound >> 32

    def noise(self, keep: np.ndarray, other: np.ndarray) -> int:
        """A word drawn from a table of aliases."""
        bits = self.bits()
        word = (bits >> 32) * len(keep) >> 32
        return word if bits & 0xFFFFFFFF <= keep[word] else int(other[word])


def sentences(tokens: np.ndarray, keep: np.ndarray, longest: int, random: Random) -> Iterator[list[int]]:
    """The sentences of the tokens without the words that sub-sampling drops."""
    kept: list[int] = []
    for token in tokens.tolist():
        if token == SEPARATOR:
            yield kept
            kept = []
            continue
        if len(kept) == longest:
            yield kept
            kept = []
        if random.bits() >> 32 <= keep[token]:
            kept.append(token)
    yield kept


def windows(
    tokens: np.ndarray,
    keep: np.ndarray,
    noise_keep: np.ndarray,
    noise_other: np.ndarray,
    window: int,
    negative: int,
    state: int,
    longest: int,
    *,
    apart: bool,
) -> Iterator[tuple[list[int], list[int]]]:
    """(words around a centre, the centre and its noise words) for each centre; apart: for each of the words
    around it alone, with noise words of its own."""
    random = Random(state)
    for sentence in sentences(tokens, keep, longest, random):
        for i, centre in enumerate(sentence):
            reach = window - random.below(window)
            around = sentence[max(0, i - reach) : i] + sentence[i + 1 : i + reach + 1]
            if not around:
                continue
            for words in [[word] for word in around] if apart else [around]:
                noise = [random.noise(noise_keep, noise_other) for _ in range(negative)]
                yield words, [centre, *(word for word in noise if word != centre)]


def step(
    hidden: np.ndarray, outputs: np.ndarray, targets: list[int], rate: float
) -> tuple[np.ndarray, float]:
    """One step of negative sampling: what the input gains, and the loss before it.

    g_k = rate·([k = 0] − σ(h·v_k)); the input gains Σ_k g_k v_k, and v_k gains g_k h.
    """
    products = outputs[targets] @ hidden
    right = np.arange(len(targets)) == 0
    gains = rate * (right - 1 / (1 + np.exp(-products)))
    gained = np.zeros_like(hidden)
    for word, g in zip(targets, gains, strict=True):
        gained += g * outputs[word]
        outputs[word] += g * hidden
    return gained, float(np.log1p(np.exp(np.where(right, -products, products))).sum())


def skip_gram(inputs: np.ndarray, outputs: np.ndarray, rate: float, *arguments) -> list[float]:
    """The loss of each pair of a word and a centre; arguments: those of `windows`."""
    losses = []
    for (word,), targets in windows(*arguments, apart=True):
        gained, loss = step(inputs[word].copy(), outputs, targets, rate)
        inputs[word] += gained
        losses.append(loss)
    return losses


def cbow(inputs: np.ndarray, outputs: np.ndarray, rate: float, *arguments) -> list[float]:
    """The loss of each centre; arguments: those of `windows`."""
    losses = []
    for around, targets in windows(*arguments, apart=False):
        gained, loss = step(inputs[around].mean(0), outputs, targets, rate)
        for word in around:
            inputs[word] += gained
        losses.append(loss)
    return losses


def adagrad(
    pairs: np.ndarray,
    words: np.ndarray,
    contexts: np.ndarray,
    word_bias: np.ndarray,
    context_bias: np.ndarray,
    rate: float,
    most: float,
    power: float,
    clip: float = 100,
) -> float:
    """A step for each pair, and the sum of their losses f(x)·e²/2, e = w·c + b + d − log x.

    A parameter's step is s = rate·clip(gradient); it loses s/√(1 + Σ s²) over the steps before.
    words, contexts: (words, 2, dimension), a vector and its 1 + Σ s²; biases: (words, 2) likewise.
    """
    total = 0.0
    for i, j, x in pairs.tolist():
        w, c, b, d = words[i], contexts[j], word_bias[i], context_bias[j]
        error = w[0] @ c[0] + b[0] + d[0] - np.log(x)
        slope = min(1.0, (x / most) ** power) * error
        total += slope * error / 2
        slopes = slope * c[0], slope * w[0], slope, slope
        for parameter, gradient in zip((w, c, b, d), slopes, strict=True):
            step = rate * np.clip(gradient, -clip, clip)
            parameter[0] -= step / np.sqrt(parameter[1])
            parameter[1] += step**2
    return total
