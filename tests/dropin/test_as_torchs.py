"""What torch.nn's recurrent layers are checked for, asked of ours."""

import copy
import io
import pickle
import typing
import warnings

import pytest
import torch
import torch.fx
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled as ur
from unrolled.scan import stack

LAYERS = {"RNN": (nn.RNN, ur.RNN), "GRU": (nn.GRU, ur.GRU), "LSTM": (nn.LSTM, ur.LSTM)}
CELLS = {
    "RNNCell": (nn.RNNCell, ur.RNNCell),
    "GRUCell": (nn.GRUCell, ur.GRUCell),
    "LSTMCell": (nn.LSTMCell, ur.LSTMCell),
}
layers = pytest.mark.parametrize("name", LAYERS)
cells = pytest.mark.parametrize("name", CELLS)
pytestmark = [
    pytest.mark.usefixtures("ours_ran"),
    pytest.mark.filterwarnings(
        "ignore::unrolled.EngineWarning",
        "ignore:`torch.jit:DeprecationWarning",
        "ignore::torch.jit.TracerWarning",
    ),
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def pair(name, *arguments, **options):
    """Theirs and ours with the same weights."""
    made = []
    for kind in {**LAYERS, **CELLS}[name]:
        torch.manual_seed(0)
        made.append(kind(*arguments, **options))
    return made


class Head(nn.Module):
    """A model that uses a layer's output alone."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


@layers
def test_dropout_of_one_leaves_the_biases_alone(name):
    """With dropout 1 the second layer sees zeros: its output does not hang on the input."""
    _, ours = pair(name, 3, 4, 2, dropout=1.0)
    first, second = (ours(torch.randn(5, 2, 3))[0] for _ in range(2))
    assert torch.equal(first, second)
    ours.eval()
    assert not torch.equal(ours(torch.randn(5, 2, 3))[0], ours(torch.randn(5, 2, 3))[0])


@layers
def test_dropout_may_be_changed_and_follows_the_seed(name):
    theirs, ours = pair(name, 3, 16, 3, dropout=0.5)
    x = torch.randn(5, 2, 3)
    torch.manual_seed(1)
    first = ours(x)[0]
    torch.manual_seed(1)
    assert torch.equal(ours(x)[0], first)
    assert not torch.equal(ours(x)[0], first)
    state = torch.get_rng_state()
    ours(x)
    assert not torch.equal(torch.get_rng_state(), state)
    for module in (theirs, ours):
        module.dropout = 0.0
    torch.testing.assert_close(ours(x), theirs(x))
    assert torch.equal(ours(x)[0], ours(x)[0])
    ours.dropout = 1.0
    assert not ours(x)[0].equal(theirs(x)[0])


@layers
@pytest.mark.parametrize("batch_first", [False, True])
def test_no_state_is_a_state_of_zeros(name, batch_first):
    _, ours = pair(name, 3, 4, 2, bidirectional=True, batch_first=batch_first)
    x, zeros = torch.randn(5, 2, 3), torch.zeros(4, 2 if not batch_first else 5, 4)
    state = (zeros, zeros) if name == "LSTM" else zeros
    torch.testing.assert_close(ours(x), ours(x, state), rtol=0, atol=0)
    ours.batch_first = not batch_first
    assert ours(x)[1][0].shape != ours(x.transpose(0, 1))[1][0].shape


@pytest.mark.parametrize("bidirectional", [False, True])
def test_projections(bidirectional):
    theirs, ours = pair("LSTM", 3, 6, 2, proj_size=2, bidirectional=bidirectional)
    slots = 4 if bidirectional else 2
    x, state = torch.randn(5, 3, 3), (torch.randn(slots, 3, 2), torch.randn(slots, 3, 6))
    torch.testing.assert_close(ours(x, state), theirs(x, state))
    for wrong in (state[::-1], (state[0], state[0]), (state[1], state[1])):
        with pytest.raises(RuntimeError, match="hidden"):
            ours(x, wrong)


@layers
def test_backward_through_a_retained_graph_and_inputs_in_use(name):
    """Twice through one graph gives twice the gradient; a state carried along differentiates."""
    theirs, ours = pair(name, 3, 4)
    x = torch.randn(6, 2, 3, requires_grad=True)
    total = ours(x)[0].square().sum()
    total.backward(retain_graph=True)
    once = x.grad.clone()
    total.backward()
    torch.testing.assert_close(x.grad, 2 * once)
    found = []
    for module in (theirs, ours):
        state = None
        for chunk in x.split(2):
            output, state = module(chunk, state)
        found.append(torch.autograd.grad(output.sum(), [x, *module.parameters()]))
    torch.testing.assert_close(found[1], found[0])


@layers
def test_no_rows_differentiate(name):
    _, ours = pair(name, 3, 4)
    output, _ = ours(torch.zeros(5, 0, 3))
    assert output.shape == (5, 0, 4)
    output.sum().backward()


@cells
@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_along_a_loop(name, bias):
    theirs, ours = pair(name, 3, 5, bias=bias)
    x = torch.randn(6, 2, 3)
    found = []
    for module in (theirs, ours):
        state = None
        for step in x:
            state = module(step, state)
        h = state if isinstance(state, torch.Tensor) else state[0]
        found.append([h, *torch.autograd.grad(h.square().sum(), list(module.parameters()))])
    torch.testing.assert_close(found[1], found[0])


@cells
def test_a_cell_without_units(name):
    theirs, ours = pair(name, 3, 0)
    wanted, got = theirs(torch.randn(2, 3)), ours(torch.randn(2, 3))
    shapes = [[t.shape for t in (r if isinstance(r, tuple) else (r,))] for r in (wanted, got)]
    assert shapes[0] == shapes[1]


@layers
def test_scripted_and_traced(name):
    theirs, ours = pair(name, 3, 4, 2)
    x, longer = torch.randn(5, 2, 3), torch.randn(7, 3, 3)
    wanted = theirs(longer)[0]
    traced = torch.jit.trace(Head(ours).eval(), x)
    torch.testing.assert_close(traced(longer), wanted)
    scripted = torch.jit.script(Head(ours))
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    for module in (scripted, torch.jit.load(file)):
        torch.testing.assert_close(module(longer), wanted)
    assert type(ours) is LAYERS[name][1]
    torch.testing.assert_close(ours(longer)[0], wanted)


@layers
def test_a_traced_model_that_packs_takes_any_batch_and_lengths(name):
    theirs, ours = pair(name, 3, 4, 2)

    class Packs(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x, lengths):
            output, state = self.layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
            return pad_packed_sequence(output)[0], state

    with warnings.catch_warnings(action="ignore"):
        sample = torch.randn(3, 6, 3), torch.tensor([3, 2, 1, 1, 3, 2])
        traced = torch.jit.trace(Packs(ours).eval(), sample)
    for lengths in ([3, 3, 3, 2, 2, 2, 1, 1, 1], [5, 2], [1]):
        x = torch.randn(max(lengths), len(lengths), 3)
        wanted = Packs(theirs)(x, torch.tensor(lengths))
        torch.testing.assert_close(traced(x, torch.tensor(lengths)), wanted)


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
@pytest.mark.parametrize("batched", [True, False])
def test_a_cells_states_can_be_detached_in_place(name, batched):
    cell, x = getattr(ur, name)(4, 5), torch.randn(2, 4) if batched else torch.randn(4)
    for grad in (True, False, True):
        with torch.set_grad_enabled(grad):
            state = cell(x)
            for s in state if isinstance(state, tuple) else [state]:
                s.detach_().add_(1.0)


def test_what_one_rate_of_dropout_left_goes_when_there_are_many():
    layer, x = ur.GRU(3, 4, 2, dropout=0.5), torch.randn(3, 2, 3)
    for k in range(300):
        layer.dropout = 0.5 - k / 1000
        layer(x)[0].sum().backward()
    assert not [name for name in stack._cells if name.startswith("gru")]


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_features_of_a_frozen_encoder(name, options):
    theirs = getattr(torch.nn, name)(3, 4, batch_first=True, **options)
    ours = getattr(ur, name)(3, 4, batch_first=True, **options)
    ours.load_state_dict(theirs.state_dict())
    with torch.inference_mode():
        x = torch.randn(2, 5, 3)
    for _ in range(3):
        found = [torch.autograd.grad(m(x)[0].square().sum(), [*m.parameters()]) for m in (ours, theirs)]
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_they_are_leaves_of_a_symbolic_graph(name):
    model = nn.Sequential(nn.Linear(4, 4), getattr(ur, name)(4, 5))
    graph = torch.fx.symbolic_trace(model)
    assert [node.op for node in graph.graph.nodes] == ["placeholder", *["call_module"] * 2, "output"]
    x = torch.randn(3, 4) if name in CELLS else torch.randn(3, 2, 4)
    torch.testing.assert_close(graph(x), model(x))


@layers
def test_hints_are_types(name):
    layer = LAYERS[name][1](3, 4)
    assert layer(torch.zeros(2, 1, 3), lengths=[2])[0].shape == (2, 1, 4)
    assert typing.get_type_hints(layer.forward)["lengths"]


def test_what_cannot_be_scripted_says_so():
    class Own(ur.GRU):
        def forward(self, x):
            return super().forward(x)[0] * 2

    assert Own(3, 4)(torch.zeros(2, 1, 3)).shape == (2, 1, 4)
    for layer in (Own(3, 4), ur.Recurrent(ur.cells.sru, 3, 4)):
        with pytest.raises(ur.Error, match=r"use torch.jit.trace, torch.export or torch.compile"):
            torch.jit.script(Head(layer))


@layers
def test_whole_models_in_files_and_old_pickles(name):
    theirs, ours = pair(name, 3, 4, 2, bidirectional=True)
    x = torch.randn(5, 2, 3)
    file = io.BytesIO()
    torch.save(Head(ours), file)
    file.seek(0)
    torch.testing.assert_close(torch.load(file, weights_only=False)(x), theirs(x)[0])
    # Pickles from before proj_size have none; torch.nn's layers fill it in when they are loaded.
    state = {k: v for k, v in vars(theirs).items() if k != "proj_size"}
    again = type(theirs).__new__(type(theirs))
    again.__setstate__(copy.deepcopy(state))
    torch.testing.assert_close(ur.replace(again)(x), theirs(x))
    torch.testing.assert_close(pickle.loads(pickle.dumps(again))(x), theirs(x))


@layers
def test_flat_parameters_and_helpers(name):
    theirs, ours = pair(name, 3, 4, 2, bidirectional=True)
    ours.flatten_parameters()
    for mine, other in zip(ours.all_weights, theirs.all_weights, strict=True):
        torch.testing.assert_close(mine, other)
    # The flat list follows a parameter that is replaced.
    for module in (theirs, ours):
        module.weight_hh_l0 = nn.Parameter(torch.full_like(module.weight_hh_l0, 0.1))
    assert ours._flat_weights[1] is ours.weight_hh_l0
    x = torch.randn(5, 2, 3)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours.get_expected_hidden_size(x, None) == theirs.get_expected_hidden_size(x, None)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_a_call_in_inference_mode_spoils_no_training(name):
    layer, x = getattr(ur, name)(3, 4), torch.randn(5, 2, 3)
    for frozen in (True, False, True, False):
        layer.requires_grad_(not frozen)
        if frozen:
            with torch.inference_mode(), torch.enable_grad():
                layer(x)
        else:
            layer(x)[0].sum().backward()
