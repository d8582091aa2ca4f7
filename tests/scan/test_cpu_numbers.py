"""The CPU engine in float32 against the reference in float64: results and every gradient."""

import weakref

import pytest
import torch
from cpu_cases import EVERY, check, flat, given, layer, states
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

import unrolled as ur
from unrolled.scan.cpu import room, training

ODD = [(1, 1, 1, 1), (2, 3, 5, 1), (5, 7, 7, 9), (3, 2, 9, 7), (7, 3, 17, 31), (13, 4, 1, 67)]
"""Batch, time, input, hidden: 1, primes, one more and one less than a vector and a tile."""


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("name", EVERY)
def test_odd_sizes(name):
    for batch, time, size, hidden in ODD:
        single, double = (layer(name, size, hidden, double=d) for d in (False, True))
        check(single, double, torch.randn(batch, time, size), states(single, batch))


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("name", EVERY)
def test_layers_directions_lengths_and_resets(name):
    options = {"num_layers": 2, "bidirectional": True}
    single, double = (layer(name, 5, 11, double=d, **options) for d in (False, True))
    x, state = torch.randn(6, 7, 5), states(single, 6)
    lengths, reset = [3, 0, 7, 1, 7, 4], torch.rand(6, 7) < 0.3
    check(single, double, x, state, lengths=lengths)
    check(single, double, x, state, lengths=lengths, reset=reset)
    check(single, double, torch.randint(0, 5, (6, 7)), state, reset=reset)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("name", ["rnn_tanh", "gru", "lstm", "cifg_lstm", "of_ones_own", "sru"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_more_rows_and_units_than_a_tile_on_threads(name, threads, set_threads):
    set_threads(threads)
    single, double = (layer(name, 37, 131, double=d) for d in (False, True))
    for parameter in single.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    check(single, double, torch.randn(29, 5, 37), states(single, 29))


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("name", ["rnn_tanh", "gru", "lstm", "cifg_lstm", "of_ones_own", "sru"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_units_and_many_features_on_threads(name, threads, set_threads):
    set_threads(threads)
    for hidden in (1, 2, 5, 16, 22, 48):
        single, double = (layer(name, 211, hidden, double=d) for d in (False, True))
        for parameter in single.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        for x in (torch.randn(4, 43, 211), torch.randint(0, 211, (4, 43))):
            check(single, double, x, states(single, 4), lengths=[43, 0, 17, 40])
        check(single, double, torch.randn(4, 43, 211), states(single, 4))


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("size", [1, 3, 8])
def test_projected_outputs(size):
    options = {"proj_size": size, "num_layers": 2, "bidirectional": True}
    single, double = (layer("lstm", 3, 9, double=d, **options) for d in (False, True))
    check(single, double, torch.randn(5, 4, 3), states(single, 5), lengths=[4, 0, 1, 3, 2])


@pytest.mark.usefixtures("guarded")
def test_without_biases():
    for name in ("rnn_relu", "gru", "lstm", "indrnn"):
        single, double = (layer(name, 3, 9, double=d, bias=False) for d in (False, True))
        check(single, double, torch.randn(2, 4, 3), states(single, 2))


def test_dropout_between_layers_is_a_mask_of_the_first_layers_output():
    both = layer("gru", 3, 8, num_layers=2, dropout=0.5)
    first, second = layer("gru", 3, 8), layer("gru", 8, 8)
    names = both.state_dict()
    first.load_state_dict({n: t for n, t in names.items() if n.endswith("_l0")})
    second.load_state_dict({n.replace("_l1", "_l0"): t for n, t in names.items() if n.endswith("_l1")})
    x = torch.randn(4, 6, 3, requires_grad=True)
    with ur.engine("cpu"):
        torch.manual_seed(3)
        got, _ = both(x)
        torch.manual_seed(3)
        wanted, _ = second(torch.nn.functional.dropout(first(x)[0], 0.5))
    assert torch.equal(got, wanted)
    torch.testing.assert_close(torch.autograd.grad(got.sum(), x), torch.autograd.grad(wanted.sum(), x))


def test_gradients_that_nobody_asked_for_are_not_made():
    recurrent = layer("lstm", 3, 5)
    x = torch.randn(2, 4, 3)
    wanted = ur.LSTM(3, 5, batch_first=True)
    wanted.load_state_dict(recurrent.state_dict())
    for frozen in ("weight_hh_l0", "weight_ih_l0", "bias_ih_l0"):
        for module, engine in ((recurrent, "cpu"), (wanted, "reference")):
            module.zero_grad()
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(name != frozen)
            with ur.engine(engine):
                module(x)[0].square().sum().backward()
            assert module.get_parameter(frozen).grad is None
        for name, parameter in recurrent.named_parameters():
            torch.testing.assert_close(parameter.grad, wanted.get_parameter(name).grad)


def test_a_steps_memory_serves_the_next_but_never_two_at_once():
    room.clear()
    recurrent, x = layer("lstm", 3, 5), torch.randn(2, 4, 3)
    with ur.engine("cpu"):
        results = [recurrent(x * scale)[0].square().sum() for scale in (1, 2, 1)]
        gradients = [torch.autograd.grad(r, recurrent.parameters()) for r in results]
        del results
        assert room._free
        again = torch.autograd.grad(recurrent(x)[0].square().sum(), recurrent.parameters())
    for first, third, later in zip(gradients[0], gradients[2], again, strict=True):
        assert torch.equal(first, third)
        assert torch.equal(first, later)
    assert not torch.equal(gradients[0][0], gradients[1][0])


def test_memory_of_inference_serves_training(monkeypatch):
    sizes, take = [], room.take

    def watched(count):
        sizes.append(count)
        return take(count)

    monkeypatch.setattr(room, "take", watched)
    recurrent, x = layer("gru", 3, 5), torch.randn(2, 4, 3)

    def step():
        with ur.engine("cpu"):
            return torch.autograd.grad(recurrent(x)[0].square().sum(), recurrent.parameters())

    wanted = step()
    room.clear()
    with torch.inference_mode():
        for borrowed in [take(count) for count in sizes]:
            room.give(borrowed)
    assert all(torch.equal(got, w) for got, w in zip(step(), wanted, strict=True))


def test_the_memory_that_lies_by_is_bounded(monkeypatch):
    monkeypatch.setattr(room, "MOST", 100)
    room.clear()
    for count in (60, 50, 40):
        room.borrow(count)  # and given back at once
    assert sorted(room._free) == [40, 50]


@pytest.mark.parametrize("backward", [True, False])
def test_what_a_step_kept_goes_with_its_graph(monkeypatch, backward):
    kept, held = [], training._Held

    def watched(*arguments):
        made = held(*arguments)
        kept.append(weakref.ref(made))
        return made

    monkeypatch.setattr(training, "_Held", watched)
    for options in ({}, {"bidirectional": True, "num_layers": 2}):
        recurrent = layer("lstm", 3, 5, **options)
        with ur.engine("cpu"):
            output, (hidden, cell) = recurrent(torch.randn(2, 4, 3))
        assert kept
        assert all(ref() is not None for ref in kept)
        total = output.sum() + hidden.sum() + cell.sum()
        if backward:
            total.backward()  # after which it is gone, whoever has the output
            assert all(ref() is None for ref in kept)
        del output, hidden, cell, total
        assert all(ref() is None for ref in kept)
        kept.clear()


def test_backward_reads_what_the_graph_saved_wherever_it_was_kept():
    recurrent, x = layer("gru", 3, 8, bidirectional=True), torch.randn(2, 4, 3)
    found = []
    for _ in range(2):
        with ur.engine("cpu"):
            total = recurrent(x)[0].square().sum()
        found.append(torch.autograd.grad(total, list(recurrent.parameters())))
        with ur.engine("cpu"), torch.autograd.graph.saved_tensors_hooks(_elsewhere, _back):
            total = recurrent(x)[0].square().sum()
        found.append(torch.autograd.grad(total, list(recurrent.parameters())))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=0)


def _elsewhere(tensor):
    return tensor.detach().numpy().copy(order="F")


def _back(array):
    return torch.from_numpy(array)


def test_second_derivatives_go_through_the_reference():
    recurrent = layer("gru", 2, 3)
    x = torch.randn(2, 3, 2, requires_grad=True)
    found = []
    for engine in ("cpu", "reference"):
        with ur.engine(engine):
            (first,) = torch.autograd.grad(recurrent(x)[0].square().sum(), x, create_graph=True)
            found.append(torch.autograd.grad(first.square().sum(), [x, *recurrent.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["rnn_tanh", "gru", "lstm", "min_gru"])
def test_a_read_or_write_beyond_a_tensor_would_crash(name, fenced):
    for size, hidden in ((1, 1), (5, 3), (9, 7), (8, 8)):
        recurrent = layer(name, size, hidden)
        for parameter in recurrent.parameters():
            parameter.data = fenced(parameter.data)
        x = fenced(torch.randn(3, 4, size))
        state = tuple(fenced(s) for s in states(recurrent, 3))
        with ur.engine("cpu"):
            with torch.no_grad():
                quiet = flat(recurrent(x, given(state)))
            x.requires_grad_()
            results = flat(recurrent(x, given(state)))
            sum(r.sum() for r in results).backward()
        for a, b in zip(quiet, results, strict=True):
            torch.testing.assert_close(a, b)


LAYOUTS = ["rows", "steps", "features", "gaps", "expanded"]


def laid_out(x, how):
    if how == "steps":
        return x.transpose(0, 1).contiguous().transpose(0, 1)
    if how == "features":
        return x.movedim(2, 0).contiguous().movedim(0, 2)
    if how == "gaps":
        return torch.cat([x, x], 2)[:, :, : x.shape[2]]
    if how == "expanded":
        return x[:1].expand(x.shape)
    return x


@settings(max_examples=60)
@over(st.data())
def test_anything_at_all(data):
    name = data.draw(st.sampled_from(sorted(EVERY)))
    batch, time = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 6))
    size, hidden = data.draw(st.integers(1, 18)), data.draw(st.integers(1, 18))
    options = {
        "num_layers": data.draw(st.integers(1, 3)),
        "bidirectional": data.draw(st.booleans()),
        "bias": data.draw(st.booleans()),
    }
    single, double = (layer(name, size, hidden, double=d, **options) for d in (False, True))
    indexed = data.draw(st.booleans())
    x = torch.randint(0, size, (batch, time)) if indexed else torch.randn(batch, time, size)
    if not indexed:
        x = laid_out(x, data.draw(st.sampled_from(LAYOUTS)))
    calls = {}
    if data.draw(st.booleans()):
        calls["lengths"] = data.draw(st.lists(st.integers(0, time), min_size=batch, max_size=batch))
    if data.draw(st.booleans()):
        calls["reset"] = torch.rand(batch, time) < data.draw(st.sampled_from([0.1, 0.9]))
    check(single, double, x, states(single, batch), gradients=data.draw(st.booleans()), **calls)


@pytest.mark.parametrize("hidden", [5, 16, 33])
@pytest.mark.parametrize("name", sorted(EVERY))
def test_each_thread_makes_its_rows_part_of_the_sums(name, hidden, set_threads):
    set_threads(3)
    options = {"proj_size": 3} if name == "lstm" and hidden == 33 else {}
    recurrent = layer(name, 16, hidden, **options)
    double = layer(name, 16, hidden, double=True, **options)
    lengths = torch.tensor([7, 0, 9, 9, 1, 4, 2, 9, 8, 3, 6, 5, 9])
    for more in ({}, {"lengths": lengths}):
        x, state = torch.randn(13, 9, 16), states(recurrent, 13)
        check(recurrent, double, x, state, **more)
    both_ways = layer(name, 16, hidden, bidirectional=True, **options)
    double = layer(name, 16, hidden, double=True, bidirectional=True, **options)
    check(both_ways, double, torch.randn(13, 9, 16), states(both_ways, 13))
