"""GloVe's two loops, compiled: counting pairs, and AdaGrad on the weighted squares."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .corpus import SEPARATOR

CLIP = np.float32(100)
"""The largest step of a gradient before the learning rate, as in Stanford's program."""


@njit(cache=True, nogil=True)
def count_pairs(tokens, at, window, keys, counts, filled, limit):
    """Adds 1/distance to the pairs of a word in tokens[at:] and one at most `window` before it.

    keys, counts: a hash table with open addressing, a power of two long; a key is
    (smaller word << 32 | larger word) + 1, and 0 marks a free slot. Stops before a word whose pairs might
    not fit. Returns (the position reached, slots filled).
    """
    mask = np.uint64(keys.shape[0] - 1)
    for i in range(at, tokens.shape[0]):
        word = tokens[i]
        if word == SEPARATOR:
            continue
        if filled + window > limit:
            return i, filled
        for distance in range(1, min(window, i) + 1):
            other = tokens[i - distance]
            if other == SEPARATOR:
                break
            key = (
                (np.uint64(min(word, other)) << np.uint64(32)) | np.uint64(max(word, other))
            ) + np.uint64(1)
            mixed = key * np.uint64(0x9E3779B97F4A7C15)
            slot = (mixed ^ (mixed >> np.uint64(32))) & mask
            while keys[slot] != key:
                if keys[slot] == 0:
                    keys[slot] = key
                    filled += 1
                    break
                slot = (slot + np.uint64(1)) & mask
            counts[slot] += 1.0 / distance
    return tokens.shape[0], filled


@njit(cache=True, nogil=True, fastmath=True)
def adagrad(pairs, begin, end, words, contexts, word_bias, context_bias, width, rate, most, power):
    """A step for each of pairs[begin:end], as `naive.adagrad` in NumPy. Returns the sum of losses.

    words, contexts: (words, 2·width) float32, a vector and behind it its sums of squared steps.
    """
    total = 0.0
    for p in range(begin, end):
        i, j, x = pairs[p].word, pairs[p].context, pairs[p].count
        product = np.float32(0)
        for d in range(width):
            product += words[i, d] * contexts[j, d]
        error = product + word_bias[i, 0] + context_bias[j, 0] - np.float32(math.log(x))
        weight = np.float32(1) if x >= most else np.float32((x / most) ** power)
        slope = weight * error
        total += 0.5 * slope * error
        for d in range(width):
            w, c = words[i, d], contexts[j, d]
            dw = rate * min(max(slope * c, -CLIP), CLIP)
            dc = rate * min(max(slope * w, -CLIP), CLIP)
            sw, sc = words[i, width + d], contexts[j, width + d]
            words[i, d] = w - dw / np.float32(math.sqrt(sw))
            contexts[j, d] = c - dc / np.float32(math.sqrt(sc))
            words[i, width + d] = sw + dw * dw
            contexts[j, width + d] = sc + dc * dc
        step = rate * min(max(slope, -CLIP), CLIP)
        word_bias[i, 0] -= step / np.float32(math.sqrt(word_bias[i, 1]))
        word_bias[i, 1] += step * step
        context_bias[j, 0] -= step / np.float32(math.sqrt(context_bias[j, 1]))
        context_bias[j, 1] += step * step
    return total
