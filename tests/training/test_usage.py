"""What the system says of a run."""

import time

import pytest
import torch

from unrolled.training import usage


@pytest.mark.parametrize(
    ("taken", "own", "crowded"), [(500, 6.0, True), (500, 19.5, False), (20, 6.0, False), (0, 0.0, False)]
)
def test_a_crowd_takes_cores_often_and_for_long(taken, own, crowded, monkeypatch):
    now = [0.0, 0.0, 0]
    monkeypatch.setattr(usage, "_now", lambda: tuple(now))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    crowd = usage.Crowd()
    now[:] = [5.0, own, 5 * taken]
    assert crowd.there() is crowded


def test_the_system_is_asked():
    pytest.importorskip("resource")
    before, held = usage.memory(torch.device("cpu")), torch.ones(1 << 24)
    assert usage.memory(torch.device("cpu")) >= max(before, held.nbytes)
    seconds, own, _ = usage._now()
    while time.process_time() < own + 0.05:
        pass
    after = usage._now()
    assert after[0] - seconds >= 0.02
    assert after[1] - own >= 0.05
