"""The modules for nodes that no layer of ours is alone, against loops that anyone can read."""

from itertools import pairwise

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

import unrolled as ur
from unrolled.export import ResetBeforeGRU, Reversed

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def plain(layer, x, h):
    """One row (time, feature) through a GRU that resets before the product: outputs, last state."""
    w, r = layer.weight_ih_l0.chunk(3), layer.weight_hh_l0.chunk(3)
    b, c = layer.bias_ih_l0.chunk(3), layer.bias_hh_l0.chunk(3)
    outputs = []
    for x_t in x:
        reset = torch.sigmoid(w[0] @ x_t + b[0] + r[0] @ h + c[0])
        update = torch.sigmoid(w[1] @ x_t + b[1] + r[1] @ h + c[1])
        candidate = torch.tanh(w[2] @ x_t + b[2] + r[2] @ (reset * h) + c[2])
        h = (1 - update) * candidate + update * h
        outputs.append(h)
    return torch.stack(outputs), h


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reset_before_with_every_gradient(dtype):
    layer = ResetBeforeGRU(3, 4, batch_first=True, dtype=dtype)
    x = torch.randn(2, 5, 3, dtype=dtype, requires_grad=True)
    h = torch.randn(1, 2, 4, dtype=dtype, requires_grad=True)
    assert ur.explain(layer, x, h).engine == ("cpu" if dtype == torch.float32 else "reference")
    rows = [plain(layer, x[i], h[0, i]) for i in range(2)]
    wanted = torch.stack([r[0] for r in rows]), torch.stack([r[1] for r in rows])[None]
    got = layer(x, h)
    close = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(got, wanted, **close)
    leaves, weighting = [x, h, *layer.parameters()], torch.randn(2, 5, 4, dtype=dtype)
    found = [
        torch.autograd.grad((o * weighting).sum() + e.square().sum(), leaves, retain_graph=True)
        for o, e in (got, wanted)
    ]
    torch.testing.assert_close(found[0], found[1], **close)


def test_reset_before_in_both_directions_with_lengths_and_resets():
    layer = ResetBeforeGRU(3, 4, bidirectional=True).double()
    forward = ResetBeforeGRU(3, 4).double()
    backward = ResetBeforeGRU(3, 4).double()
    state = layer.state_dict()
    forward.load_state_dict({k: v for k, v in state.items() if not k.endswith("_reverse")})
    backward.load_state_dict({k[:-8]: v for k, v in state.items() if k.endswith("_reverse")})
    x, lengths = torch.randn(7, 3, 3, dtype=torch.float64), [7, 0, 5]
    reset, h = torch.rand(7, 3) < 0.4, torch.randn(2, 3, 4, dtype=torch.float64)
    output, last = layer(x, h, lengths=lengths, reset=reset)
    for row, length in enumerate(lengths):
        starts = [0, *(t for t in range(1, length) if reset[t, row]), length]
        pieces = [(a, b) for a, b in pairwise(starts) if b > a]
        assert not output[length:, row].any()
        if not pieces:
            assert torch.equal(last[:, row], h[:, row])
        for a, b in pieces:
            ahead, end = plain(forward, x[a:b, row], h[0, row])
            back, start = plain(backward, x[a:b, row].flip(0), h[1, row])
            torch.testing.assert_close(output[a:b, row], torch.cat([ahead, back.flip(0)], -1))
            if b == length:
                torch.testing.assert_close(last[0, row], end)
            if a == 0:
                torch.testing.assert_close(last[1, row], start)


def test_reset_before_is_called_as_every_layer():
    layer = ResetBeforeGRU(4, 5, batch_first=True)
    vocabulary = ur.Vocabulary("abcd")
    batch = vocabulary.encode(["abca", "d"])
    output, last = layer(batch)
    torch.testing.assert_close((output, last), layer(batch.one_hot(), lengths=batch.lengths))
    x = batch.one_hot()[0]
    whole, end = layer(x)
    assert whole.shape == (4, 5)
    packed, ends = layer(pack_sequence([x, x[:1]]))
    torch.testing.assert_close(unpack_sequence(packed), [whole, whole[:1]])
    torch.testing.assert_close(ends[:, 0], end)
    state = None
    for x_t, wanted in zip(x, whole, strict=True):
        got, state = layer.step(x_t, state)
        torch.testing.assert_close(got, wanted)
    with pytest.raises(ur.Error, match=r"gru\(4, 5\): lengths run from 1 to 5; wanted 0 to 4"):
        layer(batch.one_hot(), lengths=[5, 1])
    with pytest.raises(ur.Error, match=r"wanted \(batch, time, 4\)"):
        layer(torch.zeros(2, 3, 5))


@pytest.mark.parametrize("batch_first", [False, True])
def test_reversed_reads_each_row_from_its_end(batch_first):
    module = Reversed(ur.LSTM(3, 4, batch_first=batch_first))
    x, lengths = torch.randn(3, 6, 3), torch.tensor([6, 0, 4])
    h, c = torch.randn(2, 1, 3, 4)
    given = x if batch_first else x.transpose(0, 1)
    output, (h_n, c_n) = module(given, (h, c), lengths=lengths)
    output = output if batch_first else output.transpose(0, 1)
    for row, length in enumerate(lengths.tolist()):
        one = x[row, :length].flip(0)
        wanted, ends = (
            module.layer(one, (h[:, row], c[:, row])) if length else (one, (h[:, row], c[:, row]))
        )
        if length:
            torch.testing.assert_close(output[row, :length], wanted.flip(0))
        assert not output[row, length:].any()
        torch.testing.assert_close((h_n[:, row], c_n[:, row]), ends)
    torch.testing.assert_close(module(x[0])[0], module.layer(x[0].flip(0))[0].flip(0))


def test_reversed_refuses_what_its_layer_refuses():
    module = Reversed(ur.GRU(3, 4))
    for arguments, keywords, error, message in (
        ((torch.zeros(2, 1, 3),), {"lengths": [3]}, ur.Error, "lengths run from 3 to 3; wanted 0 to 2"),
        ((torch.zeros(2, 1, 3),), {"lengths": [1, 1]}, ur.Error, r"shape \(2,\); wanted \(1,\)"),
        ((torch.zeros(2, 1, 5),), {}, ur.Error, r"wanted \(time, batch, 3\)"),
        ((pack_sequence([torch.zeros(2, 3)]),), {}, TypeError, "a PackedSequence; wanted a Tensor"),
        ((torch.zeros(2, 1).long(),), {}, TypeError, "torch.int64; wanted a Tensor of features"),
    ):
        with pytest.raises(error, match=message):
            module(*arguments, **keywords)
