"""Wrong calls: each raises the right type, and says what was got and what was wanted."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

import unrolled as ur

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")


def recurrent(function, **options):
    """A layer of a cell that is wrong."""
    return ur.Recurrent(ur.cell(gates=1, **options)(function), 2, 3)


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
    (lambda: ur.Recurrent(torch.tanh, 4, 2), TypeError, "such as unrolled.cells.gru, or one made by"),
    (lambda: ur.Recurrent(ur.cells.gru, 4, 3, proj_size=2), ur.Error, "reads its own output h"),
    (lambda: ur.Recurrent(ur.cells.indrnn, 4, 3, proj_size=2), ur.Error, "reads its own output h"),
    (lambda: ur.cell(gates=0), ur.Error, "at least 1"),
    (lambda: ur.cell(gates=1, recurrent="full"), ur.Error, "'full'.*: wanted"),
    (lambda: ur.cell(gates=1)(lambda x, h: h), ur.Error, "arguments must be x, r and 1 state"),
    (lambda: ur.cell(gates=1)(lambda x, r, *h: h), ur.Error, "arguments must be x, r and 1 state"),
    (lambda: ur.GRU("4", 2), TypeError, r"input_size should be of type int, got: str \('4'\)"),
    (lambda: ur.LSTM(4, 2, bias=1), TypeError, r"bias should be of type bool, got: int \(1\)"),
    (lambda: ur.LSTM(4, 2, batch_first=None), TypeError, "batch_first should be of type bool"),
    (lambda: ur.LSTM(4, 2, bidirectional=2), TypeError, "bidirectional should be of type bool"),
    (lambda: ur.LSTM(4, 2, dropout="much"), ur.Error, "dropout is 'much'; wanted a probability"),
    (lambda: ur.LSTM(4, 2, dropout=-0.1), ur.Error, "dropout is -0.1"),
    (lambda: ur.LSTM(4, 2, proj_size=-1), ur.Error, "proj_size is -1"),
    (lambda: ur.LSTM(4, 2, proj_size=1.0), TypeError, "proj_size should be of type int"),
    (lambda: ur.GRU(4, 2, proj_size=1), ur.Error, "proj_size is for an LSTM, not for GRU"),
    (lambda: ur.RNN(4, 2, proj_size=1), ur.Error, "proj_size is for an LSTM, not for RNN"),
    (lambda: ur.RNN(4, 2, layers=1), TypeError, "layers"),
    (lambda: ur.RNNCell(4, 2, nonlinearity="elu"), ur.Error, "'elu'; wanted 'tanh' or 'relu'"),
    (lambda: ur.cell(gates=1, states=0), ur.Error, "both must be at least 1"),
    (lambda: ur.cell(gates=1.5), ur.Error, "both must be at least 1, and whole"),
    (lambda: ur.cell(gates=1)(ur.cells.gru), TypeError, "is not a function; wanted a def"),
    (lambda: ur.cell(gates=1)(lambda x, r, h, *, a=0.5: h), ur.Error, "a=0.5 is a learned vector"),
    (lambda: ur.cell(gates=1)(lambda x, r, h, *, bias_hh: h), ur.Error, "has a bias_hh already"),
    (lambda: ur.cell(gates=1)(lambda x, r, h, c: h), ur.Error, "arguments must be x, r and 1 state"),
    (lambda: recurrent(lambda x, r, h: h[..., :1]), ur.Error, r"float32 \(2, 1\) from .* \(2, 3\)"),
    (lambda: recurrent(lambda x, r, h: h.sum()), ur.Error, r"state 0 as torch.float32 \(\) from"),
    (lambda: recurrent(lambda x, r, h: h > 0), ur.Error, "state 0 as torch.bool"),
    (lambda: recurrent(lambda x, r, h: 3), TypeError, "returned a int; wanted its next state"),
    (lambda: recurrent(lambda x, r, h: None), TypeError, "returned a NoneType"),
    (lambda: recurrent(lambda x, r, h: [3]), TypeError, "returned a int as state 0; wanted a Tensor"),
    (lambda: recurrent(lambda x, r, h: (h, h)), ur.Error, "returned 2 states; .* states=1"),
    (lambda: recurrent(lambda x, r, h, c: h, states=2), ur.Error, "returned 1 states; .* states=2"),
    (
        lambda: recurrent(lambda x, r, h, c: (h, c[:, None]), states=2),
        ur.Error,
        r"state 1 as torch.float32 \(2, 1, 3\)",
    ),
    (lambda: recurrent(lambda x, r, h: x[1]), IndexError, "out of range"),
]


@pytest.mark.parametrize(("make", "error", "message"), CONSTRUCTORS)
def test_what_is_no_layer_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


X = torch.zeros(3, 5, 4)
H = torch.zeros(1, 5, 2)
BATCH = ur.Vocabulary("abcd").encode(["a"])
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
    ((X,), {"lengths": [3, 3, 3, 3, 2**70]}, ur.Error, f"from 3 to {2**70}; wanted 0 to 3"),
    ((X,), {"lengths": iter([3, 3, 3, 3, 4])}, ur.Error, "lengths run from 3 to 4; wanted 0 to 3"),
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
    ((None,), {}, TypeError, "input is a NoneType; wanted a Tensor"),
    ((X.numpy(),), {}, TypeError, "input is a ndarray; wanted a Tensor"),
    ((X.to(torch.complex64),), {}, ur.Error, r"input dtype \(torch.complex64\)"),
    ((X.bool(),), {}, ur.Error, r"input dtype \(torch.bool\)"),
    ((X, 3), {}, TypeError, "state is a int; wanted a tuple of 2 Tensors"),
    ((X, "hc"), {}, TypeError, "state is a str; wanted a tuple of 2 Tensors"),
    ((X, {"h": 1, "c": 2}), {}, TypeError, "state is a dict; wanted a tuple of 2 Tensors"),
    ((X, (H,) * 3), {}, ur.Error, "state is tuple of 3; wanted a tuple of 2 Tensors"),
    ((X, (H, torch.zeros(2, 5, 2))), {}, ur.Error, r"hidden\[1\] size \(1, 5, 2\), got \[2, 5, 2\]"),
    ((X, (H, torch.zeros(1, 5, 3))), {}, ur.Error, r"hidden\[1\] size \(1, 5, 2\), got \[1, 5, 3\]"),
    ((X, (H[:, 0],) * 2), {}, ur.Error, r"got \[1, 2\]: a state is \(layers \* directions, batch, size\)"),
    ((X[0], (H,) * 2), {}, ur.Error, r"size \(1, 2\), got \[1, 5, 2\]"),
    ((X, (H.to("meta"),) * 2), {}, ur.Error, "state 0 is torch.float32 on meta; wanted .* on cpu"),
    ((X, (H.long(),) * 2), {}, ur.Error, "state 0 is torch.int64"),
    ((X,), {"lengths": 3}, TypeError, "lengths are 3; wanted whole numbers, one for each row"),
    ((X,), {"lengths": "33333"}, TypeError, "lengths are '33333'; wanted whole numbers"),
    ((X,), {"lengths": [True] * 5}, TypeError, "wanted whole numbers"),
    ((X,), {"lengths": [3, 3, 3, 3, None]}, TypeError, "wanted whole numbers"),
    ((X,), {"lengths": torch.ones(5, 1).long()}, ur.Error, r"shape \(5, 1\); wanted \(5,\)"),
    ((X,), {"lengths": torch.ones(5).bool()}, TypeError, "lengths are torch.bool"),
    ((X,), {"lengths": torch.ones(5).long().to("meta")}, ur.Error, "lengths are on meta"),
    ((X,), {"reset": [True]}, TypeError, "reset is list; wanted a bool Tensor"),
    ((X,), {"reset": torch.zeros(3, 5).long()}, TypeError, "reset is torch.int64"),
    ((X,), {"reset": torch.zeros(3).bool()}, ur.Error, r"shape \(3,\); wanted \(3, 5\)"),
    ((X,), {"reset": torch.zeros(3, 5).bool().to("meta")}, ur.Error, "reset is on meta"),
    ((PACKED,), {"reset": torch.zeros(2, 2).bool()}, ur.Error, "takes no reset"),
    ((PACKED, 3), {}, TypeError, "state is a int"),
    ((PACKED, (1, 2)), {}, TypeError, "state.* is a int; wanted a Tensor"),
    ((pack_sequence([torch.zeros(2, 7)]),), {}, ur.Error, "its last axis .* input_size 4"),
    ((pack_sequence([torch.zeros(2, 4).double()]),), {}, ur.Error, r"input dtype \(torch.float64\)"),
    ((BATCH, (torch.zeros(1, 3, 2),) * 2), {}, ur.Error, r"size \(1, 1, 2\), got \[1, 3, 2\]"),
    ((BATCH,), {"reset": torch.zeros(3, 1).bool()}, ur.Error, r"wanted \(1, 1\), axes \(batch, time\)"),
]


@pytest.mark.parametrize(("arguments", "keywords", "error", "message"), CALLS)
def test_a_wrong_call_says_what_was_got_and_wanted(arguments, keywords, error, message):
    layer = ur.LSTM(4, 2)
    with pytest.raises(error, match=message) as caught:
        layer(*arguments, **keywords)
    assert str(caught.value).startswith("lstm(4, 2)")


OTHERS = [
    (lambda: ur.GRU(4, 2)(X, (H,)), ur.Error, "gru.*state is tuple of 1; wanted a Tensor"),
    (lambda: ur.GRU(4, 2)(X, 3), TypeError, "gru.*state is a int; wanted a Tensor"),
    (lambda: ur.GRU(4, 2).step(torch.zeros(2, 3, 4)), ur.Error, r"\(2, 3, 4\); wanted \(batch, 4\)"),
    (lambda: ur.GRU(4, 2).step(torch.zeros(2, 3)), ur.Error, "must be equal to input_size 4"),
    (lambda: ur.GRU(4, 2).step([1.0]), TypeError, "x_t is a list; wanted a Tensor"),
    (lambda: ur.GRU(4, 2).step(torch.zeros(2, 2).long()), ur.Error, r"\(2, 2\); wanted \(batch,\)"),
    (lambda: ur.GRU(4, 2).step(torch.tensor([9])), ur.Error, "indices run from 9 to 9; wanted 0 to 3"),
    (lambda: ur.GRU(4, 2, bidirectional=True).step(X[0]), ur.Error, "cannot be stepped"),
    (lambda: ur.GRUCell(4, 2)(X), ur.Error, r"1D or 2D, got 3D instead: shape \(3, 5, 4\)"),
    (lambda: ur.GRUCell(4, 2)([1]), TypeError, "input is a list; wanted a Tensor"),
    (lambda: ur.GRUCell(4, 2)(X[0, :, :3]), ur.Error, "got 3 expected 4"),
    (lambda: ur.GRUCell(4, 2)(X[0].long()), ur.Error, "input is torch.int64 and the weights"),
    (lambda: ur.GRUCell(4, 2)(X[0].to("meta")), ur.Error, "on meta and the weights on cpu"),
    (lambda: ur.GRUCell(4, 2)(X[0], 3), TypeError, "hx is a int; wanted a Tensor"),
    (lambda: ur.GRUCell(4, 2)(X[0], H), ur.Error, "hidden to be 1D or 2D, got 3D"),
    (lambda: ur.GRUCell(4, 2)(X[0], H[0, :3]), ur.Error, "batch size 5 doesn't match hidden0 batch size 3"),
    (lambda: ur.LSTMCell(4, 2)(X[0], H[0]), ur.Error, "hx is a Tensor; wanted a tuple of 2 Tensors"),
    (lambda: ur.LSTMCell(4, 2)(X[0], (H[0], 1)), TypeError, r"hx\[1\] is a int"),
    (lambda: ur.LSTMCell(4, 2)(X[0], (H[0], X[0])), ur.Error, "hidden1 .*hidden_size: got 4, expected 2"),
    (lambda: ur.scan(ur.GRU(4, 2).stack, X, [X]), ur.Error, "got 1 parameters; wanted weight_ih_l0, "),
    (lambda: setattr(ur.GRU(4, 2, 2), "dropout", 2), ur.Error, "dropout is 2; wanted a probability"),
    (lambda: ur.explain(torch.nn.GRU(4, 2), X), TypeError, "GRU is not a layer of unrolled"),
    (lambda: ur.replace(3), TypeError, "replace: got a int; wanted a torch.nn.Module"),
    (lambda: ur.restore(torch.nn.LSTM), TypeError, "restore: got a type; wanted a torch.nn.Module"),
]


@pytest.mark.parametrize(("call", "error", "message"), OTHERS)
def test_other_doors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_there_are_as_many_as_promised():
    assert len(CONSTRUCTORS) + len(CALLS) + len(OTHERS) >= 60
