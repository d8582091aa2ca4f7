"""A row's answer is the same numbers, whatever is read beside it and however its text is cut."""

import numpy as np
import pytest
import torch

import unrolled as ur
from unrolled.serve.reader import Reader

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.EngineWarning")

LETTERS = "abcdefghij"
MODELS = {
    "gru": {"cell": "gru", "hidden_size": 37},
    "lstm": {"cell": "lstm", "hidden_size": 20, "num_layers": 2, "embedding_size": 9},
    "tied": {"cell": "lstm", "hidden_size": 12, "embedding_size": 12, "tied": True},
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
