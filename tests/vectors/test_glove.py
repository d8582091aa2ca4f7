"""GloVe: counts against a dictionary, steps against plain NumPy, and what is learned."""

import numpy as np
import pytest

import unrolled as ur
from unrolled.vectors import cooccurrence, naive
from unrolled.vectors.corpus import encode
from unrolled.vectors.glove import GloVe, Run


def text(seed=0, sentences=300, longest=30, words=60):
    random = np.random.default_rng(seed)
    return [
        [f"w{int(x)}" for x in np.minimum(random.zipf(1.3, random.integers(longest + 1)), words)]
        for _ in range(sentences)
    ]


def counted(corpus, window, memory, threads, seed=0):
    return cooccurrence.count(corpus, window, memory, threads, seed, lambda share: None)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("memory", [1 << 22, 3000])
@pytest.mark.parametrize("window", [1, 4, 15])
def test_counts_are_the_plain_ones_with_and_without_spilling(window, memory, threads, monkeypatch):
    monkeypatch.setattr(cooccurrence, "_PIECE", 50)
    corpus = encode(text(words=2000), 1)
    pairs = counted(corpus, window, memory, threads)
    plain = cooccurrence.plain_counts(corpus, window)
    assert len(pairs) == len(plain)
    for word, context, count in pairs.tolist():
        assert count == pytest.approx(plain[word, context], rel=1e-6)


def test_a_small_memory_does_spill(monkeypatch):
    runs = []
    add = cooccurrence._Runs.add
    monkeypatch.setattr(cooccurrence._Runs, "add", lambda *a: (runs.append(len(a[1])), add(*a)))
    corpus = encode(text(words=2000, sentences=600), 1)
    whole = counted(corpus, 15, 1 << 22, 1)
    assert len(runs) == 1
    runs.clear()
    cut = counted(corpus, 15, 3000, 1)
    assert len(runs) > 5
    whole, cut = (np.sort(pairs, order=["word", "context"]) for pairs in (whole, cut))
    assert (whole[["word", "context"]] == cut[["word", "context"]]).all()
    assert np.allclose(whole["count"], cut["count"])


def test_the_order_of_pairs_is_random_and_the_seeds():
    corpus = encode(text(), 1)
    first, again, other = (counted(corpus, 5, 1 << 20, 1, seed) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert abs(np.corrcoef(first["word"], np.arange(len(first)))[0, 1]) < 0.1


@pytest.mark.parametrize("dimension", [1, 16, 37])
def test_each_epochs_loss_and_the_vectors_are_the_plain_ones(dimension):
    options = GloVe(dimension, epochs=4, min_count=1, threads=1)
    corpus = encode(text(sentences=100), 1)
    pairs = counted(corpus, 5, 1 << 20, 1)
    assert (pairs["count"] > options.x_max).any()
    run = Run(options, len(corpus.words), corpus.total, pairs)
    shape = (len(corpus.words), 2, run.width)
    matrices = [m.reshape(shape)[:, :, :dimension].astype(np.float64) for m in run.matrices]
    biases = [b.astype(np.float64) for b in run.biases]
    run.go(lambda progress: None)
    for loss in run.losses:
        plain = naive.adagrad(pairs, *matrices, *biases, 0.05, options.x_max, options.power)
        assert loss == pytest.approx(plain / len(pairs), rel=1e-4)
    assert len(run.losses) == 4
    assert np.abs(run.vectors() - matrices[0][:, 0] - matrices[1][:, 0]).max() < 1e-4
    for matrix in run.matrices:
        assert not matrix[:, dimension : run.width].any()


@pytest.mark.parametrize("threads", [1, 3])
def test_words_of_a_topic_end_near_each_other(threads):
    random = np.random.default_rng(0)
    topics = [[f"{topic}{i}" for i in range(8)] for topic in ("sea", "hill")]
    both = [["the", *random.choice(topics[random.integers(2)], 8)] for _ in range(1000)]
    reports = []
    vectors = GloVe(10, threads=threads, epochs=20).fit(both, reports.append)
    assert vectors.matrix.shape == (17, 10)
    for word in vectors.words:
        near = [other for other, _ in vectors.nearest(word, 7)]
        assert word == "the" or all(other[:3] == word[:3] for other in near)
    assert {report.stage for report in reports} == {"counting", "training"}
    assert (reports[-1].fraction, reports[-1].epoch) == (1, 20)


def test_one_thread_and_a_seed_give_the_same_bits():
    first, again = (GloVe(10, threads=1, min_count=1, epochs=3, seed=5).fit(text()) for _ in range(2))
    assert first.matrix.tobytes() == again.matrix.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, "GloVe: dimension is 0"),
        ({"window": 2000}, "window is 2000"),
        ({"x_max": 0}, "x_max is 0"),
        ({"power": float("nan")}, "power is nan"),
        ({"memory": 5}, "memory is 5 bytes"),
        ({"threads": 0}, "threads is 0"),
        ({"seed": -1}, "GloVe: seed is -1"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ur.Error, match=message):
        GloVe(**options)


def test_words_that_stand_alone_are_refused():
    with pytest.raises(ur.Error, match="no two words of the corpus stand near"):
        GloVe(min_count=1).fit([["a"], ["b"]])
