"""Who computes a short call: the caller alone, or workers that are awake or worth waking."""

import pytest
import torch
from cpu_cases import flat

import unrolled as ur
from unrolled.scan.cpu import pool, ready, trial
from unrolled.scan.cpu.layer import cost
from unrolled.scan.cpu.pool import ALONE, LONG, Pool
from unrolled.scan.cpu.team import WARM, Team


@pytest.fixture
def two_threads(set_threads):
    set_threads(2)


class Clock:
    now = 100.0

    def monotonic(self):
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
    # Of a single row the units are shared, with a meeting after every step.
    assert cost(rnn, 64, 1, 100) < ALONE < cost(lstm, 64, 1, 100) < LONG
    assert cost(rnn, 64, 64, 100) == 64 / 16 * cost(rnn, 64, 16, 100)
    sru = ur.Recurrent(ur.cells.sru, 64, 64).stack
    assert cost(sru, 64, 2, 100) == 2 * cost(sru, 64, 1, 100)


def test_a_trial_takes_the_faster_way_for_a_while(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(trial, "time", clock)
    tried = trial.Trial()

    def calls(seconds, count):
        found = []
        for _ in range(count):
            found.append(tried.choose(2))
            clock.now += seconds[found[-1]]
            tried.note(found[-1], seconds[found[-1]])
        return found

    assert calls({1: 0.01, 2: 0.02}, 10) == [2, 2, 2, 1, 1, 1] + [1] * 4
    clock.now += 1
    assert calls({1: 0.01, 2: 0.005}, 10) == [2, 2, 2, 1, 1, 1] + [2] * 4
    assert tried.choose(3) == 3  # of another number of threads nothing is known


@torch.no_grad()
def test_short_calls_are_the_same_shared_or_not(monkeypatch, two_threads):
    monkeypatch.setattr(Pool, "lively", lambda self, wanted: True)
    module, x = ur.LSTM(48, 64, batch_first=True), torch.randn(1, 60, 48)
    wanted, used = flat(module(x)), set()
    for _ in range(12):
        got = flat(module(x))
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
        kind = next(k for k in ready._kinds.values() if k.stack is module.stack)
        used |= {one.count for one in kind.ready}
    assert used == {1, 2}
