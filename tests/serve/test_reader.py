"""A row's answer is the same numbers, whatever is read beside it and however its text is cut."""

import json

import numpy as np
import pytest
import torch

import unrolled as ur
from unrolled.models.classifier import POOLINGS
from unrolled.serve.limits import Refused
from unrolled.serve.predicting import predictor
from unrolled.serve.reader import Reader
from unrolled.serve.rows import Row, StepRow, read
from unrolled.serve.sessions import Session

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.EngineWarning")

LETTERS = "abcdefghij"
MODELS = {
    "gru": {"cell": "gru", "hidden_size": 37},
    "lstm": {"cell": "lstm", "hidden_size": 20, "num_layers": 2, "embedding_size": 9},
    "tied": {"cell": "lstm", "hidden_size": 12, "embedding_size": 12, "tied": True},
    "members": {"cell": "lstm", "hidden_size": 11, "num_layers": 2, "members": 3},
    "narrow": {"cell": "rnn_tanh", "hidden_size": 24, "embedding_size": 7, "tied": True},
}


@pytest.fixture(params=MODELS)
def reader(request):
    torch.manual_seed(0)
    return Reader("r", ur.LanguageModel(ur.Vocabulary(LETTERS), **MODELS[request.param]))


def test_beside_others_and_alone_bit_for_bit(reader):
    draw = np.random.default_rng(0)
    pieces = [draw.integers(0, len(LETTERS), size) for size in (1, 7, 1, 30, 2, 64, 1, 1, 3, 1, 12)]
    each = [i % 3 != 0 for i in range(len(pieces))]
    together = reader.read([b""] * len(pieces), pieces, each)
    begin = 0
    for i, piece in enumerate(pieces):
        alone = reader.read([b""], [piece], [each[i]])
        end = begin + together.steps[i]
        assert torch.equal(alone.probabilities, together.probabilities[begin:end])
        assert torch.equal(alone.hidden, together.hidden[begin:end])
        assert alone.states == [together.states[i]]
        begin = end
    assert begin == len(together.probabilities)


def test_in_pieces_and_at_once_bit_for_bit(reader):
    text = np.random.default_rng(1).integers(0, len(LETTERS), 50)
    whole, state, at = reader.read([b""], [text], [True]), b"", 0
    for size in (1, 1, 5, 20, 23):
        part = reader.read([state, b""], [text[at : at + size], text[:3]], [True, True])
        assert torch.equal(part.probabilities[:size], whole.probabilities[at : at + size])
        state, at = part.states[0], at + size
    assert state == whole.states[0]


def test_probabilities_are_the_models(reader):
    text = np.random.default_rng(2).integers(0, len(LETTERS), 20)
    with torch.inference_mode():
        logits, _ = reader.model(torch.from_numpy(text)[None])
    found = reader.read([b""], [text], [True]).probabilities
    torch.testing.assert_close(found, logits[0].softmax(-1), rtol=1e-4, atol=1e-6)


def texts(count):
    draw = np.random.default_rng(3)
    return ["".join(draw.choice(list(LETTERS + " "), size)) for size in draw.integers(0, 40, count)]


def whole(kind):
    torch.manual_seed(1)
    vocabulary = ur.Vocabulary(LETTERS + "?", unknown="?")
    if kind == "tagger":
        words = ur.Vocabulary(["a", "bc", "?"], unknown="?")
        return ur.Tagger(words, vocabulary, ["NOUN", "DET", "VERB"], hidden_size=13, embedding_size=5)
    labels = ["sad", "happy", "angry"]
    return ur.Classifier(vocabulary, labels, hidden_size=19, pooling=kind, embedding_size=7)


@pytest.mark.parametrize("kind", [*POOLINGS, "tagger"])
def test_whole_texts_beside_others_and_alone_bit_for_bit(kind, monkeypatch):
    model = predictor("m", whole(kind))
    # The answers round: what is compared is every bit of the probabilities.
    kept = []
    likeliest = type(model)._likeliest

    def keep(self, probabilities, tops):
        kept.append(probabilities.clone())
        return likeliest(self, probabilities, tops)

    monkeypatch.setattr(type(model), "_likeliest", keep)
    some = [text for text in texts(40) if text.strip()]
    model.whole(some, [3] * len(some))
    together = torch.cat(kept)
    for order in (list(range(len(some)))[::-1], [0], [5, 2, 17]):
        kept.clear()
        for i in order:
            model.whole([some[i]], [3])
        alone = torch.cat(kept)
        kept.clear()
        model.whole([some[i] for i in order], [3] * len(order))
        assert torch.equal(alone, torch.cat(kept))
        if kind != "tagger":
            assert torch.equal(alone, together[order])
    if kind == "tagger":
        kept.clear()
        for text in some:
            model.whole([text], [3])
        assert torch.equal(torch.cat(kept), together)


@pytest.mark.parametrize("kind", POOLINGS)
def test_a_served_classifier_answers_what_the_model_does(kind):
    model = whole(kind)
    wanted = model.probabilities(texts(9))
    found = [json.loads(one) for one in predictor("m", model).whole(texts(9), [3] * 9)]
    for row, answer in zip(wanted.tolist(), found, strict=True):
        assert [answer["probabilities"][name] for name in model.labels] == pytest.approx(row, rel=1e-4)


def test_what_is_no_number_is_refused_and_nothing_else(reader):
    first = next(p for n, p in reader.model.named_parameters() if n.endswith("weight_ih_l0"))
    first.data[:, 0] = torch.nan
    told = []
    bad = reader.encode("ab")
    rows = [StepRow(reader, symbols, told.append, 2, "s", False) for symbols in (bad, reader.encode("cd"))]
    for row in rows:
        row.begin(Session(reader.fingerprint, 0, bytes(reader.state_bytes)))
    results, symbols = read(reader, rows)
    assert symbols == 4
    one_hot = reader.model.embedding is None
    assert [isinstance(result, Refused) for result in results] == (
        [True, False] if one_hot else [True, True]
    )
    if one_hot:
        assert len(json.loads(results[1])["predictions"]) == 2
        with pytest.raises(ur.Error, match="not a finite number"):
            reader.tracks(b"", bad)
    [result], _ = read(reader, [Row(reader, bad, told.append, 2)])
    assert isinstance(result, Refused)


def test_a_diverged_classifier_refuses():
    model = whole("max")
    model.get_parameter("head.bias").data[1] = torch.nan
    assert all(isinstance(one, Refused) for one in predictor("m", model).whole(["ab", "c"], [1, 1]))
