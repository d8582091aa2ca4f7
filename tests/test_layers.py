"""The layers as a caller meets them: the lesson, engines, and what they refuse."""

import copy
import os
import pickle
import subprocess
import sys

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

import unrolled as ur

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


def test_the_variable_forces_an_engine(rnn, lesson, monkeypatch):
    monkeypatch.setenv("UNROLLED_ENGINE", "reference")
    assert ur.explain(rnn, lesson.one_hot()).engine == "reference"
    monkeypatch.setenv("UNROLLED_ENGINE", "fast")
    with pytest.raises(ur.Error, match="UNROLLED_ENGINE: 'fast' is not an engine"):
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


CONSTRUCTORS = [
    (lambda: ur.RNN(4, 0), ur.Error, r"RNN\(4, 0, 1\): hidden_size must be greater than zero, got 0"),
    (lambda: ur.LSTM(4, 2.0), TypeError, r"hidden_size should be of type int, got: float \(2.0\)"),
    (lambda: ur.LSTM(4, True), TypeError, "hidden_size should be of type int, got: bool"),
    (lambda: ur.GRU(-1, 2), ur.Error, "input_size must be greater than zero, got -1"),
    (lambda: ur.GRU(4, 2, 0), ur.Error, "num_layers must be greater than zero, got 0"),
    (lambda: ur.GRU(4, 2, dropout=1.5), ur.Error, "dropout is 1.5; wanted a probability"),
    (lambda: ur.GRU(4, 2, dropout=True), ur.Error, "dropout is True"),
    (lambda: ur.LSTM(4, 2, proj_size=2), ur.Error, "proj_size is 2; wanted 0 or less than hidden_size"),
    (lambda: ur.RNN(4, 2, nonlinearity="elu"), ur.Error, "'elu'; wanted 'tanh' or 'relu'"),
    (lambda: ur.Recurrent(torch.tanh, 4, 2), TypeError, "wanted one made by @unrolled.cell"),
    (lambda: ur.Recurrent(ur.cells.gru, 4, 3, proj_size=2), ur.Error, "reads its own output h"),
    (lambda: ur.cell(gates=0), ur.Error, "at least 1"),
    (lambda: ur.cell(gates=1, recurrent="full"), ur.Error, "'full'.*: wanted"),
    (lambda: ur.cell(gates=1)(lambda x, h: h), ur.Error, "arguments must be x, r and 1 state"),
    (lambda: ur.cell(gates=1)(lambda x, r, *h: h), ur.Error, "arguments must be x, r and 1 state"),
]


@pytest.mark.parametrize(("make", "error", "message"), CONSTRUCTORS)
def test_what_is_no_layer_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


X = torch.zeros(3, 5, 4)
PACKED = pack_sequence([torch.zeros(2, 4), torch.zeros(1, 4)])
CALLS = [
    ((torch.zeros(3, 5, 7),), {}, ur.Error, r"shape \(3, 5, 7\).*wanted \(time, batch, 4\)"),
    ((torch.zeros(4),), {}, ur.Error, r"got shape \(4,\); wanted"),
    ((torch.zeros(1, 3, 5, 4),), {}, ur.Error, r"got shape \(1, 3, 5, 4\)"),
    (
        (X.double(),),
        {},
        ur.Error,
        r"input dtype \(torch.float64\) does not match weight dtype \(torch.float32\)",
    ),
    ((X.long(),), {}, ur.Error, "input is int64; wrap symbols in unrolled.Batch"),
    ((X.int(),), {}, ur.Error, r"input dtype \(torch.int32\)"),
    (([1, 2],), {}, TypeError, "input is a list; wanted a Tensor"),
    ((X.to("meta"),), {}, ur.Error, "input is on meta and the parameters on cpu"),
    ((X, torch.zeros(1, 5, 2)), {}, ur.Error, "state is a Tensor; wanted a tuple of 2"),
    ((X, (torch.zeros(1, 5, 2),)), {}, ur.Error, "tuple of 1; wanted a tuple of 2"),
    ((X, (torch.zeros(1, 3, 2),) * 2), {}, ur.Error, r"size \(1, 5, 2\), got \[1, 3, 2\]"),
    ((X, (torch.zeros(1, 5, 2).double(),) * 2), {}, ur.Error, "state 0 is torch.float64"),
    ((X, (0, 0)), {}, TypeError, "state 0 is a int"),
    ((X,), {"lengths": [3, 3]}, ur.Error, r"lengths have shape \(2,\); wanted \(5,\)"),
    ((X,), {"lengths": [3, 3, 3, 3, -1]}, ur.Error, "lengths run from -1 to 3; wanted 0 to 3"),
    ((X,), {"lengths": [3, 3, 3, 3, 4]}, ur.Error, "lengths run from 3 to 4; wanted 0 to 3"),
    ((X,), {"lengths": [1.5] * 5}, TypeError, "wanted whole numbers"),
    ((X,), {"lengths": torch.ones(5)}, TypeError, "lengths are torch.float32"),
    ((X[0],), {"lengths": [3]}, ur.Error, "without a batch axis"),
    ((X,), {"reset": torch.zeros(5, 3, dtype=torch.bool)}, ur.Error, r"\(5, 3\); wanted \(3, 5\)"),
    ((X,), {"reset": torch.zeros(3, 5)}, TypeError, "reset is torch.float32; wanted a bool"),
    ((X[0],), {"reset": torch.zeros(4, dtype=torch.bool)}, ur.Error, r"wanted \(5,\), axes \(time,\)"),
    ((PACKED,), {"lengths": [2, 1]}, ur.Error, "a PackedSequence has its own lengths"),
    ((PACKED, (torch.zeros(1, 3, 2),) * 2), {}, ur.Error, r"got \[1, 3, 2\]"),
    ((ur.Vocabulary("abc").encode(["a"]),), {}, ur.Error, "3 symbols; wanted input_size 4"),
    ((ur.Vocabulary("abcd").encode(["a"]),), {"lengths": [1]}, ur.Error, "beside a Batch"),
]


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), CALLS)
def test_a_wrong_call_says_what_was_got_and_wanted(arguments, keywords, error, message):
    layer = ur.LSTM(4, 2)
    with pytest.raises(error, match=message) as caught:
        layer(*arguments, **keywords)
    assert str(caught.value).startswith("lstm(4, 2)")


def test_a_wrong_call_is_caught_as_torchs_would_be():
    for error in (ValueError, RuntimeError):
        with pytest.raises(error):
            ur.LSTM(4, 2)(torch.zeros(3, 5, 7))


def test_a_wrong_step_is_refused():
    with pytest.raises(ur.Error, match=r"x_t has shape \(2, 3, 4\); wanted \(batch, 4\)"):
        ur.GRU(4, 2).step(torch.zeros(2, 3, 4))
    with pytest.raises(ur.Error, match="bidirectional layer cannot be stepped"):
        ur.GRU(4, 2, bidirectional=True).step(torch.zeros(2, 4))


def test_a_cell_that_returns_the_wrong_number_of_states_is_named():
    @ur.cell(gates=1, states=2)
    def forgetful(x, r, h, c):
        return x[0] + r[0]

    with pytest.raises(ur.Error, match="cell forgetful returned 1 states; it was declared with states=2"):
        ur.Recurrent(forgetful, 2, 3)(torch.zeros(2, 1, 2))
