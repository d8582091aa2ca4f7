"""Who computes a short call: the caller alone, or workers that are awake or worth waking."""

import sys
import time
from pathlib import Path

import pytest
import torch
from cpu_cases import flat

import unrolled as ur
from unrolled.scan.cpu import claim, pool, ready, trial
from unrolled.scan.cpu.claim import ALONE, LONG, workers
from unrolled.scan.cpu.division import cost
from unrolled.scan.cpu.pool import Pool
from unrolled.scan.cpu.team import WARM, Team


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now

    def perf_counter(self):
        return self.now


def test_sleeping_workers_are_woken_by_calls_that_follow_fast(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pool, "time", clock)
    monkeypatch.setattr(Team, "there", True)
    monkeypatch.setattr(Team, "warm", False)
    sleeping = Pool()

    def calls(apart, count):
        found = []
        for _ in range(count):
            clock.now += apart
            found.append(sleeping.lively(2))
        return found

    assert not any(calls(2 * WARM, 20))
    assert calls(WARM / 10, 8) == [False] * 6 + [True] * 2  # the last of the slow ones counts as the first
    assert not any(calls(2 * WARM, 1))
    monkeypatch.setattr(Team, "warm", True)
    assert all(calls(2 * WARM, 3))


def test_what_is_worth_sharing(two_threads):
    rnn, lstm = ur.RNN(64, 64).stack, ur.LSTM(64, 64).stack
    # Of a single row the units are shared, with a meeting after every step,
    assert cost(rnn, 0, 1, 100) < ALONE < cost(lstm, 256, 1, 100) < LONG
    # unless one worker makes the input product and the other takes the steps.
    assert ALONE < cost(rnn, 64, 1, 100) < LONG
    assert cost(rnn, 64, 64, 100) == 64 / 16 * cost(rnn, 64, 16, 100)
    sru = ur.Recurrent(ur.cells.sru, 64, 64).stack
    assert cost(sru, 64, 2, 100) == 2 * cost(sru, 64, 1, 100)


class Tried:
    """Calls of one kind that take what they are said to, one after the other."""

    def __init__(self, clock):
        self.trial, self.clock = trial.Trial(), clock

    def calls(self, alone, shared, count, apart=0.0):
        found = []
        for _ in range(count):
            self.clock.now += apart
            found.append(self.trial.choose(2))
            took = shared if found[-1] == 2 else alone
            self.clock.now += took
            self.trial.note(found[-1], took)
        return found


@pytest.fixture
def tried(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(trial, "time", clock)
    monkeypatch.setattr(trial, "_SPAN", 0.0)
    return Tried(clock)


TRYING = [2] * trial._SHARED + [1] * trial._ALONE


def test_a_trial_takes_the_faster_way_for_a_while(tried):
    few, most = trial._FEW, trial._MANY
    assert tried.calls(1e-4, 13e-5, len(TRYING) + few) == TRYING + [1] * few
    assert tried.calls(1e-4, 8e-5, len(TRYING) + few) == TRYING + [2] * few
    assert tried.trial.choose(3) == 3  # of another number of threads nothing is known
    held = few
    while held < most:  # what is found again holds twice as long, up to a limit
        held *= 2
        assert tried.calls(1e-4, 8e-5, len(TRYING) + held) == TRYING + [2] * held
    assert tried.calls(1e-4, 8e-5, len(TRYING) + most) == TRYING + [2] * most
    # The host changes its mind, and so does the trial, for a short time again.
    assert set(tried.calls(1e-4, 13e-5, len(TRYING) + few)[len(TRYING) :]) == {1}
    assert tried.calls(1e-4, 13e-5, len(TRYING)) == TRYING


def test_a_call_that_takes_far_longer_alone_is_tried_once(tried):
    few = trial._FEW
    once = [2] * trial._SHARED + [1]
    assert tried.calls(1e-4, 4e-5, len(once) + few) == once + [2] * few


def test_workers_that_slept_are_given_time(tried, monkeypatch):
    monkeypatch.setattr(trial, "_SPAN", 5e-3)
    assert tried.calls(1e-4, 5e-4, 8) == [2] * 8  # one core for both of them
    found = tried.calls(1e-4, 4e-5, 22 + trial._FEW)  # now they are apart
    assert found.count(1) == 1
    assert found.index(1) >= 20


def test_calls_that_become_slow_are_tried_anew(tried):
    few, often = trial._FEW, trial._OFTEN
    tried.calls(1e-4, 8e-5, 20 * few)
    # Another program has taken a core: each meeting waits for it.
    found = tried.calls(1e-4, 5e-3, often + len(TRYING) + few)
    assert found == [2] * often + TRYING + [1] * few


def test_after_a_pause_a_trial_looks_again_soon(tried):
    few = trial._FEW
    tried.calls(1e-4, 13e-5, 20 * few)
    tried.clock.now += 2 * trial._PAUSE
    # Workers may be where they can share again; what was found holds meanwhile.
    assert tried.calls(1e-4, 8e-5, few + len(TRYING)) == [1] * few + TRYING
    assert set(tried.calls(1e-4, 8e-5, few)) == {2}


def test_calls_far_apart_are_not_tried_at_each(tried):
    found = tried.calls(1e-4, 8e-5, 50 * (trial._FEW + len(TRYING)), apart=2 * trial._PAUSE)
    assert 0 < found.count(1) <= 50 * trial._ALONE


ASKING = claim._Workers


class Settled:
    """Calls that have workers, awake, and take so many seconds alone or shared."""

    def __init__(self, clock, cost):
        self.trial, self.clock, self.cost, self.asked = trial.Trial(), clock, cost, 0

    def ask(self, *given):
        self.asked += 1
        return ASKING(*given)

    def calls(self, alone, shared, count):
        found = []
        for _ in range(count):
            with workers(self.cost, self.trial) as (_, granted):
                found.append(granted)
                self.clock.now += alone if granted == 1 else shared
            pool.current.team.last = self.clock.now
        return found


@pytest.fixture(params=[ALONE + 1, LONG + 1])
def settled(request, monkeypatch, two_threads):
    clock = Clock()
    for module in (claim, pool, trial):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(trial, "_SPAN", 0.0)
    monkeypatch.setattr(pool, "current", Pool())
    monkeypatch.setattr(Pool, "lively", lambda *_: True)
    made = Settled(clock, request.param)
    made.short = request.param < LONG
    monkeypatch.setattr(claim, "_Workers", made.ask)
    return made


def test_calls_that_are_as_ever_go_the_same_way_without_more_ado(settled, set_threads):
    found = settled.calls(1e-4, 8e-5, 3000)
    assert settled.asked < 3000 / trial._QUICK + 20 * len(TRYING)
    assert found.count(1) <= 20 * trial._ALONE
    assert not pool.current._owner
    set_threads(1)  # is obeyed at once
    assert set(settled.calls(1e-4, 8e-5, 40)) == {1}
    set_threads(2)
    assert settled.calls(1e-4, 8e-5, 1000)[-900:].count(2) > 800
    if settled.short:  # the host changes its mind
        assert set(settled.calls(1e-4, 13e-5, 3000)[-500:]) == {1}
        asked = settled.asked
        assert set(settled.calls(1e-4, 13e-5, 5000)) == {1, 2}
        assert settled.asked - asked < 5000 / trial._QUICK + 5 * len(TRYING)


def test_calls_that_stall_go_alone_though_they_went_without_more_ado(settled):
    settled.calls(1e-4, 8e-5, 500)
    found = settled.calls(1e-4, 9e-3, 500)  # another program has a core
    assert found.count(2) < 60
    found = settled.calls(1e-4, 8e-5, 4000)  # no more
    assert found[-500:].count(2) > 450
    assert not pool.current._owner


def test_workers_that_sleep_or_that_another_has_are_not_taken(settled):
    settled.calls(1e-4, 8e-5, 500)
    while settled.trial.quick < 3:
        settled.calls(1e-4, 8e-5, 1)
    with workers(1e6) as (_, count):
        assert count == 2
        asked = settled.asked
        assert settled.calls(1e-4, 8e-5, 1) == [1]
    assert settled.calls(1e-4, 8e-5, 1) == [2]
    assert settled.asked == asked
    settled.clock.now += 2 * WARM
    settled.calls(1e-4, 8e-5, 1)
    assert settled.asked == asked + 1
    assert not pool.current._owner
    assert len(settled.trial.claims) == 1  # it lies by for the next


def test_a_trial_that_changes_its_mind_meanwhile_leaves_nobody_the_workers(settled):
    settled.calls(1e-4, 8e-5, 500)
    while not settled.trial.quick:
        settled.calls(1e-4, 8e-5, 1)
    call = workers(settled.cost, settled.trial)
    settled.trial.way = 1  # by another thread
    with call as (_, count):
        assert count == 1
    assert not pool.current._owner


@torch.no_grad()
def test_short_calls_are_the_same_shared_or_not(monkeypatch, two_threads):
    monkeypatch.setattr(Pool, "lively", lambda self, wanted: True)
    module, x = ur.LSTM(48, 64, batch_first=True), torch.randn(1, 60, 48)
    wanted, used = flat(module(x)), set()
    monkeypatch.setattr(trial, "_SPAN", 0.0)
    for _ in range(len(TRYING) + 4):
        got = flat(module(x))
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
        kind = next(k for _, k in ready._kinds.items() if k.stack is module.stack)
        used |= {count for count, own in kind.ready.items() if own}
    assert used == {1, 2}


def test_backward_by_other_workers_than_forward(set_threads):
    module, x = ur.LSTM(40, 200), torch.randn(60, 1, 40, requires_grad=True)
    wanted = None
    for forward, backward in ((1, 1), (4, 2), (2, 3), (3, 4), (1, 3), (4, 1), (2, 2), (4, 2)):
        set_threads(forward)
        total = module(x)[0].square().sum()
        set_threads(backward)
        got = torch.autograd.grad(total, [x, *module.parameters()])
        wanted = wanted or got
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True)), (forward, backward)


def test_workers_meet_as_often_as_they_are_asked(set_threads):
    """All share the units of each step, and none reads what is not there yet."""
    set_threads(4)
    module, x = ur.GRU(24, 600), torch.randn(40, 1, 24)
    with torch.no_grad():
        several = [flat(module(x)) for _ in range(20)]
        set_threads(1)
        alone = flat(module(x))
    assert all(torch.equal(a, b) for got in several for a, b in zip(got, alone, strict=True))


class Stalled:
    """Calls of one kind whose shared ones take so many seconds, and those alone so many others."""

    def __init__(self, clock):
        self.stalls, self.clock = trial.Stalls(), clock

    def calls(self, shared, alone, count):
        found = []
        for _ in range(count):
            found.append(1 if self.stalls.resting() else 2)
            took = shared if found[-1] == 2 else alone
            self.clock.now += took
            self.stalls.note(found[-1], took, 1e-3)
        return found


@pytest.fixture
def stalled(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(trial, "time", clock)
    return Stalled(clock)


def test_calls_whose_worker_has_no_core_go_alone_for_a_while(stalled):
    found = stalled.calls(8e-3, 1e-3, 2000)
    assert found[:3] == [2] * trial._STALLS + [1]
    assert found[:40].count(2) == 2 * trial._STALLS  # soon it looks again,
    assert stalled.clock.now - 100.0 < 1.2 * 2000 * 1e-3  # and ever less often; always shared, it were 16 s
    # When the other program has ended they are shared again.
    found = stalled.calls(5e-4, 1e-3, 1000)
    assert set(found[-600:]) == {2}


def test_single_stalls_far_apart_mean_nothing(stalled):
    for _ in range(20):
        assert set(stalled.calls(8e-3, 1e-3, 1) + stalled.calls(5e-4, 1e-3, trial._CALM)) == {2}


def test_on_a_slow_machine_all_calls_take_long(stalled):
    found = stalled.calls(20e-3, 30e-3, 1000)
    assert found.count(1) <= 2 * trial._ALONE


def test_calls_seconds_apart_are_soon_found_no_better_alone(stalled):
    found = []
    for _ in range(60):
        found += stalled.calls(9e-3, 19e-3, 1)
        stalled.clock.now += 2.0
    assert found.count(1) == 0  # rests are over by then
    for _ in range(20):
        found += stalled.calls(9e-3, 19e-3, 3)
        stalled.clock.now += 2.0
    assert found.count(1) == trial._ALONE
    assert set(found[-30:]) == {2}


def test_a_layer_goes_on_alone_beside_a_busy_program(monkeypatch, two_threads):
    module, x, counts = ur.GRU(48, 128, batch_first=True), torch.randn(4, 60, 48), []
    run = Pool.run

    def slow(self, work):
        counts.append(work.count)
        run(self, work)
        time.sleep(5e-3 if work.count > 1 else 0.0)

    monkeypatch.setattr(Pool, "run", slow)
    for graded in (False, True):
        with torch.set_grad_enabled(graded):
            for _ in range(30):
                output = module(x)[0]
                if graded:
                    output.sum().backward()
        assert counts.count(1) > counts.count(2)  # which were all of them
        counts.clear()


@pytest.mark.skipif(sys.platform != "linux", reason="threads are listed as Linux lists them")
def test_torchs_threads_live_on(set_threads, monkeypatch):
    set_threads(6)
    monkeypatch.setattr(claim, "LONG", 0)
    monkeypatch.setattr(trial.Stalls, "resting", lambda _: False)
    many, small, large = torch.zeros(1 << 20), ur.GRU(2, 2), ur.LSTM(64, 64)
    x, y = torch.randn(3000, 1, 2), torch.randn(20, 16, 64)
    seen = []
    for _ in range(8):
        many.add_(1.0)
        small(x)[0].sum().backward()
        many.add_(1.0)
        with torch.no_grad():
            large(y)
        seen.append({*Path("/proc/self/task").iterdir()})
    assert seen[1] == seen[-1]
