"""What the system says of a run."""

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
    crowd = usage.Crowd()
    assert sum(i * i for i in range(100_000)) > 0
    assert crowd.there() in (True, False)
    assert usage.memory(torch.device("cpu")) >= 0
