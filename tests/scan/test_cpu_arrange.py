"""The copies between tensors and panels, against torch's own reshaping, and phases of work."""

import ctypes

import pytest
import torch
from torch.nn.functional import pad

from unrolled.scan.cpu import arrange
from unrolled.scan.cpu.claim import workers
from unrolled.scan.cpu.machine import machine
from unrolled.scan.cpu.pool import Work

SIZES = [(1, 1), (5, 3), (16, 16), (17, 33), (8, 65), (31, 7), (64, 48)]


def moved(kind, matrix, panels, sizes, count, *added):
    names = ["matrix", "panels", *["added" for _ in added]]
    tasks = arrange.Tasks({name: index for index, name in enumerate(names)})
    tasks.add(kind, sizes, **{name: (name, 0) for name in names})
    with workers(1e6) as (pool, granted):
        copies = arrange.Copies(tasks, min(count, granted), machine())
        copies.run([t.data_ptr() for t in (matrix, panels, *added)], None if count == 1 else pool)


def nan(*shape):
    return torch.full(shape, float("nan"))


def fitted(matrix, width):
    """The matrix with zeros below, up to whole panels of rows."""
    return pad(matrix, (0, 0, 0, -len(matrix) % width))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("rows", "cols"), SIZES)
def test_turning(rows, cols, count):
    width = machine().width
    matrix = torch.randn(rows, cols)
    sizes = arrange.Sizes(rows, cols, row=4 * cols, panel=4 * cols * width, line=4 * width)
    panels = nan(-(-rows // width), cols, width)
    moved(arrange.TURN, matrix, panels, sizes, count)
    wanted = fitted(matrix, width).unflatten(0, (-1, width)).transpose(1, 2)
    assert torch.equal(panels, wanted)
    back = nan(rows, cols)
    moved(arrange.TURN_BACK, back, panels, sizes, count)
    assert torch.equal(back, matrix)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("rows", "cols"), SIZES)
def test_cutting(rows, cols, count):
    width = machine().width
    matrix, vector = torch.randn(rows, cols), torch.randn(cols)
    sizes = arrange.Sizes(rows, cols, row=4 * cols, panel=4 * rows * width, line=4 * width)
    panels = nan(-(-cols // width), rows, width)
    moved(arrange.CUT, matrix, panels, sizes, count)
    wanted = fitted(matrix.T, width).T.unflatten(1, (-1, width)).transpose(0, 1)
    assert torch.equal(panels, wanted)
    back = nan(rows, cols)
    moved(arrange.JOIN, back, panels, sizes, count)
    assert torch.equal(back, matrix)
    moved(arrange.CUT, matrix, panels, sizes, count, vector)
    torch.testing.assert_close(
        panels, fitted((matrix + vector).T, width).T.unflatten(1, (-1, width)).transpose(0, 1)
    )


def test_a_phase_begins_when_the_one_before_has_ended():
    order = []
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
    calls = [function(lambda _, rank, phase=phase: order.append((phase, rank))) for phase in range(3)]
    addresses = [ctypes.cast(call, ctypes.c_void_p).value for call in calls]
    with workers(1e6) as (pool, granted):
        # The first worker has all the work of the second phase.
        jobs = [[(1, rank)] for rank in range(granted)]
        uneven = [[(1, 0)] * 5, *([] for _ in range(granted - 1))]
        work = Work([[(addresses[0], jobs)], [(addresses[1], uneven)], [(addresses[2], jobs)]])
        for _ in range(20):
            order.clear()
            pool.run(work)
            assert [phase for phase, _ in order] == [0] * granted + [1] * 5 + [2] * granted
