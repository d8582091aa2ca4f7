"""What is kept between calls: by several threads at once, within bounds, and right after an interrupt."""

import gc
import random
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest
import torch

import unrolled as ur
from unrolled.scan import stack
from unrolled.scan.cpu import alike, lent, pack, plans, pool, practice, ready, room, trial
from unrolled.scan.cpu.claim import workers
from unrolled.scan.cpu.pool import Pool
from unrolled.scan.cpu.trial import Trial, trial_of


@pytest.fixture
def switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_many_threads_lay_by_and_take(monkeypatch):
    for module in (plans, alike, trial):
        monkeypatch.setattr(module, "MOST", 3)
    kinds, failed, end = alike.Kinds(), [], time.monotonic() + 2
    owner = torch.zeros(1)

    def run(seed):
        draw = random.Random(seed)
        try:
            while time.monotonic() < end:
                key = ("tests", draw.randrange(40))
                plans.shelf(key).give(plans.shelf(key).take() or object())
                trial_of(key)
                if kinds.get(key) is None:
                    kinds.put(key, object(), owner)
                kinds.items()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(plans._used) <= 3 + len(threads)
    assert len(kinds) <= 3 + len(threads)


def test_those_that_come_all_the_time_stay(monkeypatch):
    monkeypatch.setattr(plans, "_used", {})
    often = object()
    own = plans.shelf("often")
    own.give(often)
    for other in range(3 * plans.MOST):
        plans.shelf(other).give(object())
        assert own.take() is often
        own.give(often)
    assert len(plans._used) == plans.MOST


def test_a_shelf_is_one_for_all_who_hold_it(monkeypatch):
    monkeypatch.setattr(plans, "_used", {})
    own, plan = plans.shelf("own"), object()
    assert plans.shelf("own") is own
    own.give(plan)
    assert own.take() is plan
    for other in range(plans.MOST):
        plans.shelf(other).give(object())
    assert own not in plans._used
    own.give(plan)
    assert plans.shelf("own") is own
    assert own in plans._used
    assert len(plans._used) == plans.MOST
    plans.clear()
    assert own.plans == []
    assert not plans._used


def test_training_goes_on_alike_after_its_plans_went():
    module, x = ur.LSTM(8, 16), torch.randn(6, 2, 8)

    def step(layer, x):
        layer(x)[0].sum().backward()

    for _ in range(3):
        step(module, x)
    for hidden in range(1, plans.MOST + 6):  # which clear its shelf
        step(ur.LSTM(3, hidden), torch.randn(2, 1, 3))
    step(module, x.clone().requires_grad_())  # looks for the shelf anew
    for _ in range(20):
        step(module, x)
    assert [len(s.plans) for s in plans._used if s.key[0] == module.stack] == [1]


def test_another_kind_in_ones_place_leaves_nothing():
    kinds, owner = alike.Kinds(), torch.zeros(1)
    before = len(weakref.finalize._registry)
    for _ in range(5):
        kinds.put("key", object(), owner)
    assert len(weakref.finalize._registry) == before + 1
    kinds.drop("key")
    assert len(weakref.finalize._registry) == before


def test_two_layers_alike_keep_to_the_short_way(monkeypatch):
    made, remember = [], practice._remember
    monkeypatch.setattr(practice, "_remember", lambda *given: made.append(1) or remember(*given))
    encoder, decoder = (ur.LSTM(5, 5, num_layers=2, batch_first=True) for _ in range(2))
    for _ in range(4):
        output, state = encoder(torch.randn(2, 6, 5))
        decoder(output, state)[0].sum().backward()
    assert len(made) <= 4


def test_layers_made_and_dropped_leave_no_more_than_so_many(monkeypatch):
    monkeypatch.setattr(pack, "_MOST", 5)
    for size in range(1, 12):
        ur.GRU(3, size)(torch.randn(4, 2, 3))[0].sum().backward()
    assert len(pack._packings) <= 5


def test_a_wrong_call_keeps_no_more_than_a_right_one(monkeypatch):
    monkeypatch.setattr(ready, "MOST_FLOATS", 1)
    layer, x = ur.GRU(3, 4), torch.randn(5, 2, 3)
    with torch.no_grad():
        for _ in range(3):
            layer(x)
        with pytest.raises(ur.Error, match="hidden"):
            layer(x, torch.zeros(1, 3, 4))
    assert not any(kind.floats for _, kind in ready._kinds.items() if kind.stack is layer.stack)


def test_cells_of_one_name_have_names_of_their_own_in_graphs():
    def cell():
        def twin(x, r, h):
            return torch.tanh(x[0] + r[0])

        return ur.cell(gates=1)(twin)

    twins = [cell() for _ in range(200)]
    names = [ur.Recurrent(twin, 3, 4).stack.name for twin in [*twins, *twins]]
    assert len(set(names)) == len(twins)
    assert names[:200] == names[200:]
    assert max(map(len, names)) < len(names[0]) + 6
    assert [stack.named(name).cell for name in names[:200]] == twins


class InterruptError(Exception):
    pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in a __del__ they are lost
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no such timer on this system")
def test_after_interrupts_all_is_as_before(two_threads):
    layer, x, draw, count = ur.LSTM(16, 32, batch_first=True), torch.randn(16, 12, 16), random.Random(0), 0

    def raises(*_):
        raise InterruptError

    before = signal.signal(signal.SIGALRM, raises)
    end = time.monotonic() + 3
    try:
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(5e-5, 1.5e-3))
                for _ in range(50):
                    room.clear()  # so that memory is made in most steps
                    plans.clear()
                    layer(x)[0].square().sum().backward()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except InterruptError:
                count += 1
            assert torch.is_grad_enabled()
            assert not pool.current._owner
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert count > 20


def test_whoever_is_interrupted_lets_the_workers_go(monkeypatch, two_threads):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(pool.time, "perf_counter", interrupted)
    monkeypatch.setattr(Pool, "lively", lambda *_: True)
    with pytest.raises(KeyboardInterrupt), workers(100.0, Trial()):
        pass
    gc.collect()
    assert not pool.current._owner


@pytest.mark.parametrize("kept", ["", "kept = layer(torch.randn(2, 6, 8))"])
def test_a_program_ends_without_a_word(kept):
    code = f"""
import torch, unrolled as ur
from unrolled.scan.cpu import plans
layer = ur.LSTM(8, 16)
for _ in range(4):
    layer(torch.randn(2, 6, 8))[0].sum().backward()
{kept}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_training_step_changes_no_mode(monkeypatch):
    def fails(*_):
        raise AssertionError

    layer, x = ur.RNN(3, 5), torch.randn(4, 2, 3)
    lent.clear()
    monkeypatch.setattr(torch, "inference_mode", fails)
    layer(x)[0].sum().backward()


def test_calls_that_get_other_workers_than_they_asked_for_are_no_trial(two_threads, monkeypatch):
    kind = Trial()
    monkeypatch.setattr(Pool, "lively", lambda *_: True)
    with workers(1000.0) as (_, count):
        assert count == 2
        for _ in range(5):
            with workers(100.0, kind) as (_, granted):
                assert granted == 1
    assert not kind._took
