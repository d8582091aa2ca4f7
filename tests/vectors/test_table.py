"""Neighbours and analogies, against loops that anyone can read."""

import numpy as np
import pytest

import unrolled as ur
from unrolled.vectors import table as table_module


def plane(**words):
    return ur.vectors.WordVectors(list(words), np.array(list(words.values()), dtype=np.float32))


KINGDOM = plane(man=(1, 0), woman=(1, 1), king=(5, 0), queen=(4, 4.2), uncle=(3, 0.1), zero=(0, 0))


def cosine(u, v):
    return float(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))


def test_similarity_is_the_cosine():
    assert KINGDOM.similarity("man", "king") == pytest.approx(1)
    assert KINGDOM.similarity("man", "woman") == pytest.approx(0.5**0.5)
    assert KINGDOM.similarity("man", "zero") == 0


def test_nearest_of_a_word_and_of_a_vector():
    assert [word for word, _ in KINGDOM.nearest("man", 2)] == ["king", "uncle"]
    assert [word for word, _ in KINGDOM.nearest(KINGDOM["man"], 2)] == ["man", "king"]
    assert len(KINGDOM.nearest("man", 100)) == 5
    assert KINGDOM.nearest("man", 100)[-1] == ("zero", 0.0)


def test_an_analogy_is_the_words_nearest_to_the_sum():
    assert KINGDOM.analogy("man", "king", "woman", 1)[0][0] == "queen"


def test_against_a_plain_loop(monkeypatch):
    monkeypatch.setattr(table_module, "BLOCK", 100)  # several blocks
    random = np.random.default_rng(0)
    words = [f"w{i}" for i in range(60)]
    vectors = ur.vectors.WordVectors(words, random.normal(size=(60, 7)).astype(np.float32))
    units = {word: vectors[word] / np.linalg.norm(vectors[word]) for word in words}
    questions = random.choice(60, size=(40, 3))
    answers = vectors.answers(questions)
    for rows, answer in zip(questions, answers, strict=True):
        a, b, c = (words[i] for i in rows)
        target = units[b] - units[a] + units[c]
        cosines = {w: cosine(units[w], target) for w in words if w not in (a, b, c)}
        order = sorted(cosines, key=lambda w: -cosines[w])
        assert words[answer] == order[0]
        got = vectors.analogy(a, b, c, 5)
        assert [word for word, _ in got] == order[:5]
        assert [value for _, value in got] == pytest.approx([cosines[w] for w in order[:5]], abs=1e-5)


def test_what_is_no_table_is_refused():
    one = np.ones((2, 3), np.float32)
    for words, matrix, message in [
        (["a", "b"], one.astype(np.float64), "float64 of shape"),
        (["a", "b"], one[0], "wanted float32"),
        ([], one[:0], "neither of them 0"),
        (["a"], one, "1 words for a matrix of 2 rows"),
        (["a", "a"], one, "'a' is there twice"),
        (["a", "b"], one * np.float32(np.inf), "the vector of 'a' .* holds inf"),
    ]:
        with pytest.raises(ur.Error, match=message):
            ur.vectors.WordVectors(words, matrix)


def test_what_is_no_word_is_refused():
    for call in (
        lambda: KINGDOM["prince"],
        lambda: KINGDOM.nearest("prince"),
        lambda: KINGDOM.analogy("man", "king", "prince"),
    ):
        with pytest.raises(ur.Error, match="'prince' is not among the 6 words"):
            call()
    with pytest.raises(ur.Error, match="wanted finite numbers of shape"):
        KINGDOM.nearest(np.ones(3))
    with pytest.raises(ur.Error, match="count is 0"):
        KINGDOM.nearest("man", 0)


@pytest.mark.parametrize("scale", [1.0, 1e20, 1e-23])
def test_nearness_is_of_angles_whatever_the_lengths(scale):
    table = ur.vectors.WordVectors(list("xyz"), np.array([[1, 0], [0, 1], [1, 1]], np.float32))
    found = table.nearest(np.array([scale, 0]), 3)
    assert [word for word, _ in found] == ["x", "z", "y"]
    np.testing.assert_allclose([cosine for _, cosine in found], [1, 0.5**0.5, 0], atol=1e-6)
    wide = ur.vectors.WordVectors(list("xyz"), np.array([[1, 0], [0, 1], [1, 1]], np.float32) * 1e25)
    assert wide.nearest(wide["x"], 3) == wide.nearest(np.array([1.0, 0.0]), 3)
