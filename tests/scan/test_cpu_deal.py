"""Rows dealt by their lengths, against sorting them."""

import numpy as np
import pytest
import torch

from unrolled.scan.cpu import layer
from unrolled.scan.cpu.deal import Deal
from unrolled.scan.cpu.pool import Pool, Work


def dealt(lengths, time, groups, directions):
    """[direction][group] of (rowmap, active, ends), as the kernel writes them into memory full of -7."""
    batch = len(lengths)
    counts = [len(range(g, batch, groups)) for g in range(groups)]
    arrays = [
        [tuple(np.full(n, -7, dtype=np.int64) for n in (count, time + 1, count)) for count in counts]
        for _ in range(directions)
    ]
    deal, given = Deal(arrays, batch, time), torch.tensor(lengths, dtype=torch.int64)
    deal.give(given)
    Pool().run(Work([[deal.work(1)]]))
    return arrays


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("batch", "groups"), [(1, 1), (2, 2), (7, 1), (7, 2), (13, 3), (64, 4)])
@pytest.mark.parametrize("time", [1, 5, 40])
def test_longest_first_each_group_in_turn(batch, groups, time, directions):
    random = np.random.default_rng(batch + time)
    for lengths in (random.integers(0, time + 1, batch), np.zeros(batch, int), np.full(batch, time)):
        order = sorted(range(batch), key=lambda row: -lengths[row])
        for direction, own in enumerate(dealt(lengths, time, groups, directions)):
            for group, (rowmap, active, ends) in enumerate(own):
                rows = order[group::groups]
                assert rowmap.tolist() == rows
                running = [sum(lengths[r] > step for r in rows) for step in range(time)]
                assert active.tolist() == [*(running[::-1] if direction else running), 0]
                last = [time if direction else lengths[r] for r in rows]
                assert ends.tolist() == [e if lengths[r] else -1 for e, r in zip(last, rows, strict=True)]


def test_lengths_that_another_thread_made_wrong_write_nowhere_else():
    for rowmap, active, ends in dealt([9, -3, 2], 4, 1, 1)[0]:
        assert rowmap.tolist() == [0, 2, 1]
        assert active.tolist() == [2, 2, 1, 1, 0]
        assert ends.tolist() == [4, 2, -1]


def test_a_groups_last_rows_lie_without_a_pattern():
    """Else processors fetch another group's rows after them, and take them from who writes them."""
    for count in (4, 13, 16, 128):
        mixed = layer._mixed(np.arange(count))
        assert sorted(mixed) == list(range(count))
        apart = np.diff(mixed[-16:])
        assert all(len(set(some)) > 1 for some in zip(apart, apart[1:], apart[2:], strict=False))
        assert (mixed[:-16] == np.arange(count)[:-16]).all()
