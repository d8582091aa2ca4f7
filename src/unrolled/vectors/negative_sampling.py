"""Skip-gram and CBOW with negative sampling, compiled; `naive.py` says the same in plain NumPy.

Tokens are words' numbers with SEPARATOR between sentences. Rows of the matrices are padded with zeros,
which stay zeros, to a whole number of SIMD registers. The kernels hold no lock: several threads run them
on one pair of matrices and now and then overwrite each other's step, as in word2vec.c ("Hogwild!", Recht
et al., 2011).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .corpus import SEPARATOR

STEPS, BOUND = 2048, 8.0
SIGMOID = (1 / (1 + np.exp(-np.linspace(-BOUND, BOUND, STEPS + 1)))).astype(np.float32)
"""σ at evenly spaced points; linear between them it is within 1e-6, and beyond ±8 within 4e-4."""

LOSS_EVERY = 16
"""Inputs from one whose loss is taken (a logarithm costs as much as a step) to the next."""

_SCALE = STEPS / (2 * BOUND)
_LOW, _HIGH = np.float32(-BOUND), np.float32(BOUND - 1e-4)


@njit(inline="always")
def _random(state):
    """xorshift64* (Marsaglia 2003, Vigna 2014): the next state and 64 random bits."""
    state ^= state >> np.uint64(12)
    state ^= state << np.uint64(25)
    state ^= state >> np.uint64(27)
    return state, state * np.uint64(2685821657736338717)


@njit(inline="always")
def _below(bits, bound):
    """A number from 0 to bound − 1 by the upper 32 bits."""
    return int(((bits >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@njit(inline="always")
def _sigmoid(x):
    place = (min(max(x, _LOW), _HIGH) - _LOW) * np.float32(_SCALE)
    k = int(place)
    return SIGMOID[k] + (place - np.float32(k)) * (SIGMOID[k + 1] - SIGMOID[k])


@njit(cache=True, nogil=True, fastmath=True)
def _sample(tokens, at, keep, state, sentence):
    """One sentence without the words that sub-sampling drops: (next position, its length, state)."""
    length, end = 0, tokens.shape[0]
    while at < end and tokens[at] != SEPARATOR and length < sentence.shape[0]:
        word = tokens[at]
        at += 1
        state, bits = _random(state)
        if np.uint32(bits >> np.uint64(32)) <= keep[word]:
            sentence[length] = word
            length += 1
    if at < end and tokens[at] == SEPARATOR:
        at += 1
    return at, length, state


@njit(cache=True, nogil=True, fastmath=True)
def _draw(right, noise_keep, noise_other, state, targets):
    """targets: the right word, then noise from the table of aliases without the right one."""
    targets[0] = right
    count = 1
    for _ in range(targets.shape[0] - 1):
        state, bits = _random(state)
        word = _below(bits, noise_keep.shape[0])
        if np.uint32(bits & np.uint64(0xFFFFFFFF)) > noise_keep[word]:
            word = noise_other[word]
        if word != right:
            targets[count] = word
            count += 1
    return count, state


@njit(cache=True, nogil=True, fastmath=True)
def _step(hidden, error, outputs, targets, count, rate, products):
    """A step on output rows v_k, k < count, the first of the right word, against one hidden vector h.

    g_k = rate·([k = 0] − σ(h·v_k)); error = Σ_k g_k v_k; v_k ← v_k + g_k h. Returns the likelihood,
    σ(h·v_0) Π_{k>0} (1 − σ(h·v_k)).
    """
    width = hidden.shape[0]
    likelihood = 1.0
    for k in range(count):
        row = targets[k]
        product = np.float32(0)
        for d in range(width):
            product += hidden[d] * outputs[row, d]
        products[k] = product
    for d in range(width):
        error[d] = np.float32(0)
    for k in range(count):
        row = targets[k]
        s = _sigmoid(products[k])
        likelihood *= s if k == 0 else np.float32(1) - s
        g = (rate if k == 0 else np.float32(0)) - rate * s
        for d in range(width):
            v = outputs[row, d]
            error[d] += g * v
            outputs[row, d] = v + g * hidden[d]
    return likelihood


@njit(cache=True, nogil=True, fastmath=True)
def skip_gram(
    tokens, keep, noise_keep, noise_other, inputs, outputs, window, negative, rate, state, sentence
):
    """Each word of a window learns to tell its centre from noise: (sum of losses, losses taken)."""
    width = inputs.shape[1]
    hidden, error = np.empty(width, np.float32), np.empty(width, np.float32)
    products, targets = np.empty(negative + 1, np.float32), np.empty(negative + 1, np.int64)
    loss, taken, pairs, at = 0.0, 0, 0, 0
    while at < tokens.shape[0]:
        at, length, state = _sample(tokens, at, keep, state, sentence)
        for i in range(length):
            state, bits = _random(state)
            reach = window - _below(bits, window)
            begin, end = max(0, i - reach), min(length, i + reach + 1)
            if end - begin < 2:
                continue
            for j in range(begin, end):
                if j == i:
                    continue
                count, state = _draw(sentence[i], noise_keep, noise_other, state, targets)
                row = sentence[j]
                for d in range(width):
                    hidden[d] = inputs[row, d]
                likelihood = _step(hidden, error, outputs, targets, count, rate, products)
                for d in range(width):
                    inputs[row, d] = hidden[d] + error[d]
                if pairs % LOSS_EVERY == 0:
                    loss -= math.log(likelihood)
                    taken += 1
                pairs += 1
    return loss, taken


@njit(cache=True, nogil=True, fastmath=True)
def cbow(tokens, keep, noise_keep, noise_other, inputs, outputs, window, negative, rate, state, sentence):
    """The mean of a window's words learns to tell its centre from noise: (sum of losses, losses taken)."""
    width = inputs.shape[1]
    hidden, error = np.empty(width, np.float32), np.empty(width, np.float32)
    products, targets = np.empty(negative + 1, np.float32), np.empty(negative + 1, np.int64)
    loss, taken, centres, at = 0.0, 0, 0, 0
    while at < tokens.shape[0]:
        at, length, state = _sample(tokens, at, keep, state, sentence)
        for i in range(length):
            state, bits = _random(state)
            reach = window - _below(bits, window)
            begin, end = max(0, i - reach), min(length, i + reach + 1)
            if end - begin < 2:
                continue
            count, state = _draw(sentence[i], noise_keep, noise_other, state, targets)
            for d in range(width):
                hidden[d] = np.float32(0)
            for j in range(begin, end):
                if j != i:
                    row = sentence[j]
                    for d in range(width):
                        hidden[d] += inputs[row, d]
            share = np.float32(1) / np.float32(end - begin - 1)
            for d in range(width):
                hidden[d] *= share
            likelihood = _step(hidden, error, outputs, targets, count, rate, products)
            for j in range(begin, end):
                if j != i:
                    row = sentence[j]
                    for d in range(width):
                        inputs[row, d] += error[d]
            if centres % LOSS_EVERY == 0:
                loss -= math.log(likelihood)
                taken += 1
            centres += 1
    return loss, taken
