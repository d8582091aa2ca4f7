"""The engine's calls as parts of larger graphs of autograd, and written or odd tensors in them."""

import pytest
import torch
from cpu_cases import flat
from torch import nn

import unrolled as ur
from unrolled.errors import Error


def twins(kind, *sizes, **options):
    torch.manual_seed(0)
    ours, theirs = getattr(ur, kind)(*sizes, **options), getattr(nn, kind)(*sizes, **options)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def penalty(parameters, gradients):
    """A second time through the graph."""
    return torch.autograd.grad(sum(g.square().sum() for g in gradients), parameters)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_calls_that_depend_on_each_other_differentiated_twice(kind):
    first, second = torch.randn(5, 2, 3), torch.randn(4, 2, 3)
    found = []
    for module in twins(kind, 3, 4):
        for graph in (False, True):
            _, state = module(first)
            output, _ = module(second, state)
            parameters = list(module.parameters())
            gradients = torch.autograd.grad(output.square().sum(), parameters, create_graph=graph)
            found.append([*gradients, *(penalty(parameters, gradients) if graph else ())])
    once, twice, torchs, torchs_twice = found
    close(once, torchs)
    close(twice, torchs_twice)


def test_layers_and_steps_differentiated_twice():
    found = []
    for ours in twins("GRUCell", 3, 3):
        state, x = None, torch.linspace(-1, 1, 12).view(4, 1, 3)
        for step in x:
            state = ours(step, state)
        parameters = list(ours.parameters())
        gradients = torch.autograd.grad(state.square().sum(), parameters, create_graph=True)
        found.append([*gradients, *penalty(parameters, gradients)])
    close(*found)
    found = []
    for module in twins("RNN", 3, 3):
        x = torch.linspace(-1, 1, 24).view(4, 2, 3)
        output = module(module(x)[0])[0]
        found.append(torch.autograd.grad(output.sum(), list(module.parameters()), create_graph=True))
    close(*found)


def test_one_tensor_as_both_states():
    x, found = torch.randn(5, 2, 3), []
    for graph in (False, True):
        ours, _ = twins("LSTM", 3, 4)
        h = torch.ones(1, 2, 4, requires_grad=True)
        found += torch.autograd.grad(ours(x, (h, h))[0].sum(), h, create_graph=graph)
    close(*found)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("graph", [False, True])
def test_a_reset_or_lengths_written_before_the_backward_are_noticed(batch_first, graph):
    module = ur.GRU(3, 4, batch_first=batch_first)
    x, parameters = torch.randn(2, 6, 3), list(module.parameters())
    for _ in range(3):  # the long way and the short one
        reset = torch.zeros(2, 6, dtype=torch.bool)
        output, _ = module(x, reset=reset)
        reset[:, 3] = True
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.grad(output.sum(), parameters, create_graph=graph)
    lengths = torch.tensor([3, 6] if batch_first else [1, 2, 0, 2, 1, 1])
    output, _ = module(x, lengths=lengths)
    lengths.fill_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(output.sum(), parameters, create_graph=graph)


def test_many_gradients_at_once():
    ours, _ = twins("GRU", 3, 4)
    x = torch.randn(5, 2, 3, requires_grad=True)
    last = ours(x)[1].flatten()
    (found,) = torch.autograd.grad(last, x, torch.eye(8), is_grads_batched=True, retain_graph=True)
    close(found, torch.stack([torch.autograd.grad(n, x, retain_graph=True)[0] for n in last]))
    jacobian = torch.autograd.functional.jacobian(lambda x: ours(x)[1], x, vectorize=True)
    close(jacobian.reshape(8, 5, 2, 3), found)


def test_gradients_and_weights_that_torch_has_yet_to_negate():
    ours, _ = twins("GRU", 3, 4)
    x, weight, parameters = torch.randn(5, 2, 3), torch.randn(5, 2, 4), list(ours.parameters())
    for index in (0, 1):
        shape = weight if index == 0 else weight[:1]
        wanted = torch.autograd.grad(ours(x)[index], parameters, shape)
        close(torch.autograd.grad(ours(x)[index], parameters, torch._neg_view(-shape)), wanted)
    with torch.no_grad():
        wanted = flat(ours(x))
    ours.weight_ih_l0.data = torch._neg_view(-ours.weight_ih_l0.data)
    for _ in range(3):
        close(flat(ours(x)), wanted)
        with torch.no_grad():
            close(flat(ours(x)), wanted)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("how", ["data", "parameter"])
def test_parameters_of_a_wrong_shape_are_refused(graph, warm, how):
    module, x = ur.GRU(3, 40), torch.randn(5, 2, 3)
    with torch.set_grad_enabled(graph):
        for _ in range(warm):
            module(x)
        if how == "data":
            module.weight_hh_l0.data = torch.randn(1, 1)
        else:
            module.weight_hh_l0 = nn.Parameter(torch.randn(1, 1))
        for _ in range(2):
            with pytest.raises(Error, match=r"weight_hh_l0 has shape \(1, 1\); wanted \(120, 40\)"):
                module(x)


def test_float64_stays_float64_under_autocast():
    module, x = ur.LSTM(3, 4).double(), torch.randn(5, 2, 3).double()
    wanted = flat(module(x))
    with torch.autocast("cpu"):
        assert all(torch.equal(a, b) for a, b in zip(flat(module(x)), wanted, strict=True))


@pytest.mark.parametrize("engine", ["cpu", "aten", "reference"])
def test_what_is_no_number_past_a_rows_end_is_in_no_gradient(engine):
    module, x = ur.GRU(3, 4, batch_first=True), torch.randn(2, 5, 3)
    found = []
    for padding in (0.0, float("nan")):
        x[0, 3:] = padding
        with ur.engine(engine):
            output, _ = module(x, lengths=[3, 5])
        found.append(torch.autograd.grad(output.sum(), list(module.parameters())))
    close(*found)


@pytest.mark.parametrize("engine", ["cpu", "aten", "reference"])
def test_rows_without_symbols_get_states_of_their_own(engine):
    module, state = ur.GRU(3, 4), torch.randn(1, 2, 4)
    with torch.no_grad(), ur.engine(engine):
        _, last = module(torch.randn(5, 2, 3), state, lengths=[0, 0])
    assert torch.equal(last, state)
    assert last.data_ptr() != state.data_ptr()


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("more", ["nothing", "lengths", "reset", "both"])
@pytest.mark.parametrize("name", sorted(ur.cells.CELLS))
def test_an_output_may_be_changed_in_place(name, more, lower):
    torch.manual_seed(0)
    layer = ur.Recurrent(ur.cells.CELLS[name], 3, 17, bidirectional=True)
    x, kwargs = torch.randn(6, 4, 3), {}
    if more in ("lengths", "both"):
        kwargs["lengths"] = torch.tensor([6, 0, 3, 5])
    if more in ("reset", "both"):
        kwargs["reset"] = torch.rand(6, 4) < 0.4
    found = []
    for change in (lambda y: y.mul_(2).relu_(), lambda y: y.mul(2).relu()):
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            output, _ = layer(x, **kwargs)
        found.append(torch.autograd.grad(change(output).square().sum(), list(layer.parameters())))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["RNN", "GRU"])
def test_outputs_changed_in_place_as_torchs(kind):
    found = []
    for module in twins(kind, 3, 5, batch_first=True):
        torch.manual_seed(1)
        x = torch.randn(2, 7, 3, requires_grad=True)
        output, state = module(x)
        output += 1
        state.relu_()
        loss = output.tanh_().sum() + state.sum()
        found.append(torch.autograd.grad(loss, [x, *module.parameters()]))
    close(*found)
