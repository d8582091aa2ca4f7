"""The memory that the docstrings state, held: what Python and NumPy have in use at most."""

import tracemalloc

import numpy as np
import pytest

import unrolled as ur
from unrolled.vectors import GloVe, Word2Vec
from unrolled.vectors.word2vec import aligned_zeros

MIB = 1 << 20
WORDS = 10_000
A_WORD = 300
"""Bytes for a distinct word: the string, its places in a dictionary, a list and a tuple, its number."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Each word five times, ten in a line."""
    place = tmp_path_factory.mktemp("corpus") / "text.txt"
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(WORDS), 5)).reshape(-1, 10)
    place.write_text("\n".join(" ".join(f"word{i}" for i in line) for line in order.tolist()))
    return place


def peak(work):
    work()  # what is compiled or imported at first use is not counted
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
def test_word2vec(corpus, architecture):
    stated = 12 * aligned_zeros(WORDS, 200).size + WORDS * A_WORD + 30 * MIB
    taken = peak(lambda: Word2Vec(200, architecture, epochs=1, threads=2).fit(corpus))
    assert 8 * WORDS * 200 < taken < stated


@pytest.mark.parametrize("memory", [16, 32])
def test_glove(corpus, memory):
    counting = memory * MIB
    training = 20 * aligned_zeros(WORDS, 100).size
    model = GloVe(100, epochs=1, threads=2, memory=memory * MIB)
    taken = peak(lambda: model.fit(corpus))
    assert 16 * WORDS * 100 < taken < max(counting, training) + WORDS * A_WORD + 30 * MIB


@pytest.mark.parametrize("ending", ["glove", "bin"])
def test_reading(tmp_path, ending):
    words = 40_000
    matrix = np.random.default_rng(0).normal(size=(words, 100)).astype(np.float32)
    place = tmp_path / f"v.{ending}"
    ur.vectors.write(ur.vectors.WordVectors([f"word{i}" for i in range(words)], matrix), place)
    taken = peak(lambda: ur.vectors.read(place))
    assert matrix.nbytes < taken < 1.5 * matrix.nbytes + words * A_WORD + 48 * MIB


def test_a_mapped_file(tmp_path):
    words = 40_000
    matrix = np.zeros((words, 100), np.float32)
    place = tmp_path / "v.safetensors"
    ur.vectors.write(ur.vectors.WordVectors([f"word{i}" for i in range(words)], matrix), place)
    assert (
        peak(lambda: ur.vectors.read(place)) < words * A_WORD + 24 * MIB
    )  # a piece of a file that may be any
