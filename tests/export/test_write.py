"""ONNX files: onnxruntime computes what PyTorch computes, at every batch, length and chunk."""

import subprocess
import sys

import onnx
import onnxruntime
import pytest
import torch

import unrolled as ur
from unrolled.cells import CELLS

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(opened, *tensors):
    names = [i.name for i in opened.get_inputs()]
    results = opened.run(None, {n: t.numpy() for n, t in zip(names, tensors, strict=True)})
    return [torch.from_numpy(r) for r in results]


def kinds(path):
    return {node.op_type for node in onnx.load(path).graph.node}


def zeros(layer, batch):
    stack = layer.stack
    slots = stack.num_layers * stack.directions
    return [torch.zeros(slots, batch, stack.state_size(i)) for i in range(stack.cell.states)]


LAYERS = {
    "rnn": lambda: ur.RNN(3, 5, bidirectional=True),
    "relu": lambda: ur.RNN(3, 5, 2, nonlinearity="relu", bias=False),
    "gru": lambda: ur.GRU(3, 5, 2, batch_first=True, bidirectional=True),
    "lstm": lambda: ur.LSTM(3, 5, 3),
    "lstm of one direction's projection": lambda: ur.LSTM(3, 5, 2, proj_size=2, bidirectional=True),
    "reset before": lambda: ur.export.ResetBeforeGRU(3, 5, bidirectional=True, batch_first=True),
    **{name: lambda name=name: ur.Recurrent(CELLS[name], 3, 5, bidirectional=True) for name in CELLS},
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_batch_length_and_state(name, tmp_path):
    layer, path = LAYERS[name](), tmp_path / "layer.onnx"
    exported = ur.export.onnx(layer, path)
    assert exported.inputs[:2] == ("input", "lengths")
    standard = {"rnn_tanh": "RNN", "rnn_relu": "RNN", "gru": "GRU", "lstm": "LSTM", "peephole_lstm": "LSTM"}
    node = "Scan" if layer.stack.proj_size else standard.get(layer.stack.cell.name, "Scan")
    assert kinds(path) & {"RNN", "GRU", "LSTM", "Scan"} == {node}
    opened = session(path)
    for batch, time, lengths in ((1, 1, [1]), (3, 9, [9, 2, 0]), (5, 4, [0, 4, 4, 1, 3])):
        axes = (batch, time) if layer.batch_first else (time, batch)
        x, state = torch.randn(*axes, 3), [torch.rand_like(s) for s in zeros(layer, batch)]
        output, last = layer(x, state[0] if len(state) == 1 else tuple(state), lengths=lengths)
        wanted = [output, *((last,) if isinstance(last, torch.Tensor) else last)]
        torch.testing.assert_close(
            run(opened, x, torch.tensor(lengths), *state), wanted, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", ["lstm", "slstm"])
def test_it_streams(name, tmp_path):
    layer = ur.Recurrent(CELLS[name], 3, 5, 2)
    ur.export.onnx(layer, tmp_path / "layer.onnx")
    opened, x = session(tmp_path / "layer.onnx"), torch.randn(7, 2, 3)
    state, pieces = zeros(layer, 2), []
    for chunk in x.split([1, 4, 2]):
        output, *state = run(opened, chunk, torch.full((2,), len(chunk)), *state)
        pieces.append(output)
    torch.testing.assert_close(torch.cat(pieces), layer(x)[0], rtol=1e-4, atol=1e-5)


def test_a_cell_of_ones_own(tmp_path):
    @ur.cell(gates=2, states=2)
    def mine(x, r, h, c, *, leak):
        c = torch.where(x[0] > 0, c * leak, torch.clamp(x[1] - 2 * r[0], -1, 1))
        return torch.log1p(torch.exp(c + r[1])) / 3, c

    exported = ur.export.onnx(ur.Recurrent(mine, 3, 5, batch_first=True), tmp_path / "mine.onnx")
    assert exported.inputs == ("input", "lengths", "h", "c")
    assert exported.outputs == ("output", "h_n", "c_n")
    assert exported.difference < 1e-5


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstm", "num_layers": 2},
        {"cell": "gru", "embedding_size": 4, "tied": True},
        {"cell": "min_gru", "embedding_size": 8, "num_layers": 2, "residual": True, "layer_norm": True},
        {"cell": "lstm", "recurrent_dropout": 0.5, "zoneout": 0.3, "cell_zoneout": 0.4},
        {"cell": "lstm", "num_layers": 2, "embedding_size": 4, "members": 3},
        {"cell": "slstm", "residual": True, "num_layers": 2, "members": 2},
    ],
)
def test_a_language_model(options, tmp_path):
    model = ur.LanguageModel(ur.Vocabulary("abcdef"), hidden_size=8, dropout=0.5, **options)
    exported = ur.export.onnx(model, tmp_path / "model.onnx")
    assert exported.inputs[0] == "indices"
    assert exported.outputs[0] == "logits"
    assert model.training
    indices = torch.randint(6, (2, 5))
    logits, *last = run(
        session(tmp_path / "model.onnx"), indices, torch.tensor([5, 5]), *zeros(model.layers, 2)
    )
    wanted, state = model.eval()(indices)
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-5)
    state = (state,) if isinstance(state, torch.Tensor) else state
    torch.testing.assert_close(tuple(last), tuple(state), rtol=1e-4, atol=1e-5)
    (properties,) = onnx.load(tmp_path / "model.onnx").metadata_props
    assert properties.key == "unrolled.vocabulary"


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize(("embedding_size", "grams"), [(0, 1), (4, 1), (4, 3)])
def test_a_classifier(pooling, embedding_size, grams, tmp_path):
    vocabulary = ur.Vocabulary("abcd")
    model = ur.Classifier(
        vocabulary,
        ["x", "y", "z"],
        hidden_size=6,
        pooling=pooling,
        embedding_size=embedding_size,
        grams=grams,
    )
    if model.votes is not None:  # which are zero at first
        torch.nn.init.normal_(model.votes.weight)
    exported = ur.export.onnx(model, tmp_path / "model.onnx")
    assert (exported.inputs, exported.outputs) == (("indices", "lengths"), ("logits",))
    batch = vocabulary.encode(["abcdabcd", "", "d", "aa"])
    (logits,) = run(session(tmp_path / "model.onnx"), batch.indices, batch.lengths)
    torch.testing.assert_close(logits, model.eval()(batch), rtol=1e-4, atol=1e-5)
    properties = {p.key: p.value for p in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert properties["unrolled.labels"] == '["x", "y", "z"]'


@pytest.mark.parametrize("options", [{}, {"cell": "slstm", "residual": True, "layer_norm": True}])
def test_a_tagger(options, tmp_path):
    words = ur.Vocabulary(["the", "cat", "?"], unknown="?")
    model = ur.Tagger(words, ur.Vocabulary("thecaz?", unknown="?"), ["D", "N"], hidden_size=6, **options)
    ur.export.onnx(model, tmp_path / "model.onnx")
    sentences = model.read([["the", "cat"], [], ["zz", "the", "the"]])
    (logits,) = run(
        session(tmp_path / "model.onnx"),
        *(sentences.words.indices, sentences.words.lengths),
        *(sentences.spelled.indices, sentences.spelled.lengths, sentences.which),
    )
    torch.testing.assert_close(logits, model.eval()(sentences), rtol=1e-4, atol=1e-5)


def test_a_difference_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    path = tmp_path / "layer.onnx"
    path.write_bytes(b"what was there")
    from unrolled.export import stack

    monkeypatch.setitem(
        stack.NODES, ur.cells.gru, stack.Node("GRU", (1, 0, 2), ("Sigmoid", "Tanh"))
    )  # resets before the product
    with pytest.raises(ur.Error, match=r"onnxruntime's output differs from PyTorch's by 0\.\d+ relative"):
        ur.export.onnx(ur.GRU(3, 5), path)
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_exported_is_said(tmp_path):
    @ur.cell(gates=1)
    def rounding(x, r, h):
        return torch.special.bessel_j0(x[0] + r[0])

    for model, error, message in (
        (torch.nn.Linear(2, 2), TypeError, "got a Linear; wanted a layer of unrolled"),
        (ur.GRU(3, 5).double(), ur.Error, r"parameters are torch.float64; call model.float\(\)"),
        (ur.Recurrent(rounding, 3, 5), ur.Error, "cell rounding uses aten.special_bessel_j0"),
    ):
        with pytest.raises(error, match=message):
            ur.export.onnx(model, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnx_it_says_what_to_install():
    program = (
        "import sys; sys.modules['onnx'] = None\n"
        "import unrolled as ur\n"
        "try: ur.export\n"
        "except ur.Error as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "unrolled.export needs onnx: pip install 'unrolled[export]'\n"


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_classifiers_last_output_comes_after_norm_and_residual(bidirectional, tmp_path):
    vocabulary = ur.Vocabulary("abcd")
    options = {"layer_norm": True, "residual": True, "num_layers": 2, "bidirectional": bidirectional}
    model = ur.Classifier(
        vocabulary, ["x", "y"], hidden_size=4, embedding_size=4, pooling="last", **options
    )
    ur.export.onnx(model, tmp_path / "model.onnx")
    batch = vocabulary.encode(["abcdabcd", "", "d", "aa"])
    (logits,) = run(session(tmp_path / "model.onnx"), batch.indices, batch.lengths)
    torch.testing.assert_close(logits, model.eval()(batch), rtol=1e-4, atol=1e-5)
