"""Word2Vec: compiled steps against plain NumPy, what is drawn, and what is learned."""

import collections
import gzip
import json
import threading

import numpy as np
import pytest

import unrolled as ur
from unrolled.vectors import naive, word2vec
from unrolled.vectors.corpus import SEPARATOR, encode
from unrolled.vectors.word2vec import Run, Word2Vec


def text(seed=0, sentences=60, longest=30, words=40):
    random = np.random.default_rng(seed)
    return [
        [f"w{int(x)}" for x in np.minimum(random.zipf(1.3, random.integers(longest + 1)), words)]
        for _ in range(sentences)
    ]


@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
@pytest.mark.parametrize(
    ("dimension", "window", "negative", "sample", "seed"),
    [(1, 1, 1, 0, 1), (16, 5, 5, 1e-3, 2), (37, 3, 8, 0.1, 3), (100, 7, 2, 0, 4), (5, 2, 20, 0.01, 5)],
)
def test_compiled_steps_are_the_plain_ones(architecture, dimension, window, negative, sample, seed):
    from unrolled.vectors import negative_sampling as compiled

    options = Word2Vec(dimension, architecture, window, negative, sample, 1, 1, 0.05, 1, seed)
    run = Run(options, encode(text(seed), 1))
    random = np.random.default_rng(seed)
    for matrix in (run.inputs, run.outputs):
        matrix[:, :dimension] = random.normal(size=(len(matrix), dimension)) / dimension**0.5
    inputs = run.inputs[:, :dimension].astype(np.float64)
    outputs = run.outputs[:, :dimension].astype(np.float64)
    tokens, keep, noise_keep, noise_other, _, _, window, negative, rate, state = run.arguments(0)
    longest = 25  # some sentences are cut
    plain, kernel = (
        (naive.skip_gram, compiled.skip_gram)
        if architecture == "skip-gram"
        else (naive.cbow, compiled.cbow)
    )
    losses = plain(
        inputs,
        outputs,
        float(rate),
        tokens,
        keep,
        noise_keep,
        noise_other,
        window,
        negative,
        int(state),
        longest,
    )
    loss, taken = kernel(*run.arguments(0), np.empty(longest, np.int32))
    assert taken == len(losses[:: compiled.LOSS_EVERY])
    assert loss == pytest.approx(sum(losses[:: compiled.LOSS_EVERY]), rel=1e-4)
    assert np.abs(run.inputs[:, :dimension] - inputs).max() < 2e-5
    assert np.abs(run.outputs[:, :dimension] - outputs).max() < 2e-5
    assert not run.inputs[:, dimension:].any()
    assert not run.outputs[:, dimension:].any()


def test_noise_is_drawn_by_the_weights():
    weights = np.array([50, 20, 5, 1, 1, 0.5]) ** 0.75
    keep, other = word2vec.aliases(weights)
    chances = np.zeros(len(weights))
    for word, (stays, instead) in enumerate(zip(keep / 0xFFFFFFFF, other, strict=True)):
        chances[word] += stays / len(weights)
        chances[instead] += (1 - stays) / len(weights)
    assert chances == pytest.approx(weights / weights.sum(), rel=1e-6)
    random = naive.Random(12345)
    drawn = collections.Counter(random.noise(keep, other) for _ in range(20_000))
    for word, share in enumerate(weights / weights.sum()):
        assert drawn[word] / 20_000 == pytest.approx(share, abs=0.015)


def test_frequent_words_are_dropped_as_word2vec_drops_them():
    counts = np.array([10_000, 1000, 100, 10])
    kept = word2vec.keep_thresholds(counts, 0.01) / 0xFFFFFFFF
    limit = 0.01 * counts.sum()
    expected = np.minimum(1, (np.sqrt(counts / limit) + 1) * limit / counts)
    assert kept == pytest.approx(expected, rel=1e-6)
    assert (word2vec.keep_thresholds(counts, 0) == 0xFFFFFFFF).all()


def test_the_learning_rate_falls_linearly():
    run = Run(Word2Vec(learning_rate=0.1, min_count=1, epochs=4), encode([["a", "b"] * 50_000], 1))
    rates = [run.rate(job) for job in range(run.jobs)]
    assert run.jobs == 40
    assert rates == pytest.approx(0.1 * (1 - np.arange(40) / 40))


def test_jobs_cover_the_corpus_and_begin_at_sentences(monkeypatch):
    monkeypatch.setattr(word2vec, "JOB", 10)
    tokens = np.array([1, 2, 3, SEPARATOR] * 20 + [5] * 35, dtype=np.int32)
    begins = word2vec.job_begins(tokens)
    assert begins[0] == 0
    assert begins[-1] == len(tokens)
    assert (np.diff(begins) > 0).all()
    assert all(tokens[b - 1] == SEPARATOR for b in begins[1:] if b <= 80)


def test_each_epoch_reads_every_part_once_in_an_order_of_its_own(monkeypatch):
    monkeypatch.setattr(word2vec, "JOB", 10)
    corpus = encode(text(sentences=200), 1)
    run = Run(Word2Vec(8, min_count=1, epochs=3), corpus)
    parts = run.jobs // 3
    begins = [run.arguments(job)[0].ctypes.data for job in range(run.jobs)]
    epochs = [begins[i * parts : (i + 1) * parts] for i in range(3)]
    whole = [corpus.tokens[begin:].ctypes.data for begin in run.begins[:-1]]
    assert all(sorted(epoch) == whole for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != whole


def two_topics(sentences=4000, seed=0):
    """Sentences about one of two topics: words of a topic should end up near each other."""
    random = np.random.default_rng(seed)
    topics = [[f"{topic}{i}" for i in range(8)] for topic in ("sea", "hill")]
    return [list(random.choice(topics[random.integers(2)], 8)) for _ in range(sentences)]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
def test_words_of_a_topic_end_near_each_other(architecture, threads):
    options = Word2Vec(10, architecture, sample=0, threads=threads, epochs=8)
    reports = []
    vectors = options.fit(two_topics(), reports.append)
    assert vectors.matrix.shape == (16, 10)
    for word in vectors.words:
        near = [other for other, _ in vectors.nearest(word, 7)]
        assert all(other[:3] == word[:3] for other in near)
    last = reports[-1]
    assert (last.stage, last.fraction, last.epoch) == ("training", 1, 8)
    assert last.words_per_second > 0


def test_one_thread_and_a_seed_give_the_same_bits():
    options = Word2Vec(10, threads=1, min_count=1, epochs=2, seed=3)
    first, second = options.fit(text(9)), options.fit(text(9))
    assert first.words == second.words
    assert first.matrix.tobytes() == second.matrix.tobytes()
    other = Word2Vec(10, threads=1, min_count=1, epochs=2, seed=4).fit(text(9))
    assert first.matrix.tobytes() != other.matrix.tobytes()


def test_files_packed_files_folders_tables_and_lists_are_one_corpus(tmp_path, monkeypatch):
    from unrolled.text import reading
    from unrolled.vectors import corpus

    sentences = [["a", "한국어", "a"], [], ["naïve"], [], [], ["b", "a", "b"]]
    lines = ["  ".join(words) + " " for words in sentences]
    content = "\n".join(lines).encode() + b"\r\n\n"
    (tmp_path / "text").write_bytes(content)
    (tmp_path / "packed").write_bytes(gzip.compress(content))
    for name, part in (("1.txt", lines[:2]), ("2.txt", lines[2:])):
        (tmp_path / "folder" / "inner").mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / "inner" / name).write_text("\n".join(part))
    (tmp_path / "t.tsv").write_text("id\ttext\n" + "".join(f"1\t{line}\n" for line in lines))
    (tmp_path / "t.csv").write_text("text,id\n" + "".join(f'"{line}",1\n' for line in lines))
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    expected = encode(sentences, 1)
    assert expected.words == ("a", "b", "한국어", "naïve")
    assert expected.counts.tolist() == [3, 2, 1, 1]
    assert expected.tokens.tolist() == [0, 2, 0, -1, 3, -1, 1, 0, 1, -1]
    assert expected.total == 7
    tables = [ur.text.Corpus(tmp_path / f"t.{ending}", column="text") for ending in ("tsv", "csv", "jsonl")]
    for read in (1 << 20, 1, 3, 7):  # blocks that end within a letter, a word, a line
        monkeypatch.setattr(reading, "BLOCK", read)
        monkeypatch.setattr(corpus, "_FLUSH", read)
        for source in (*(tmp_path / name for name in ("text", "packed", "folder")), *tables):
            found = encode(source, 1)
            assert (found.words, found.tokens.tolist()) == (expected.words, expected.tokens.tolist())
            assert found.fingerprint() == expected.fingerprint()
    rare = encode(sentences, 2)
    assert rare.words == ("a", "b")
    assert rare.tokens.tolist() == [0, 0, -1, 1, 0, 1, -1]
    assert rare.total == 7
    assert rare.fingerprint() != expected.fingerprint()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no words"),
        (b" \n\t\n", "has no words"),
        (b"a b c\n" * 3, r"no word of the corpus comes 5 times \(3 distinct words, 9 in all\)"),
        (b"caf\xe9 " * 9, r"not UTF-8 text \(byte 3 is 0xe9\)"),
        (b"a\0b " * 9, "NUL character"),
        (gzip.compress(b"a b c d e\n" * 10_000)[:-30], "cannot read .*ended before the end-of-stream"),
    ],
)
def test_what_is_no_corpus_is_refused(tmp_path, content, message):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(ur.Error, match=message):
        Word2Vec().fit(tmp_path / "text")
    with pytest.raises(ur.Error, match=r"cannot read .*wanted a text"):
        Word2Vec().fit(tmp_path / "nowhere")
    with pytest.raises(ur.Error, match="got 'a sentence"):
        Word2Vec().fit(["a sentence that was not split"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, "dimension is 0; wanted a whole number, 1 to 10,000"),
        ({"window": 0}, "window is 0"),
        ({"negative": 0}, "negative is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"min_count": 0}, "min_count is 0"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"sample": -1}, "sample is -1"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"architecture": "cbov"}, "architecture 'cbov' is not one of skip-gram, cbow"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ur.Error, match=message):
        Word2Vec(**options)


def test_a_failure_in_a_thread_is_raised():
    from unrolled.vectors.workers import Workers

    def work(job):
        if job == 3:
            raise ZeroDivisionError
        return 1.0, 1

    with pytest.raises(ZeroDivisionError):
        Workers(2, 10, lambda: work).run(float("inf"), lambda loss: None, threading.Event())
