import json
import random
from dataclasses import replace

import pytest
import torch

import unrolled as ur
from unrolled.text import read_columns, read_sentences
from unrolled.training import ClassifierOptions, Example, Plan, checkpoint, train_classifier
from unrolled.training.classification import _ClassifierTask
from unrolled.training.parallel import Group
from unrolled.training.rows import JUDGED, Rows, split
from unrolled.training.symbols import vocabulary_of

SMALL = {"hidden_size": 12, "embedding_size": 8, "batch": 16, "dropout": 0.1}


def examples(count, seed=0, others=()):
    """Texts whose label is the letter that stands among random ones."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        label = chance.choice(["x", "y", "z", *others])
        letters = [chance.choice("abcdef") for _ in range(chance.randrange(1, 14))]
        letters.insert(chance.randrange(len(letters) + 1), label)
        found.append(Example("".join(letters), label))
    return found


TRAIN, JUDGE = examples(300), examples(80, seed=1)


def test_it_finds_the_letter_that_matters(tmp_path):
    seen = []
    plan = Plan(steps=120, learning_rate=0.02)
    options = ClassifierOptions(**SMALL)
    result = train_classifier(TRAIN, tmp_path, plan, options, validation=JUDGE, report=seen.append)
    assert result.best > 0.95
    model = ur.Classifier.load(tmp_path)
    assert model.labels == ("x", "y", "z")
    right = [p.label == e.label for p, e in zip(model.predict([e.text for e in JUDGE]), JUDGE, strict=True)]
    assert sum(right) / len(right) > 0.95
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["validation_macro_f1"] == result.best
    assert sum(summary["training_texts_by_label"].values()) == 300
    scores = [p.validation for p in seen if p.validation is not None]
    assert result.best == max(scores)  # the best, not the last
    lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert lines[0] == "step,seconds,learning_rate,training_loss,validation_macro_f1"
    assert len(lines) == 1 + len(scores)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_each_text_is_read_twice_for_r_drop(dropout):
    options = ClassifierOptions(**{**SMALL, "dropout": dropout}, consistency=0.7, weighted=True)

    def task(consistency):
        torch.manual_seed(0)
        changed = replace(options, consistency=consistency)
        return _ClassifierTask(TRAIN, JUDGE, ["x", "y", "z"], Plan(steps=1), changed, Group())

    twice, once = task(0.7), task(0.0)
    torch.manual_seed(1)
    loss, symbols = twice.loss(twice.model)
    plain, counted = once.loss(once.model)
    assert symbols == counted
    if not dropout:  # then both say the same
        torch.testing.assert_close(loss, plain)
        return
    rows = task(0.0).rows.next()[0]
    texts, targets = [twice.texts[i] for i in rows], twice.targets[rows]
    torch.manual_seed(1)
    logits = twice.model(twice.model.batch(texts * 2)).double()
    p, q = logits.softmax(-1).chunk(2)
    weight = twice.weights.double()[targets]
    wanted = 0.0
    for i, target in enumerate(targets.tolist()):
        wanted -= weight[i] * (p[i, target].log() + q[i, target].log()) / 2
        wanted += 0.7 * sum((p[i] - q[i]) * (p[i].log() - q[i].log())) / 2
    torch.testing.assert_close(loss.double(), wanted / len(rows), rtol=1e-5, atol=1e-6)


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("stop", [1, 19, 20, 33])
def test_a_run_stopped_at_a_step_is_resumed_to_the_bit(tmp_path, stop):
    plan = Plan(steps=40, checkpoint_every=1e-9)
    options = ClassifierOptions(**{**SMALL, "dropout": 0.4, "word_dropout": 0.1}, weighted=True)

    def kill(progress):
        if progress.step == stop:
            raise KilledError

    train_classifier(TRAIN, tmp_path / "whole", plan, options)
    with pytest.raises(KilledError):
        train_classifier(TRAIN, tmp_path / "cut", plan, options, report=kill)
    torch.manual_seed(stop)
    train_classifier(TRAIN, tmp_path / "cut", plan, options, resume=True)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]
    assert not checkpoint.exists(tmp_path / "cut")


def test_an_impatient_run_ends_early_with_its_best(tmp_path):
    chance = random.Random(0)
    noise = [Example(e.text, chance.choice("xyz")) for e in JUDGE]
    plan = Plan(steps=4000, validations=400, patience=3, learning_rate=0.02)
    result = train_classifier(TRAIN, tmp_path, plan, ClassifierOptions(**SMALL), validation=noise)
    assert result.steps < 2000
    assert not result.interrupted
    assert not checkpoint.exists(tmp_path)


def test_every_row_is_given_out_once_a_pass_among_rows_of_like_length():
    chance = random.Random(0)
    lengths = [chance.randrange(1, 200) for _ in range(1003)]
    rows = Rows(lengths, 10, torch.Generator().manual_seed(0))
    assert rows.padding() < 0.05
    passes = []
    for _ in range(2):
        given = []
        for _ in range(101):
            some, symbols, factor = rows.next()
            assert symbols == sum(lengths[i] for i in some)
            assert factor == pytest.approx(1 / len(some))
            given += some
        assert sorted(given) == list(range(1003))
        passes.append(given)
    assert passes[0] != passes[1]


@pytest.mark.parametrize("batch", [8, 32, 128])
def test_real_sentences_are_padded_by_a_tenth_at_most(data, batch):
    words = read_sentences(data / "ud_english_ewt" / "en_ewt-ud-train.conllu.gz")
    reviews = read_columns(data / "nsmc" / "ratings_test.txt.gz", ["document"])
    for lengths in ([len(s.words) for s in words], [len(text) for (text,) in reviews]):
        assert Rows(lengths, batch, torch.Generator().manual_seed(0)).padding() < 0.1


def test_the_parts_of_all_processes_are_the_batch():
    from unrolled.training.parallel import Group

    def read(group):
        rows = Rows([3] * 25, 4, torch.Generator().manual_seed(0), group)
        return [rows.next() for _ in range(7)]

    whole = read(Group())
    parts = [read(Group(rank, 3)) for rank in range(3)]
    for i, (some, symbols, factor) in enumerate(whole):
        weights = {}
        for part in parts:
            mine, all_symbols, mine_factor = part[i]
            assert all_symbols == symbols
            for row in mine:
                weights[row] = weights.get(row, 0) + mine_factor / 3
        assert weights == pytest.approx(dict.fromkeys(some, factor))


def test_rare_labels_count_as_much_when_asked(tmp_path):
    """With nothing to go by but the labels' shares, the weighted model gives them equal probability."""
    several = [Example("a", "many")] * 90 + [Example("a", "few")] * 10
    for weighted, share in ((False, 0.1), (True, 0.5)):
        options = ClassifierOptions(**{**SMALL, "dropout": 0.0, "batch": 100}, weighted=weighted)
        plan = Plan(steps=150, learning_rate=0.02, validations=1)
        train_classifier(several, tmp_path, plan, options, validation=several, overwrite=True)
        few = ur.Classifier.load(tmp_path).probabilities(["a"])[0, 0]
        assert float(few) == pytest.approx(share, abs=0.03)


def test_rare_symbols_are_read_as_unknown():
    vocabulary = vocabulary_of(["aab", "abc"], "character", least=2)
    assert vocabulary.symbols == ("a", "b", "<unknown>")
    assert vocabulary.encode("acz").tolist() == [0, 2, 2]


@pytest.mark.parametrize(
    ("train", "judge", "options", "message"),
    [
        ([Example("a", "x")] * 9, None, {}, "have the label 'x'; wanted at least two labels"),
        (
            TRAIN,
            [*JUDGE, Example("a", "w")],
            {},
            "1 text\\(s\\) have the label 'w', which no text to train",
        ),
        ([], None, {}, "0 examples are too few"),
        (TRAIN, [], {}, "no examples"),
        (TRAIN[:1], None, {}, "1 examples are too few"),
        (TRAIN, JUDGE, {"objective": "f1"}, "objective 'f1' is not one of macro_f1"),
        (TRAIN, JUDGE, {"batch": 0}, "batch is 0"),
        (TRAIN, JUDGE, {"least": 0}, "least is 0"),
        (TRAIN, JUDGE, {"smoothing": 1.0}, "smoothing is 1.0"),
        (TRAIN, JUDGE, {"consistency": -1.0}, "consistency is -1.0; wanted 0"),
        (TRAIN, JUDGE, {"consistency": float("nan")}, "consistency is nan"),
        (TRAIN, None, {"validation": 1.0}, "validation is 1.0"),
        (TRAIN, JUDGE, {"pooling": "sum"}, "pooling 'sum'"),
        (TRAIN, JUDGE, {"least": 1000}, "no symbol occurs 1000 times"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(tmp_path, train, judge, options, message):
    with pytest.raises(ur.Error, match=message):
        train_classifier(
            train, tmp_path / "m", Plan(steps=1), ClassifierOptions(**options), validation=judge
        )
    assert not (tmp_path / "m").exists()


def test_empty_texts_are_trained_on_like_others(tmp_path):
    several = [Example("", "none"), Example("aaaa", "some")] * 40
    plan = Plan(steps=60, learning_rate=0.02)
    result = train_classifier(several, tmp_path, plan, ClassifierOptions(**SMALL), validation=several)
    assert result.best == 1.0


def test_other_data_is_not_resumed(tmp_path):
    def kill(progress):
        if progress.step == 3:
            raise KilledError

    plan = Plan(steps=9, checkpoint_every=1e-9)
    with pytest.raises(KilledError):
        train_classifier(TRAIN, tmp_path, plan, ClassifierOptions(**SMALL), report=kill)
    with pytest.raises(ur.Error, match="was on other data; give the same files"):
        train_classifier(TRAIN[1:], tmp_path, plan, ClassifierOptions(**SMALL), resume=True)
    options = ClassifierOptions(**{**SMALL, "batch": 8})
    with pytest.raises(ur.Error, match="had batch 16, and this call has 8"):
        train_classifier(TRAIN, tmp_path, plan, options, resume=True)


def test_a_tenth_judges_and_no_more_than_enough():
    assert [len(part) for part in split(range(100), None, 0)] == [90, 10]
    assert len(split(range(20 * JUDGED), None, 0)[1]) == JUDGED
    assert len(split(range(20 * JUDGED), 0.1, 0)[1]) == 2 * JUDGED
