"""Scores: by hand on a few questions, and against gensim's on real ones."""

import math

import numpy as np
import pytest

import unrolled as ur
from unrolled.vectors import Protocol, analogies, similarities

WORDS = {
    "man": (1, 0, 0),
    "king": (1, 1, 0),
    "Woman": (0, 0, 1),
    "queen": (0, 1, 1),
    "woman": (9, 9, 9),
    "far": (-1, -1, -1),
    "good": (1, 0, 0.5),
    "better": (-1, 1, 0),
}
VECTORS = ur.vectors.WordVectors(list(WORDS), np.array(list(WORDS.values()), dtype=np.float32))
QUESTIONS = """: family
man king woman queen
man king woman far
man king aunt queen
: gram1-more
woman queen man king
: nothing known
a b c d
"""


def scored(tmp_path, **protocol):
    (tmp_path / "questions.txt").write_text(QUESTIONS)
    scores = analogies(VECTORS, tmp_path / "questions.txt", Protocol(**protocol))
    return {s.section: (s.value, s.judged, s.asked) for s in scores}, scores


def test_analogies_by_hand(tmp_path):
    scores, listed = scored(tmp_path)
    assert scores["family"] == (1 / 2, 2, 3)
    assert scores["gram1-more"] == (1, 1, 1)
    assert math.isnan(scores["nothing known"][0])
    assert scores["semantic"] == (1 / 2, 2, 4)
    assert scores["syntactic"] == (1, 1, 1)
    assert scores["total"] == (2 / 3, 3, 5)
    total = listed[-1]
    # Wilson's interval for 2 of 3, from its quadratic: (p − x)² = z² x (1 − x) / n
    for x in (total.low, total.high):
        assert (2 / 3 - x) ** 2 == pytest.approx(1.959964**2 * x * (1 - x) / 3)
    assert total.low < 2 / 3 < total.high


def test_the_protocol_changes_the_score(tmp_path):
    assert scored(tmp_path, missing="wrong")[0]["total"] == (2 / 5, 5, 5)
    assert scored(tmp_path)[0]["gram1-more"] == (1, 1, 1)
    assert scored(tmp_path, lower=False)[0]["gram1-more"] == (0, 1, 1)
    assert scored(tmp_path, restrict=4)[0]["family"] == (1, 1, 3)
    assert str(Protocol()) == "all words, letter case ignored, items with an unknown word left out"
    with pytest.raises(ur.Error, match="missing is 'no'"):
        Protocol(missing="no")
    with pytest.raises(ur.Error, match="restrict is 2"):
        Protocol(restrict=2)


def test_similarities_by_hand(tmp_path):
    place = tmp_path / "pairs.csv"
    place.write_text(
        "Word 1,Word 2,Human (mean)\n# comment\nman,king,7\nman,far,1\nman,good,9\nman,aunt,5\n"
    )
    score = similarities(VECTORS, place)
    assert (score.value, score.judged, score.asked) == (1, 3, 4)
    score = similarities(VECTORS, place, Protocol(missing="wrong"))
    assert (score.value, score.judged) == (pytest.approx(1), 4)
    place.write_text("man king 1\nman far 9\nman good 5\n")
    assert similarities(VECTORS, place).value == pytest.approx(-0.5)
    place.write_text("man king 5\nman far 5\n")
    assert math.isnan(similarities(VECTORS, place).value)


def test_ranks_of_ties_are_their_mean():
    from unrolled.vectors.evaluation import _ranks

    assert _ranks(np.array([3.0, 1.0, 3.0, 2.0, 3.0])).tolist() == [4, 1, 4, 2, 4]


@pytest.mark.parametrize(
    ("what", "content", "message"),
    [
        (analogies, "a b c\n", "line 1: 3 words; wanted four"),
        (analogies, ": only a section\n", "has no questions"),
        (analogies, "", "has no questions"),
        (similarities, "a b c\n", "has no pairs"),
        (similarities, "a b c\nd e f\n", "line 2: 'd e f'; wanted two words and a number"),
        (similarities, "a b 1\nd e f\n", "line 2: 'd e f'; wanted two words and a number"),
        (similarities, "a b nan\n", "not finite"),
        (similarities, "", "has no pairs"),
    ],
)
def test_wrong_questions_are_one_sentence(tmp_path, what, content, message):
    (tmp_path / "f").write_text(content)
    with pytest.raises(ur.Error, match=message):
        what(VECTORS, tmp_path / "f")
    (tmp_path / "f").write_bytes(b"\xff\xfe a b 1\n")
    with pytest.raises(ur.Error, match="not UTF-8"):
        what(VECTORS, tmp_path / "f")
    with pytest.raises(ur.Error, match="cannot read"):
        what(VECTORS, tmp_path / "nowhere")


@pytest.mark.filterwarnings("ignore")
def test_scores_are_gensims(data, tmp_path):
    """Random vectors over the words of the questions; gensim's protocol, all words, missing left out."""
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    questions = data / "word_eval" / "questions-words.txt"
    pairs = data / "word_eval" / "wordsim353.tsv"
    rows = [line.split() for line in questions.read_text().splitlines() if not line.startswith(":")]
    words = list(dict.fromkeys(w for row in rows[:4000] for w in row))
    words += [w for w in ("tiger", "cat", "car", "train", "book", "paper", "sex", "love") if w not in words]
    random = np.random.default_rng(0)
    kinds = {w: random.normal(size=20) for w in words}
    for a, b, c, d in rows[:4000]:
        kinds[d] = kinds[c] + kinds[b] - kinds[a] + random.normal(size=20) * 0.7
    matrix = np.array([kinds[w] for w in words], dtype=np.float32)
    keyed = models.KeyedVectors(20)
    keyed.add_vectors(words, matrix)
    total, sections = keyed.evaluate_word_analogies(str(questions), restrict_vocab=len(words))
    ours = analogies(ur.vectors.WordVectors(words, matrix), questions)
    assert 0.02 < total < 0.98
    assert ours[-1].value == pytest.approx(total)
    for section, score in zip(sections, ours, strict=False):
        if score.judged and section["section"] == score.section:
            assert score.judged == len(section["correct"]) + len(section["incorrect"])
            assert score.value == pytest.approx(len(section["correct"]) / score.judged)
    _, theirs, _ = keyed.evaluate_word_pairs(str(pairs))
    assert similarities(ur.vectors.WordVectors(words, matrix), pairs).value == pytest.approx(theirs[0])
