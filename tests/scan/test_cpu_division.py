"""How a layer is divided among few workers and many."""

import pytest
import torch
from cpu_cases import check, layer, states

import unrolled as ur
from unrolled.scan.cpu import layer as layers
from unrolled.scan.cpu import plans, pool, practice, training, trial
from unrolled.scan.cpu.division import Division, division
from unrolled.scan.cpu.geometry import Geometry
from unrolled.scan.cpu.machine import machine
from unrolled.scan.cpu.program import forward_kernel
from unrolled.scan.cpu.shape import panels


def divided(module, batch, workers, training=False, time=100):
    stack = module.stack
    kernel = forward_kernel(stack.cell, True, False, training, machine())
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
    module = ur.LSTM(128, 8 * machine().width)
    for trains in (False, True):
        assert divided(module, 32, 16, trains) == Division(8, 2)
    # In training sums hang on the groups, and the workers may be another's.
    assert divided(module, 32, 1, True) == Division(8, 1)
    both = ur.LSTM(128, 8 * machine().width, bidirectional=True)
    assert divided(both, 32, 16) == Division(8, 1)


@pytest.fixture
def shared(monkeypatch):
    """Every division; whoever calls has workers, as long calls have."""
    made = []

    def noted(*given):
        made.append(division(*given))
        return made[-1]

    monkeypatch.setattr(layers, "division", noted)
    monkeypatch.setattr(pool, "LONG", 0)
    for module in (practice, training):
        monkeypatch.setattr(module, "ALONE", 0)
    monkeypatch.setattr(trial.Stalls, "resting", lambda _: False)
    plans.clear()
    yield made
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
        assert any(groups > 1 < together for groups, together, _ in shared)


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
    assert {d.groups * d.together for d in shared} >= {1, 16}
