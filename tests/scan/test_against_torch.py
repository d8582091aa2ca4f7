"""Every engine against torch.nn on random configurations: outputs, states and every gradient."""

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled as ur

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
PAIRS = {"RNN": (torch.nn.RNN, ur.RNN), "GRU": (torch.nn.GRU, ur.GRU), "LSTM": (torch.nn.LSTM, ur.LSTM)}


def using(engine):
    """The engine of that name, or for None the one that a user would get."""
    return nullcontext() if engine is None else ur.engine(engine)


@st.composite
def layers(draw):
    """A torch.nn layer and ours with the same weights."""
    kind = draw(st.sampled_from(sorted(PAIRS)))
    hidden = draw(st.integers(1, 9))
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
        "dtype": draw(st.sampled_from(sorted(TOLERANCE, key=str))),
    }
    if kind == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if kind == "LSTM":
        options["proj_size"] = draw(st.integers(0, hidden - 1))
    theirs, ours = PAIRS[kind]
    seed = draw(st.integers(0, 2**31))
    torch.manual_seed(seed)
    wanted = theirs(draw(st.integers(1, 7)), hidden, **options)
    torch.manual_seed(seed)
    got = ours(wanted.input_size, hidden, **options)
    return wanted, got


@st.composite
def inputs(draw, layer, batched=None):
    """An input, and an initial state or None, that the layer takes; both ask for gradients."""
    batched = draw(st.booleans()) if batched is None else batched
    batch, time = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    axes = [batch, time] if layer.batch_first else [time, batch]
    dtype = layer.weight_ih_l0.dtype
    x = torch.randn(*(axes if batched else [time]), layer.input_size, dtype=dtype)
    state = None
    if draw(st.booleans()):
        slots = layer.num_layers * (1 + layer.bidirectional)
        widths = [layer.proj_size or layer.hidden_size]
        widths += [layer.hidden_size] if layer.mode == "LSTM" else []
        shape = [slots, batch] if batched else [slots]
        state = tuple(torch.randn(*shape, w, dtype=dtype, requires_grad=True) for w in widths)
        state = state if len(state) > 1 else state[0]
    return x.requires_grad_(), state, batch, time


def tensors(nested):
    if isinstance(nested, torch.Tensor):
        return [nested]
    return [] if nested is None else [t for part in nested for t in tensors(part)]


def compare(wanted, got, layer, mine, x, state):
    """Results and the gradients of one random weighting of them."""
    dtype = x.dtype
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    wanted, got = tensors(wanted), tensors(got)
    torch.testing.assert_close(got, wanted, **close)
    weights = [torch.randn_like(w) for w in wanted]
    gradients = []
    for module, results in ((layer, wanted), (mine, got)):
        total = sum((w * r).sum() for w, r in zip(weights, results, strict=True))
        leaves = [x, *tensors(state), *module.parameters()]
        gradients.append(torch.autograd.grad(total, leaves, retain_graph=True))
    # The sum over steps and rows grows the rounding of a float32 gradient with its size.
    scale = max(1.0, *(g.abs().max().item() for g in gradients[0]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=close["rtol"], atol=close["atol"] * scale)


@pytest.mark.parametrize("engine", ["aten", "reference", None])
@given(st.data())
def test_whole_rows(engine, data):
    layer, mine = data.draw(layers())
    assert {n: p.tolist() for n, p in layer.state_dict().items()} == {
        n: p.tolist() for n, p in mine.state_dict().items()
    }
    x, state, _, _ = data.draw(inputs(layer))
    with using(engine):
        got = mine(x, state)
    compare(layer(x, state), got, layer, mine, x, state)


@pytest.mark.parametrize("engine", ["aten", "reference", None])
@given(st.data())
def test_lengths_are_a_packed_sequence(engine, data):
    layer, mine = data.draw(layers())
    x, state, batch, time = data.draw(inputs(layer, batched=True))
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, time), min_size=batch, max_size=batch)))
    packed = pack_padded_sequence(x, lengths, batch_first=layer.batch_first, enforce_sorted=False)
    output, last = layer(packed, state)
    output, _ = pad_packed_sequence(output, batch_first=layer.batch_first, total_length=time)
    with using(engine):
        got = mine(x, state, lengths=lengths)
        repacked, last_packed = mine(packed, state)
    compare((output, last), got, layer, mine, x, state)
    unpacked, counts = pad_packed_sequence(repacked, batch_first=layer.batch_first, total_length=time)
    assert counts.tolist() == lengths.tolist()
    compare((output, last), (unpacked, last_packed), layer, mine, x, state)


@pytest.mark.parametrize("engine", ["aten", "reference"])
@given(st.data())
def test_an_empty_row_keeps_its_state_and_puts_out_zeros(engine, data):
    _, mine = data.draw(layers())
    x, state, batch, time = data.draw(inputs(mine, batched=True))
    lengths = torch.tensor(data.draw(st.lists(st.integers(0, time), min_size=batch, max_size=batch)))
    with ur.engine(engine):
        output, last = mine(x, state, lengths=lengths)
    with ur.engine("reference"):
        wanted = mine(x, state, lengths=lengths)
    torch.testing.assert_close((output, last), wanted)
    rows = output if mine.batch_first else output.transpose(0, 1)
    for row, length in enumerate(lengths.tolist()):
        assert not rows[row, length:].any()
    if state is None:
        state = tuple(torch.zeros_like(s) for s in tensors(last))
    for before, after in zip(tensors(state), tensors(last), strict=True):
        empty = lengths == 0
        assert torch.equal(before[:, empty], after[:, empty])


@given(st.data())
def test_state_dicts_load_both_ways(data):
    layer, mine = data.draw(layers())
    layer.reset_parameters()
    assert not torch.equal(layer.weight_ih_l0, mine.weight_ih_l0)
    mine.load_state_dict(layer.state_dict())
    layer.load_state_dict(mine.state_dict())
    x, state, _, _ = data.draw(inputs(layer))
    compare(layer(x, state), mine(x, state), layer, mine, x, state)
