"""The layers as a caller meets them: the lesson, engines, and what they refuse."""

import copy
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import unrolled as ur
from unrolled.cells import CELLS
from unrolled.scan import aten, engines

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
WORDS = ["hello", "eolll", "lleel"]


@pytest.fixture
def rnn():
    torch.manual_seed(0)
    return ur.RNN(4, 2)


@pytest.fixture
def lesson():
    return ur.Vocabulary("helo").encode(WORDS)


def test_the_tensor_is_read_as_torch_reads_it(rnn, lesson):
    outputs, state = rnn(lesson.one_hot())
    wanted = torch.tensor([[-0.7497, -0.6135], [-0.5282, -0.2473]])
    torch.testing.assert_close(outputs[0, :2], wanted, rtol=0, atol=5e-5)
    assert outputs.shape == (3, 5, 2)
    assert state.shape == (1, 5, 2)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_batch_is_read_letter_by_letter(lesson, batch_first):
    torch.manual_seed(0)
    outputs, state = ur.RNN(4, 2, batch_first=batch_first)(lesson)
    wanted = torch.tensor([[-0.7497, -0.6135], [-0.5753, -0.0070]])
    torch.testing.assert_close(outputs[0, :2], wanted, rtol=0, atol=5e-5)
    assert outputs.shape == (3, 5, 2)
    assert state.shape == (1, 3, 2)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_it_is_torchs_class_with_torchs_attributes(name):
    theirs, ours = getattr(torch.nn, name), getattr(ur, name)
    wanted = theirs(3, 4, num_layers=2, bidirectional=True, dropout=0.1, batch_first=True)
    got = ours(3, 4, num_layers=2, bidirectional=True, dropout=0.1, batch_first=True)
    assert isinstance(got, theirs)
    plain = {k: v for k, v in vars(wanted).items() if isinstance(v, (int, float, str, bool))}
    assert plain.items() <= vars(got).items()
    assert repr(got) == repr(wanted)
    assert [n for n, _ in got.named_parameters()] == [n for n, _ in wanted.named_parameters()]
    assert [p.shape for p in got.all_weights[1]] == [p.shape for p in wanted.all_weights[1]]
    got.flatten_parameters()


@pytest.mark.parametrize("make", [lambda: ur.LSTM(3, 4), lambda: ur.Recurrent(ur.cells.slstm, 3, 4)])
def test_copies_and_pickles_compute_the_same(make):
    layer, x = make(), torch.randn(5, 2, 3)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(other(x), layer(x), rtol=0, atol=0)


def test_an_engine_can_be_asked_for_and_explains_itself(rnn, lesson):
    x = lesson.one_hot()
    reset = torch.zeros(3, 5, dtype=torch.bool)
    with ur.engine("reference"):
        assert ur.explain(rnn, x).engine == "reference"
    with ur.engine("aten"):
        assert str(ur.explain(rnn, x)) == "engine aten"
        with pytest.raises(ur.Error, match=r"engine 'aten' was asked for and cannot run.*know no reset"):
            rnn(x, reset=reset)
    assert ur.explain(rnn, x, reset=reset).engine == "cpu"
    refused = ur.explain(rnn.double(), x.double(), reset=reset).refused
    assert "PyTorch's kernels know no reset" in refused["aten"]
    assert "float32" in refused["cpu"]
    rnn.float()
    with pytest.raises(ur.Error, match=r"'fast' is not an engine; wanted one of .*aten, reference"):
        ur.engine("fast").__enter__()
    with pytest.raises(ur.Error, match="feature"):
        ur.explain(rnn, x[:, :, :3])


@pytest.fixture
def variable(monkeypatch):
    """Sets the variable as if the program had begun with it."""

    def set(value):
        monkeypatch.setenv("UNROLLED_ENGINE", value)
        engines._program.cache_clear()

    yield set
    engines._program.cache_clear()


def test_the_variable_forces_an_engine(rnn, lesson, variable, monkeypatch):
    with torch.no_grad():
        rnn(lesson)  # so that its like has come before
    variable("reference")
    assert ur.explain(rnn, lesson.one_hot()).engine == "reference"
    ran, run = [], engines.ENGINES["reference"].run
    monkeypatch.setattr(engines.ENGINES["reference"], "run", lambda call: ran.append(call) or run(call))
    with torch.no_grad():
        rnn(lesson)
    assert len(ran) == 1
    variable("fast")
    for grad in (True, False):
        with torch.set_grad_enabled(grad), pytest.raises(ur.Error, match="UNROLLED_ENGINE: 'fast' is not"):
            rnn(lesson)


def test_the_slow_engine_says_so_once():
    program = (
        "import torch, warnings, unrolled as ur\n"
        "@ur.cell(gates=1)\n"
        "def sorted_unit(x, r, h):\n"
        "    return torch.sort(x[0] + r[0]).values\n"
        "layer = ur.Recurrent(sorted_unit, 2, 3)\n"
        "for _ in range(3): layer(torch.zeros(4, 1, 2))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stderr.count("EngineWarning: sorted_unit(2, 3) runs as a Python loop") == 1


def test_importing_it_imports_nothing_heavy():
    program = (
        "import sys, unrolled\n"
        "print([m for m in ('numba', 'llvmlite', 'matplotlib', 'starlette', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_wrong_call_is_caught_as_torchs_would_be():
    for error in (ValueError, RuntimeError):
        with pytest.raises(error):
            ur.LSTM(4, 2)(torch.zeros(3, 5, 7))


@pytest.mark.parametrize("name", ["rnn_tanh", "rnn_relu", "gru", "lstm", "min_gru"])
def test_what_cudnn_has_is_moved_into_one_piece_of_memory(monkeypatch, name):
    asked = []
    functions = SimpleNamespace(
        _use_cudnn_rnn_flatten_weight=lambda: True,
        _cudnn_rnn_flatten_weight=lambda weights, *sizes: asked.append((weights, sizes)),
    )
    monkeypatch.setattr(aten, "functions", functions)
    layer = ur.Recurrent(CELLS[name], 5, 7, num_layers=2, bidirectional=True)
    assert not asked  # on a CPU
    monkeypatch.setattr(aten.cudnn, "is_acceptable", lambda tensor: True)
    monkeypatch.setattr(aten.rnn, "get_cudnn_mode", lambda mode: mode)
    layer.half()
    if name == "min_gru":
        assert not asked
        return
    ((weights, (count, size, mode, hidden, proj, layers, batch_first, bidirectional)),) = asked
    assert all(w is p for w, p in zip(weights, layer.parameters(), strict=True))
    assert (count, size, hidden, proj, layers, batch_first, bidirectional) == (4, 5, 7, 0, 2, False, True)
    assert mode == name.upper()
    asked.clear()
    ur.Recurrent(CELLS[name], 5, 7, bias=False)
    assert asked[0][1][0] == 2
    asked.clear()
    layer.weight_hh_l0 = layer.weight_hh_l1  # shared, which one piece of memory cannot be
    layer.float()
    assert not asked
