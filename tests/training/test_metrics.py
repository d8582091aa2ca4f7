import pytest

from unrolled.training import metrics


def test_the_scores_of_a_small_table_by_hand():
    scores = metrics.classification([0, 0, 0, 1, 1], [0, 0, 1, 1, 0], ["a", "b", "c"])
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["labels"]["a"] == {
        "texts": 3,
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
    }
    assert scores["labels"]["b"]["f1"] == pytest.approx(0.5)
    assert scores["labels"]["c"]["texts"] == 0
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0.5) / 2)  # c does not occur
    low, high = scores["macro_f1_interval"]
    assert 0 <= low < scores["macro_f1"] < high <= 1


def test_wilsons_interval_is_the_published_one():
    # Newcombe (1998), Table I: 81 of 263, and 0 of 20.
    assert metrics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert metrics.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert metrics.wilson(0, 0) == (0.0, 1.0)


def test_nothing_right_and_nothing_there():
    assert metrics.classification([0, 1], [1, 0], ["a", "b"])["macro_f1"] == 0.0
    assert metrics.classification([], [], ["a", "b"])["accuracy"] == 0.0
