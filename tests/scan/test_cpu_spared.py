"""What a training step keeps of every step, and what its backward makes again."""

import pytest
import torch
from cpu_cases import check, layer, states

import unrolled as ur
from unrolled.scan.cpu import claim, practice, training, trial
from unrolled.scan.cpu.outcome import Outcome
from unrolled.scan.cpu.program import forward_kernel

WANTED = {
    # cell: (values kept of each step and unit, states of which none is)
    "rnn_tanh": (0, set()),
    "gru": (4, set()),
    "lstm": (4, {0}),
    "peephole_lstm": (4, {0}),
    "cifg_lstm": (3, {0}),
    "min_gru": (2, {0}),
    "sru": (4, {0}),
    "delayed": (2, {1}),
}


@pytest.mark.parametrize("name", WANTED)
def test_what_is_kept(name):
    plan = forward_kernel(layer(name, 9, 17).stack, True).shape.plan
    assert (len(plan.saved), plan.spared) == WANTED[name]


def test_a_step_of_an_lstm_holds_five_values_a_unit_beside_its_output(monkeypatch):
    made, take = [], training._Held
    monkeypatch.setattr(training, "_Held", lambda *a: made.append(a[1]) or take(*a))
    batch, time, hidden = 8, 50, 64
    with ur.engine("cpu"):
        layer("lstm", 3, hidden)(torch.randn(batch, time, 3))
    (course,) = made
    assert course.floats == pytest.approx(5 * batch * time * hidden, rel=0.02)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    ("name", "proj_size"),
    [
        *(("lstm", 0), ("lstm", 1), ("lstm", 17), ("cifg_lstm", 0), ("cifg_lstm", 17)),
        *(("rnn_tanh", 3), ("min_gru", 0), ("sru", 0), ("delayed", 0)),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_made_again_or_lies_in_two_slots(name, proj_size, threads, set_threads):
    set_threads(threads)
    options = {"proj_size": proj_size, "bidirectional": True}
    single, double = (layer(name, 5, 19, double=d, **options) for d in (False, True))
    for batch, time in ((1, 1), (1, 9), (6, 2), (3, 7)):
        x, state = torch.randn(batch, time, 5), states(single, batch)
        reset, lengths = torch.rand(batch, time) < 0.4, torch.randint(0, time + 1, (batch,))
        for how in ({}, {"reset": reset}, {"lengths": lengths}, {"lengths": lengths, "reset": reset}):
            check(single, double, x, state, **how)


@pytest.mark.usefixtures("guarded")
def test_one_row_shared_by_units_makes_its_outputs_again(two_threads, monkeypatch):
    monkeypatch.setattr(claim, "LONG", 0.0)
    for module in (practice, training):
        monkeypatch.setattr(module, "ALONE", 0.0)
    monkeypatch.setattr(trial.Stalls, "resting", lambda self: False)
    shared, scans = [], Outcome.scans
    monkeypatch.setattr(Outcome, "scans", lambda own, *a: shared.append(a[3]) or scans(own, *a))
    single, double = (layer("lstm", 40, 80, double=d) for d in (False, True))
    for parameter in single.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    check(single, double, torch.randn(1, 23, 40), states(single, 1), reset=torch.rand(1, 23) < 0.3)
    assert shared == [2]


def test_a_second_backward_makes_them_again_after_the_output_was_written():
    module, x = layer("lstm", 3, 9), torch.randn(2, 6, 3)
    with ur.engine("cpu"):
        output, _ = module(x)
        total = (output * 1.0).sum()
        wanted = torch.autograd.grad(total, [*module.parameters()], retain_graph=True)
        with torch.no_grad():
            output.zero_()
        found = torch.autograd.grad(total, [*module.parameters()])
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)
