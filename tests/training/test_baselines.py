import math
import random
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from unrolled.training import baselines


def witten_bell(text, judged, symbols, order):
    """The definition, symbol by symbol, with dictionaries."""
    counts = defaultdict(Counter)
    for n in range(1, order + 1):
        for i in range(n - 1, len(text)):
            counts[tuple(text[i - n + 1 : i])][text[i]] += 1

    def probability(context, symbol):
        lower = probability(context[1:], symbol) if context else 1 / symbols
        after = counts.get(context)
        if not after:
            return lower
        total, kinds = sum(after.values()), len(after)
        return (after[symbol] + kinds * lower) / (total + kinds)

    whole = text + judged
    return [
        -math.log(probability(tuple(whole[max(0, i - order + 1) : i]), whole[i]))
        for i in range(len(text) + 1, len(whole))
    ]


@pytest.mark.parametrize("order", [1, 2, 4])
def test_ngrams_are_interpolated_as_published(order):
    chance = random.Random(0)
    text = [chance.choice([0, 0, 1, 2]) for _ in range(200)]
    judged = [chance.choice([0, 1, 2, 3]) for _ in range(50)]  # 3 is new
    got = baselines.ngram_nats(torch.tensor(text), torch.tensor(judged), 4, order)
    np.testing.assert_allclose(got, witten_bell(text, judged, 4, order), rtol=1e-10)


def test_ngrams_are_probabilities():
    chance = random.Random(1)
    text = [chance.choice([0, 1, 2]) for _ in range(60)]
    total = sum(
        math.exp(-baselines.ngram_nats(torch.tensor(text), torch.tensor([2, 0, s]), 3, 3)[-1])
        for s in range(3)
    )
    assert total == pytest.approx(1)


def test_two_words_that_matter_together_are_found():
    chance = random.Random(0)
    texts, targets = [], []
    for _ in range(400):
        pair = chance.choice([(7, 8), (8, 7)])
        texts.append([chance.randrange(5) for _ in range(4)] + list(pair) + [chance.randrange(5)])
        targets.append(int(pair == (8, 7)))
    rows = [torch.tensor(text) for text in texts]
    got = {
        order: baselines.bag_of_ngrams(rows[:300], targets[:300], rows[300:], 2, order) for order in (1, 2)
    }
    assert (got[2] == targets[300:]).all()
    assert (got[1] == targets[300:]).mean() < 0.7


def test_the_regression_is_at_its_minimum():
    """The gradient of the whole objective, by autograd from its definition, is zero there."""
    torch.manual_seed(0)
    dense, targets = torch.rand(30, 6) * (torch.rand(30, 6) > 0.5), torch.randint(3, (30,))
    row, column = dense.nonzero(as_tuple=True)
    cells = (row.numpy(), column.numpy(), dense[row, column].numpy())
    weight = baselines._regression(baselines._Sparse.of(*cells, (30, 6)), targets, 3, 2.0)
    weight = weight.double().requires_grad_(True)
    logits = dense.double() @ weight[:-1] + weight[-1]
    loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    (loss + weight[:-1].square().sum() / 4).backward()
    assert weight.grad is not None
    assert weight.grad.abs().max() < 1e-2


def test_texts_without_symbols_get_the_commonest_label():
    empty = torch.zeros(0, dtype=torch.int64)
    got = baselines.bag_of_ngrams([empty] * 3, [1, 1, 0], [empty, torch.tensor([3])], 2, 2)
    assert got.tolist() == [1, 1]


def test_tags_are_looked_up_by_word_then_by_ending():
    known = [(["running", "dog"], ["VERB", "NOUN"]), (["dog"] * 3, ["VERB", "NOUN", "NOUN"])]
    assert baselines.commonest_tags(known, [["dog", "walking", "x"], []]) == [["NOUN", "VERB", "NOUN"], []]
