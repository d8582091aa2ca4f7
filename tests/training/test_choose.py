from dataclasses import replace

import pytest

from unrolled.training import ClassifierOptions, Plan, choose

PLAN = Plan(seconds=600.0)
LONG, SHORT = [1000] * 200, [30] * 20


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Every step takes a millisecond, and is tried once."""

    def seconds(model, loss, budget):
        loss().backward()
        return 1e-3

    monkeypatch.setattr(choose, "_step_seconds", seconds)


def chosen(lengths=LONG, **given):
    given = {"hidden_size": 2, "embedding_size": 2, **given}
    choice = choose.for_classifier(lengths, 9, 2, PLAN, ClassifierOptions(batch=2, longest=8), given)
    assert choice.options == replace(ClassifierOptions(batch=2, longest=8), **given | choice.chosen)
    return choice


@pytest.mark.parametrize(("unit", "grams"), [("character", 3), ("byte", 3), ("jamo", 6)])
def test_letters_of_much_text_are_read_with_their_n_grams(unit, grams):
    choice = chosen(unit=unit)
    assert choice.chosen == {"grams": grams, "input_dropout": 0.5, "dropout": 0.5, "consistency": 1.0}
    assert (
        f"n-grams up to {grams}, dropout 0.5, dropout 0.5 of the embeddings, each text read twice"
        in choice.why
    )
    assert choice.plan.learning_rate == choose.GRAM_RATE


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"grams": 1}, {}),
        ({"grams": 2}, {"input_dropout": 0.5, "dropout": 0.5, "consistency": 1.0}),
        ({"grams": 2, "input_dropout": 0.1, "consistency": 0.0}, {"dropout": 0.5}),
        ({"embedding_size": 0}, {}),
        ({"unit": "word"}, {"input_dropout": choose.WORD_DROPOUT}),
        ({"unit": "word", "embedding_size": 0}, {}),
        ({"unit": "word", "input_dropout": 0.0}, {}),
    ],
)
def test_what_the_user_set_is_kept(given, wanted):
    assert chosen(**given).chosen == wanted


def test_little_text_has_no_table_of_n_grams():
    assert chosen(SHORT).chosen == {}


@pytest.mark.parametrize(("texts", "passes"), [(200, 12), (50_000, 3)])
def test_n_grams_are_read_over_less_often_the_more_texts_there_are(texts, passes):
    lengths, plan = [8] * texts, Plan(seconds=600.0)
    options = ClassifierOptions(batch=8, dropout=0.1)
    choice = choose.for_classifier(lengths, 9, 2, plan, options, {"grams": 2, "hidden_size": 2})
    assert f"about {passes}.0 passes; {passes} are enough" in choice.why
    assert choice.plan.enough < 1


@pytest.mark.parametrize(("passes", "twice"), [(3.5, True), (2.5, False)])
def test_texts_are_read_twice_where_there_is_time(monkeypatch, passes, twice):
    def speed(lengths, symbols, labels, options, seconds):
        return passes * sum(lengths) / seconds / 0.95 * (1 if options.consistency else 2)

    monkeypatch.setattr(choose, "_classifier_speed", speed)
    choice = choose.for_classifier([2] * 200_000, 9, 2, Plan(seconds=60.0), ClassifierOptions(), {})
    assert choice.options.consistency == (1.0 if twice else 0.0)
    assert choice.options.hidden_size == choose.GRAM_UNITS
    assert ("read twice" in choice.why) == twice


def test_a_plan_of_steps_is_left_as_it_is():
    options = ClassifierOptions()
    choice = choose.for_classifier(LONG, 9, 2, Plan(steps=3), options, {"grams": 2})
    assert choice.options == replace(options, grams=2)
    assert choice.chosen == {}
