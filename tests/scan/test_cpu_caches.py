"""What is done otherwise where weights, or a step's gradients, leave the second cache."""

import re

import pytest
import torch
from cpu_cases import check, layer, states

import unrolled as ur
from unrolled.scan.cpu import forward, outcome, plans
from unrolled.scan.cpu import layer as layers
from unrolled.scan.cpu import machine as machines
from unrolled.scan.cpu.division import division
from unrolled.scan.cpu.products import CAP, tiles
from unrolled.scan.cpu.program import forward_kernel


@pytest.fixture
def no_cache(monkeypatch):
    """As if no core had a second cache."""
    monkeypatch.setattr(machines, "_l2", lambda: 0)
    machines._machine.cache_clear()
    plans.clear()
    yield
    monkeypatch.undo()
    machines._machine.cache_clear()
    plans.clear()


@pytest.fixture
def noted(monkeypatch):
    """Whether each group's tiles fetch, the gates that its backward scan takes together, and the workers
    that a layer is divided among."""
    fetching, gates, workers = [], [], []
    fetch, tell = layers.Group._weights_leave, outcome.Derived.set

    def told(block, **fields):
        if set(fields) == {"groups"}:
            gates.append(fields["groups"])
        tell(block, **fields)

    def divided(*given):
        found = division(*given)
        workers.append(found.groups * found.together)
        return found

    monkeypatch.setattr(
        layers.Group, "_weights_leave", lambda *a: fetching.append(fetch(*a)) or fetching[-1]
    )
    monkeypatch.setattr(layers, "division", divided)
    monkeypatch.setattr(outcome.Derived, "set", told)
    return fetching, gates, workers


@pytest.mark.usefixtures("guarded", "no_cache", "always_shared")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("name", "proj_size"),
    [
        *(("rnn_tanh", 0), ("gru", 0), ("lstm", 0), ("lstm", 19), ("minimal_gated_unit", 0)),
        *(("peephole_lstm", 0), ("slstm", 0), ("of_ones_own", 0), ("min_gru", 0)),
    ],
)
def test_weights_that_leave_the_cache(name, proj_size, threads, set_threads, noted):
    set_threads(threads)
    fetching, gates, workers = noted
    for hidden, batch in ((37, 1), (37, 29), (48, 29), (48, 70), (48, 10)):
        single, double = (layer(name, 21, hidden, double=d, proj_size=proj_size) for d in (False, True))
        for parameter in single.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        x, state = torch.randn(batch, 3, 21), states(single, batch)
        for how in ({}, {"lengths": torch.randint(0, 4, (batch,))}):
            check(single, double, x, state, **how)
    assert fetching
    assert all(fetching)
    assert set(gates) == {1}
    assert (max(workers) > 1) == (threads > 1)


@pytest.mark.parametrize("kind", [ur.RNN, ur.GRU, ur.LSTM])
def test_the_same_bits_wherever_weights_lie(kind, request, noted):
    x, module = torch.randn(6, 70, 21), kind(21, 37)
    with torch.inference_mode(), ur.engine("cpu"):
        wanted = module(x)[0]
        assert set(noted[0]) == {False}
        request.getfixturevalue("no_cache")
        assert torch.equal(module(x)[0], wanted)
        assert noted[0][-1]


def test_gates_go_together_while_they_stay_in_the_cache(noted):
    module = ur.LSTM(21, 37)
    with ur.engine("cpu"):
        module(torch.randn(3, 29, 21))[0].sum().backward()
    assert set(noted[1]) == {4}


@pytest.mark.parametrize("kind", [ur.RNN, ur.GRU, ur.LSTM])
def test_only_the_tiles_of_many_rows_fetch(kind):
    stack, host = kind(21, 37).stack, machines.machine()
    source = forward.emit(forward_kernel(stack, False).shape)
    cut = tiles(stack.cell.gates, host.registers)
    for height in cut.sizes:
        last = re.findall(rf"call void @r_{height}_\d+\(.*, ptr ([^ ]+)\)", source)
        assert last
        assert any(argument != "null" for argument in last) == (height in cut.sizes[-2:])


@pytest.mark.parametrize("registers", [16, 32])
@pytest.mark.parametrize("columns", range(1, 10))
def test_tiles_fit_the_registers_and_cut_any_number_of_rows(columns, registers):
    cut = tiles(columns, registers)
    for height, span in cut.spans.items():
        assert columns % span == 0
        for panels in cut.widths[height]:
            taken = height * span * panels + (span * panels if height > 1 else 1) + 1
            assert taken <= min(registers, 30) or height == panels == 1
    table = cut.table()
    for rows in range(1, CAP + 1):
        left = rows
        while left:
            assert table[left] in cut.sizes
            left -= table[left]
        assert left == 0
