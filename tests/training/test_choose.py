from dataclasses import replace

import pytest

from unrolled.training import ClassifierOptions, Options, Plan, choose

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


def language(monkeypatch, minutes, symbols=1_000_000, speed=60_000, **given):
    """As if a model of 256 units read so many symbols a second."""
    parameters = choose._parameters(65, Options(hidden_size=256))
    monkeypatch.setattr(choose, "_language_speed", lambda *arguments: (speed, parameters))
    return choose.for_language(symbols, 65, Plan(seconds=60.0 * minutes), Options(), given)


@pytest.mark.parametrize(
    ("minutes", "members", "hidden", "dropout"),
    [
        (1, 1, 256, 0.0),
        (3, 1, 384, 0.0),
        (5, 1, 384, 0.1),
        (10, 2, 384, 0.1),
        (15, 3, 384, 0.1),
        (90, 4, 384, 0.3),
    ],
)
def test_much_time_for_little_text_gives_several_networks(monkeypatch, minutes, members, hidden, dropout):
    choice = language(monkeypatch, minutes)
    assert (choice.options.members, choice.options.hidden_size) == (members, hidden)
    assert choice.options.dropout == dropout
    assert (f"{members} networks of {hidden} units" in choice.why) == (members > 1)
    assert ("members" in choice.chosen) == (members > 1)


@pytest.mark.parametrize(
    "given", [{"hidden_size": 384}, {"members": 1}, {"members": 3}, {"tied": True, "embedding_size": 8}]
)
def test_the_number_of_networks_is_left_to_who_sets_it(monkeypatch, given):
    choice = language(monkeypatch, 15, **given)
    assert choice.options.members == given.get("members", 1)
    assert "members" not in choice.chosen
    if "members" in given:
        assert choice.options.hidden_size == {1: 512, 3: 384}[given["members"]]


def test_much_text_is_read_by_one_network(monkeypatch):
    assert language(monkeypatch, 60, symbols=20_000_000).options.members == 1
