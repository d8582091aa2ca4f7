import random

import pytest
import torch

import unrolled as ur
from unrolled.text import Sentence
from unrolled.training import Plan, TaggerOptions, train_tagger
from unrolled.training.evaluation import evaluate_tagger

SMALL = {"hidden_size": 16, "embedding_size": 8, "character_size": 8, "batch": 8, "dropout": 0.1}


def sentences(count, seed=0):
    """A word's tag is told by its ending, or, for "x", by the tag of the word before it."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        words, tags = [], []
        for _ in range(chance.randrange(1, 9)):
            tag = chance.choice(["A", "B"])
            if words and chance.random() < 0.3:
                words.append("x")
                tags.append(tags[-1])
            else:
                words.append("".join(chance.choice("klmn") for _ in range(4)) + tag.lower())
                tags.append(tag)
        found.append(Sentence(tuple(words), tuple(tags)))
    return found


TRAIN, JUDGE = sentences(200), sentences(40, seed=1)


def test_it_learns_from_spelling_and_from_neighbours(tmp_path):
    plan = Plan(steps=150, learning_rate=0.01)
    result = train_tagger(TRAIN, tmp_path, plan, TaggerOptions(**SMALL), validation=JUDGE)
    assert result.best > 0.95
    report = evaluate_tagger(ur.Tagger.load(tmp_path), JUDGE, TRAIN)
    assert report["accuracy"] == pytest.approx(result.best)
    assert report["words"] == sum(len(s.words) for s in JUDGE)
    assert report["baseline"]["accuracy"] < report["accuracy"]  # it cannot know about "x"


class KilledError(Exception):
    """Stands for the end of the process."""


def test_a_run_stopped_at_a_step_is_resumed_to_the_bit(tmp_path):
    plan = Plan(steps=30, checkpoint_every=1e-9)

    def kill(progress):
        if progress.step == 17:
            raise KilledError

    train_tagger(TRAIN, tmp_path / "whole", plan, TaggerOptions(**SMALL))
    with pytest.raises(KilledError):
        train_tagger(TRAIN, tmp_path / "cut", plan, TaggerOptions(**SMALL), report=kill)
    torch.manual_seed(5)
    train_tagger(TRAIN, tmp_path / "cut", plan, TaggerOptions(**SMALL), resume=True)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_a_tag_that_the_model_never_saw_is_wrong(tmp_path):
    train_tagger(TRAIN, tmp_path, Plan(steps=2), TaggerOptions(**SMALL))
    model = ur.Tagger.load(tmp_path)
    report = evaluate_tagger(model, [Sentence(("x", "x"), ("C", model.tags[0]))], TRAIN)
    assert report["accuracy"] <= 0.5
    assert report["labels"]["C"]["words"] == report["unknown"] == 1
    with pytest.raises(ur.Error, match=r"knows none of the tags \(C\)"):
        evaluate_tagger(model, [Sentence(("x",), ("C",))])


@pytest.mark.parametrize(
    ("train", "judge", "options", "message"),
    [
        ([Sentence(("a",), ("X",))] * 5, None, {}, "with 1 different tags"),
        (TRAIN, [Sentence((), ())], {}, "and 0 to judge by"),
        (TRAIN[:1], None, {}, "1 examples are too few"),
        (TRAIN, JUDGE, {"batch": 0}, "batch is 0"),
        (TRAIN, None, {"validation": 0.0}, "validation is 0.0"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(tmp_path, train, judge, options, message):
    with pytest.raises(ur.Error, match=message):
        train_tagger(train, tmp_path / "m", Plan(steps=1), TaggerOptions(**options), validation=judge)
    assert not (tmp_path / "m").exists()
