"""Two workers, of whom one makes the input product while the other takes the steps."""

import threading

import pytest
import torch

import unrolled as ur
from unrolled.scan.cpu import claim, layer, plans, practice, training, trial
from unrolled.scan.cpu.division import Division, division
from unrolled.scan.cpu.fields import FIELDS
from unrolled.scan.cpu.geometry import Geometry
from unrolled.scan.cpu.layer import Layer
from unrolled.scan.cpu.program import forward_kernel

KINDS = [(ur.RNN, 96, 1), (ur.GRU, 64, 2), (ur.LSTM, 61, 3)]
"""Layers whose steps take about as long as their input product, with so many units and rows."""


@pytest.fixture
def fed(monkeypatch):
    """Every division into whom that concerns; whoever calls has workers at once, as long calls have."""
    made = []

    def noted(*given):
        made.append(division(*given))
        return made[-1]

    monkeypatch.setattr(layer, "division", noted)
    monkeypatch.setattr(claim, "LONG", 0)
    for module in (practice, training):
        monkeypatch.setattr(module, "ALONE", 0)
    monkeypatch.setattr(trial.Stalls, "resting", lambda _: False)  # where other programs run
    plans.clear()
    yield made
    plans.clear()
    assert Division(1, 1, True) in made


def layer_of(m, rows, time, workers=2):
    kernel = forward_kernel(m.stack, False)
    return Layer(Geometry(m.stack, kernel.shape, m.input_size, rows, time), workers, False, False, False)


def both(set_threads, run):
    """What `run` gives on one thread, and on two."""
    results = []
    for threads in (1, 2):
        set_threads(threads)
        results.append(run())
    return results


@pytest.mark.parametrize(("kind", "size", "rows"), KINDS)
def test_the_same_bits_wherever_the_ring_ends(kind, size, rows, fed, set_threads):
    m = kind(size, size)
    fields = layer_of(m, rows, 5000)
    chunk, ring = (int(fields.groups[0].block[n]) for n in (FIELDS["chunk"], FIELDS["ring"]))
    assert ring % chunk == 0
    assert ring > chunk
    for time in (1, 2, chunk, chunk + 1, 3 * chunk - 1, ring - 1, ring, ring + 1, 3 * ring + chunk + 1):
        x = torch.randn(time, rows, size)
        reset = torch.rand(time, rows) < 0.1

        def run(x=x, reset=reset):
            with torch.inference_mode():
                return [m(x)[0] for _ in range(3)] + [m(x, reset=reset)[0]]

        alone, shared = both(set_threads, run)
        assert all(map(torch.equal, alone, shared)), time


@pytest.mark.parametrize(("kind", "size", "rows"), KINDS)
@pytest.mark.usefixtures("guarded")
def test_gradients_too(kind, size, rows, fed, set_threads):
    m = kind(size, size)
    x = torch.randn(70, rows, size, requires_grad=True)
    lengths = torch.tensor([70, 0, 31][:rows])

    def run():
        found = []
        for options in ({}, {"lengths": lengths}):
            output, _ = m(x, **options)
            found += [output.detach(), *torch.autograd.grad(output.square().sum(), [x, *m.parameters()])]
        return found

    alone, shared = both(set_threads, run)
    for a, b in zip(alone, shared, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_each_direction_has_two_workers_of_its_own():
    m = ur.GRU(64, 64, bidirectional=True)
    assert [len(own) for own in layer_of(m, 1, 50, 4)._jobs] == [1, 0, 1, 0]
    for workers in (2, 3):  # too few
        assert layer_of(m, 1, 50, workers)._ahead is None


def test_many_workers_share_what_two_would_wait_for():
    m = ur.GRU(128, 128)
    assert layer_of(m, 7, 50, 2)._ahead is not None
    for workers in (4, 8):
        assert layer_of(m, 7, 50, workers)._ahead is None
        assert all(layer_of(m, 7, 50, workers)._jobs)


def test_many_threads_at_once(fed, set_threads):
    set_threads(2)
    m = ur.RNN(96, 96)
    inputs = [torch.randn(300, 1, 96) for _ in range(6)]
    with torch.inference_mode():
        wanted = [m(x)[0] for x in inputs]
    wrong = []

    def run(x, output):
        with torch.inference_mode():
            for _ in range(200):
                if not torch.equal(m(x)[0], output):
                    wrong.append(x)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(inputs, wanted, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_cell_that_reads_no_input_has_nothing_to_run_ahead_with(monkeypatch, set_threads):
    @ur.cell(gates=1)
    def closed(x, r, h):
        return torch.tanh(r[0] + 0.1)

    monkeypatch.setattr(claim, "LONG", 0)
    set_threads(2)
    m = ur.Recurrent(closed, 96, 96)
    x = torch.zeros(3000, 1, 96)
    with ur.engine("reference"), torch.no_grad():
        wanted = m(x)[0]
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(m(x)[0], wanted, rtol=1e-4, atol=1e-5)


def test_in_a_single_step_nobody_runs_ahead():
    m = ur.LSTM(384, 256)
    assert layer_of(m, 1, 2)._ahead is not None
    assert layer_of(m, 1, 1)._ahead is None


def test_symbols_and_projections_have_nothing_to_run_ahead_with():
    plain, narrow = ur.LSTM(64, 64), ur.LSTM(64, 64, proj_size=32)
    assert layer_of(plain, 2, 50)._ahead is not None
    kernel = forward_kernel(narrow.stack, False)
    projected = Layer(Geometry(narrow.stack, kernel.shape, 64, 2, 50), 2, False, False, False)
    kernel = forward_kernel(plain.stack, False)
    symbols = Layer(Geometry(plain.stack, kernel.shape, 64, 2, 50), 2, False, True, False)
    assert projected._ahead is None
    assert symbols._ahead is None
