"""One-hot, learned embeddings and word vectors, alone and side by side."""

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

import unrolled as ur
from unrolled.models.tagger import Tagger
from unrolled.vectors import WordVectors

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
WORDS = ur.Vocabulary(["the", "Fox", "jumps", "<unknown>"], unit="word", unknown="<unknown>")
TABLE = WordVectors(["fox", "the", "dog"], np.arange(6, dtype=np.float32).reshape(3, 2))
FOUND = torch.tensor([[2.0, 3.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
"""A row for each word of WORDS: `Fox` is found in lower case, `jumps` not at all."""


def language(input, **options):
    torch.manual_seed(0)
    sizes = {"embedding_size": 3 if "embedding" in input else 0, "hidden_size": 5, **options}
    if "frozen" in input or "tuned" in input:
        sizes.setdefault("vectors_size", 2)
    return ur.LanguageModel(WORDS, input=input, **sizes)


@pytest.mark.parametrize(
    "input", ["embedding", "frozen", "tuned", "one-hot+embedding", "one-hot+tuned", "embedding+frozen"]
)
def test_what_is_read_is_the_parts_side_by_side(input, tmp_path):
    model = language(input)
    parts = [one_hot(torch.arange(4), 4).float()] if "one-hot" in input else []
    parts += [model.embedding.weight] if model.embedding is not None else []
    if "frozen" in input or "tuned" in input:
        assert model.set_vectors(TABLE) == 2
        parts.append(FOUND)
    indices = torch.tensor([[0, 1, 2], [3, 1, 0]])
    table = torch.cat(parts, -1)
    wanted, _ = model.layers(table[indices])
    logits, _ = model.eval()(indices)
    torch.testing.assert_close(logits, model.head(wanted))
    model.save(tmp_path)
    loaded = ur.LanguageModel.load(tmp_path)
    torch.testing.assert_close(loaded(indices)[0], logits, rtol=0, atol=0)


def test_one_hot_beside_nothing_is_never_built():
    model = language("one-hot")
    assert model.vectors is None
    indices = torch.tensor([[0, 2]])
    torch.testing.assert_close(
        model.layers(one_hot(indices, 4).float())[0], model.hidden(ur.Batch(indices, None, WORDS))[0]
    )


@pytest.mark.parametrize(("input", "trained"), [("frozen", False), ("tuned", True)])
def test_frozen_vectors_stay_and_tuned_ones_move(input, trained):
    model = language(input)
    model.set_vectors(TABLE)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(torch.tensor([[0, 1, 2]]))[0].square().sum().backward()
    optimizer.step()
    assert torch.equal(model.vectors, FOUND) != trained
    assert ("vectors" in dict(model.named_parameters())) == trained


def test_a_classifier_and_a_tagger_read_them_too():
    sizes = {"hidden_size": 4, "embedding_size": 3, "input": "embedding+frozen", "vectors_size": 2}
    classifier = ur.Classifier(WORDS, ["a", "b"], **sizes)
    tagger = Tagger(WORDS, ur.Vocabulary("abc", unknown="?"), ["A", "B"], character_size=2, **sizes)
    for model in (classifier, tagger):
        model.set_vectors(TABLE)
        assert torch.equal(model.vectors, FOUND)
    before = classifier.probabilities(["the Fox jumps"])
    classifier.vectors.add_(1)
    assert not torch.allclose(before, classifier.probabilities(["the Fox jumps"]))
    assert tagger.predict([["the", "Fox"]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "glove"}, "input is 'glove'; wanted one-hot, embedding, frozen, tuned, or some joined"),
        ({"input": "tuned+tuned"}, "wanted one-hot"),
        ({"input": "frozen+tuned", "vectors_size": 2}, "either frozen or tuned"),
        ({"input": "frozen", "vectors_size": 0}, "need a file of word vectors"),
        ({"input": "one-hot", "vectors_size": 2}, "only they read one"),
        ({"input": "one-hot", "embedding_size": 2}, "only an embedding has one"),
        ({"input": "embedding", "embedding_size": 0}, "an embedding needs a size"),
        ({"input": "tuned", "vectors_size": -1}, "vectors_size is -1; wanted a whole number"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ur.Error, match=message):
        language(**options)


def test_a_table_of_another_width_is_refused():
    with pytest.raises(ur.Error, match="are 3 wide; wanted 2"):
        language("frozen", vectors_size=3).set_vectors(TABLE)
    with pytest.raises(ur.Error, match="are None wide"):
        language("embedding").set_vectors(TABLE)


FOLDING = [
    {"cell": "rnn_tanh"},
    {"cell": "gru", "num_layers": 2, "bidirectional": True},
    {"cell": "lstm", "proj_size": 3},
    {"cell": "min_gru", "layer_norm": True, "num_layers": 2, "bidirectional": True},
    {"cell": "gru", "zoneout": 0.5},
]


@pytest.mark.parametrize("options", FOLDING, ids=lambda o: o["cell"] + str(len(o)))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_table_makes_the_embeddings_product_once_a_symbol(options, dtype, monkeypatch):
    """In training, and all gradients are the same; in evaluation nothing is made another way."""
    torch.manual_seed(0)
    vocabulary = ur.Vocabulary("abcde", padding="<pad>")
    model = ur.Classifier(vocabulary, ["x", "y"], hidden_size=5, embedding_size=4, **options).to(dtype)
    batch = vocabulary.encode(["abcd", "eab", "", "abcdeedcba"])
    through, folded = type(model.layers).through, []
    monkeypatch.setattr(
        type(model.layers), "through", lambda *given: folded.append(given) or through(*given)
    )
    found = []
    for folds in (True, False):
        monkeypatch.setattr(model, "_folds", lambda batch, folds=folds: folds)
        model.zero_grad()
        torch.manual_seed(1)
        output, state = model.hidden(batch)
        states = state if isinstance(state, tuple) else (state,)
        total = sum(
            (t * torch.linspace(-1, 1, t.numel(), dtype=dtype).view_as(t)).sum() for t in (output, *states)
        )
        total.backward()
        found.append(
            [output, *states, *(p.grad for p in model.layers.parameters()), model.embedding.weight.grad]
        )
    monkeypatch.undo()
    assert len(folded) == 1
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 if dtype == torch.float32 else 1e-12)
    assert model._folds(batch)
    assert not model.eval()._folds(batch)
    assert not model.train()._folds(vocabulary.encode(["abcd"]))
