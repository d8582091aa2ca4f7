"""How a layer is divided among few workers and many."""

import math

import pytest
import torch
from cpu_cases import check, layer, states

import unrolled as ur
from unrolled.scan.cpu import gradients, plans
from unrolled.scan.cpu import layer as layers
from unrolled.scan.cpu.claim import ALONE
from unrolled.scan.cpu.division import MANY, Division, cost, division, sharing
from unrolled.scan.cpu.geometry import Geometry
from unrolled.scan.cpu.machine import machine
from unrolled.scan.cpu.program import forward_kernel
from unrolled.scan.cpu.shape import panels


def divided(module, batch, workers, training=False, time=100):
    stack = module.stack
    kernel = forward_kernel(stack, training)
    features = module.input_size
    return division(Geometry(stack, kernel.shape, features, batch, time), features, workers, training)


@pytest.mark.parametrize("kind", [ur.RNN, ur.GRU, ur.LSTM])
@pytest.mark.parametrize(("batch", "units"), [(32, 8), (4, 16), (1, 32), (64, 8), (7, 5)])
def test_more_workers_never_leave_more_to_one(kind, batch, units):
    module, shares = kind(64, units * machine().width), []
    for workers in range(1, 65):
        groups, together, fed = divided(module, batch, workers)
        assert groups * together <= workers
        if not fed:
            shares.append(panels(batch, groups) * panels(units, together))
    assert shares == sorted(shares, reverse=True)


def test_rows_and_units_are_shared_where_neither_is_enough(set_threads):
    set_threads(16)
    module = ur.LSTM(128, 128)
    for trains in (False, True):
        assert divided(module, 32, 16, trains) == Division(8, 2)
    # In training sums hang on the groups, and the workers may be another's.
    assert divided(module, 32, 1, True) == Division(8, 1)
    assert divided(ur.LSTM(128, 128, bidirectional=True), 32, 16) == Division(8, 1)


def test_a_large_layers_rows_go_apart_where_each_worker_has_many(set_threads):
    set_threads(4)
    units = math.isqrt(machine().l2 // 12) // 16 * 16  # whose weights just fit the second cache
    large, fitting = ur.GRU(64, 3 * units), ur.GRU(64, units)
    for trains in (False, True):
        assert divided(large, 4 * MANY, 4, trains) == Division(4, 1)
        assert divided(large, 4 * MANY - 1, 4, trains) == Division(2, 2)
        assert divided(large, 2 * MANY - 1, 4, trains) == Division(1, 4)
        assert divided(fitting, 16, 4, trains) == Division(4, 1)


def test_what_another_worker_makes_is_read_by_small_layers_alone(set_threads):
    set_threads(2)
    units = math.isqrt(machine().l2 // 16) // 16 * 16
    assert divided(ur.LSTM(units, units), 6, 2).fed
    assert not divided(ur.LSTM(units + 16, units + 16), 6, 2).fed


def test_more_threads_leave_as_much_to_share(set_threads):
    for module, batch, time in (
        (ur.GRU(64, 64), 1, 100),
        (ur.RNN(128, 128), 1, 70),
        (ur.LSTM(64, 64), 1, 40),
    ):
        found = []
        for threads in (2, 3, 4, 8, 16, 64):
            set_threads(threads)
            found.append(cost(module.stack, module.input_size, batch, time) >= ALONE)
        assert all(found)


@pytest.fixture
def shared(monkeypatch, always_shared):
    """Every division, and how many share a group's units in its backward scan."""
    made, back = [], []

    def noted(*given):
        made.append(division(*given))
        return made[-1]

    def shares(*given):
        back.append(sharing(*given))
        return back[-1]

    monkeypatch.setattr(layers, "division", noted)
    monkeypatch.setattr(gradients, "sharing", shares)
    plans.clear()
    yield made, back
    plans.clear()


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("name", ["rnn_tanh", "gru", "lstm", "sru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_gradient_however_it_is_divided(name, bidirectional, shared, set_threads):
    sizes = [(4, 13, 128), (16, 9, 37), (16, 32, 128), (16, 16, 128), (12, 5, 100), (7, 1, 64)]
    for threads, batch, hidden in sizes:
        set_threads(threads)
        single, double = (
            layer(name, 9, hidden, double=d, bidirectional=bidirectional) for d in (False, True)
        )
        for parameter in single.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        x, reset = torch.randn(batch, 4, 9), torch.rand(batch, 4) < 0.3
        check(single, double, x, states(single, batch), reset=reset)
        check(single, double, x, states(single, batch), lengths=torch.randint(0, 5, (batch,)))
    if name != "sru":
        made, back = shared
        assert any(groups > 1 < together for groups, together, _ in made)
        assert max(back) > 2


@pytest.mark.parametrize("kind", [ur.RNN, ur.GRU, ur.LSTM])
def test_the_same_bits_on_any_number_of_threads(kind, shared, set_threads):
    module, x = kind(40, 128), torch.randn(6, 32, 40)
    found = []
    for threads in (1, 2, 3, 5, 8, 12, 16):
        set_threads(threads)
        with torch.inference_mode():
            found.append(module(x)[0])
    for output in found[1:]:
        assert torch.equal(output, found[0])
    assert {d.groups * d.together for d in shared[0]} >= {1, 16}
