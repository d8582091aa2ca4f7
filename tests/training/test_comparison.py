import math

import pytest

from unrolled import Error
from unrolled.training import ClassifierOptions, Example, Plan
from unrolled.training.comparison import compare_inputs, half_interval

EXAMPLES = [
    Example(f"{word} film {other}", label)
    for word, label in (("good", "yes"), ("bad", "no"))
    for other in ("here", "there", "now", "then", "seen") * 6
]
OPTIONS = ClassifierOptions(unit="word", hidden_size=6, embedding_size=5, batch=8, least=1)


def test_the_interval_is_students():
    assert half_interval([1.0, 2.0, 3.0]) == pytest.approx(4.303 / math.sqrt(3))
    assert math.isnan(half_interval([1.0]))


@pytest.mark.parametrize(
    ("options", "seeds", "message"),
    [(OPTIONS, 1, "wanted 2 to 10"), (ClassifierOptions(), 3, "wanted unit 'word'")],
)
def test_a_wrong_comparison_is_refused(options, seeds, message):
    with pytest.raises(Error, match=message):
        compare_inputs(EXAMPLES, Plan(steps=1), options, seeds=seeds)
