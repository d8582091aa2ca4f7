import sys

import pytest
import torch
from torch import nn

import unrolled as ur
from unrolled import see
from unrolled.cells import CELLS
from unrolled.models import LanguageModel
from unrolled.scan.reference import project, step
from unrolled.text.units import make_unit

TEXT = "hello, hollow hole"


def language(cell="lstm", **options):
    torch.manual_seed(0)
    return LanguageModel(ur.Vocabulary("helo, w"), cell=cell, hidden_size=5, embedding_size=3, **options)


@pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
@pytest.mark.parametrize("cell", CELLS)
def test_the_states_are_those_of_the_fast_path_and_give_the_gates(cell):
    model = language(cell, num_layers=2).eval()
    recording = see.record(model, TEXT)
    batch = model.vocabulary.encode([TEXT])
    with torch.inference_mode():
        hidden, last = model.hidden(batch)
    assert [layer.name for layer in recording.layers] == ["layer 0", "layer 1"]
    torch.testing.assert_close(recording.hidden, hidden[0])
    torch.testing.assert_close(recording.layers[1].states["h"], hidden[0], rtol=1e-5, atol=1e-6)
    states = (last,) if isinstance(last, torch.Tensor) else last
    for number, layer in enumerate(recording.layers):
        assert len(layer.states) == CELLS[cell].states
        for state, kept in zip(states, layer.states.values(), strict=True):
            torch.testing.assert_close(kept[-1], state[number, 0], rtol=1e-5, atol=1e-6)
        for gate in layer.gates.values():
            assert gate.shape == (len(TEXT), 5)


def test_the_gates_of_an_lstm_satisfy_its_equations():
    layer = see.record(language(), TEXT).layers[0]
    h, c = layer.states["h"], layer.states["c"]
    gates = layer.gates
    assert list(gates) == ["input", "forget", "candidate", "output"]
    before = torch.cat([torch.zeros(1, 5), c[:-1]])
    torch.testing.assert_close(gates["forget"] * before + gates["input"] * gates["candidate"], c)
    torch.testing.assert_close(gates["output"] * c.tanh(), h)


def test_the_gates_of_a_gru_are_those_of_each_step_by_itself():
    """The naive way: one step after another, the gate's own equation written out."""
    model = language("gru")
    layer = see.record(model, TEXT).layers[0]
    weights = model.layers.stack.weights(list(model.layers.parameters()))[0][0]
    h = torch.zeros(1, 5)
    with torch.inference_mode():
        inputs = model.embedding(model.vocabulary.encode(TEXT))[:, None]
        for t, x in enumerate(inputs):
            projected = project(x, weights).unflatten(-1, (3, -1))
            r = h @ weights.hh.t() + weights.b_hh
            update = torch.sigmoid(projected[:, 1] + r[:, 5:10])
            torch.testing.assert_close(layer.gates["update"][t], update[0])
            (h,) = step(CELLS["gru"], projected, (h,), weights)


def test_a_cell_of_ones_own_shows_its_own_names():
    @ur.cell(gates=2)
    def mine(x, r, h):
        keep = torch.sigmoid(x[0] + r[0])
        scale = 3
        return keep * h + torch.tanh(x[1] + r[1]) * scale

    torch.manual_seed(0)
    layer = ur.Recurrent(mine, 3, 4, batch_first=True)
    x = torch.randn(6, 3)
    recording = see.record(layer, x)
    torch.testing.assert_close(recording.hidden, layer(x)[0])
    assert list(recording.layers[0].gates) == ["keep"]
    assert list(recording.layers[0].states) == ["h"]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM, ur.RNN, ur.GRU, ur.LSTM])
def test_a_layer_that_is_handed_in(make, batch_first):
    torch.manual_seed(0)
    layer = make(4, 3, num_layers=2, bidirectional=True, batch_first=batch_first).eval()
    x = torch.randn(3, 5, 4)
    with torch.inference_mode():
        output = layer(x)[0]
    recording = see.record(layer, x, row=2)
    expected = output[2] if batch_first else output[:, 2]
    torch.testing.assert_close(recording.hidden, expected)
    names = ["layer 0", "layer 0 reverse", "layer 1", "layer 1 reverse"]
    assert [one.name for one in recording.layers] == names
    both = torch.cat([one.states["h"] for one in recording.layers[2:]], -1)
    torch.testing.assert_close(both, expected, rtol=1e-5, atol=1e-6)
    assert recording.symbols == tuple(map(str, range(len(expected))))


def test_the_lesson_in_both_readings():
    tensor = ur.Vocabulary("helo").encode(["hello", "eolll", "lleel"]).one_hot()
    torch.manual_seed(0)
    across = nn.RNN(4, 2)
    torch.manual_seed(0)
    along = nn.RNN(4, 2, batch_first=True)
    first, second = see.record(across, tensor, row=1), see.record(along, tensor, row=0)
    assert len(first.symbols) == 3
    assert len(second.symbols) == 5
    torch.testing.assert_close(second.hidden[1], torch.tensor([-0.5753, -0.0070]), atol=1e-4, rtol=0)


def test_surprise_is_what_the_model_gave_the_symbol_before_it_came():
    model = language().eval()
    recording = see.record(model, TEXT)
    with torch.inference_mode():
        logits, _ = model(model.vocabulary.encode(TEXT)[None])
    losses = nn.functional.cross_entropy(
        logits[0, :-1], model.vocabulary.encode(TEXT)[1:], reduction="none"
    )
    assert recording.surprise is not None
    assert recording.surprise[0].isnan()
    torch.testing.assert_close(recording.surprise[1:], losses)


def test_an_unknown_symbol_is_shown_as_it_was_written():
    torch.manual_seed(0)
    model = LanguageModel(ur.Vocabulary("helo", unknown="?"), hidden_size=2, embedding_size=2)
    recording = see.record(model, "hexo")
    assert recording.symbols == tuple("hexo")
    assert recording.numbers == (0, 1, 4, 3)
    assert recording.surprise is not None
    torch.testing.assert_close(recording.surprise[2], -recording.probabilities[1, 4].log())


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "layer_norm": True}])
def test_a_tagger_is_recorded_word_by_word(options):
    torch.manual_seed(0)
    words, letters = ur.Vocabulary(["the", "fox", "?"], unknown="?"), ur.Vocabulary("thefox?", unknown="?")
    model = ur.Tagger(words, letters, ["DET", "NOUN"], hidden_size=5, **options).eval()
    cut = ["the", "red", "fox", ",", "the", "fox"]
    recording = see.record(model, "the red fox, the fox")
    assert recording.symbols == tuple(cut)
    assert recording.numbers == (0, 2, 1, 2, 0, 1)
    outputs = []
    model.layers.register_forward_hook(lambda layer, given, got: outputs.append(got[0][0]))
    with torch.inference_mode():
        expected = model(model.read([cut]))[0].softmax(-1)
    torch.testing.assert_close(recording.label_probabilities, expected)
    torch.testing.assert_close(recording.hidden, outputs[0])
    assert recording.labels == ("DET", "NOUN")
    names = [f"layer {k}{way}" for k in range(options.get("num_layers", 1)) for way in ("", " reverse")]
    assert [layer.name for layer in recording.layers] == names
    if not options:
        both = torch.cat([layer.states["h"] for layer in recording.layers], -1)
        torch.testing.assert_close(both, outputs[0], rtol=1e-5, atol=1e-6)
    for begin, layers in see.windows(model, "the red fox, the fox", window=4):
        hidden = see.record(model, " ".join(cut[begin : begin + 4])).layers[-2:]
        both = torch.cat([layer.states["h"] for layer in hidden], -1)
        torch.testing.assert_close(layers[-1], both, rtol=1e-5, atol=1e-6)
    with pytest.raises(ur.Error, match="no words"):
        see.record(model, " ")


@pytest.mark.parametrize(("unit", "text"), [("word", "good film here now bad"), ("jamo", "한국 영화")])
def test_what_a_classifier_reads_is_what_is_recorded(unit, text):
    torch.manual_seed(0)
    vocabulary = ur.Vocabulary(sorted(set(make_unit(unit).cut(text))), unit=unit)
    options = {"hidden_size": 4, "embedding_size": 3, "bidirectional": True, "longest": 4}
    model = ur.Classifier(vocabulary, ["no", "yes"], **options).eval()
    recording = see.record(model, text)
    assert len(recording.symbols) == 4
    wanted = model.probabilities([text])[0]
    torch.testing.assert_close(recording.label_probabilities[-1], wanted, rtol=1e-5, atol=1e-6)
    (begin, outputs), *more = see.rows(model, [text])
    assert (begin, more) == (0, [])
    torch.testing.assert_close(outputs[-1], recording.hidden, rtol=1e-5, atol=1e-6)


def test_a_text_without_symbols_has_no_windows():
    torch.manual_seed(0)
    model = ur.Classifier(ur.Vocabulary(["a", "b"], unit="word"), ["no", "yes"], hidden_size=3)
    windows = see.rows(model, ["a b", " ", "a"])
    assert [(begin, len(outputs[-1])) for begin, outputs in windows] == [(0, 2), (2, 1)]
    with pytest.raises(ur.Error, match="the text has no symbols"):
        see.record(model, " ")


def test_nothing_is_left_behind():
    model = language(dropout=0.5).train()
    see.record(model, "hello")
    assert model.training
    assert sys.getprofile() is None


@pytest.mark.parametrize(
    ("model", "input", "row", "message"),
    [
        (language(), "", None, "text is empty"),
        (language(), "hex", None, "symbol 'x'"),
        (language(), torch.zeros(2, 3), None, "reads a text, not a Tensor"),
        (nn.GRU(4, 3), "hello", None, "reads a tensor, not a str"),
        (nn.GRU(4, 3), torch.zeros(5, 2, 4), None, "holds 2 sequences"),
        (nn.GRU(4, 3), torch.zeros(5, 2, 4), 2, "row is 2"),
        (nn.GRU(4, 3), torch.zeros(5, 2, 3), 0, "input_size 4"),
        (nn.GRU(4, 3, batch_first=True), torch.zeros(1, 0, 4), 0, "no steps"),
        (nn.Linear(4, 3), torch.zeros(5, 4), None, "hand in the layer inside it"),
    ],
)
@pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
def test_what_cannot_be_recorded_is_refused(model, input, row, message):
    with pytest.raises((ur.Error, TypeError), match=message):
        see.record(model, input, row=row)
