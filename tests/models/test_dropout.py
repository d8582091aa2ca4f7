"""Dropout: how much is left out, what is left, and that a seed tells all of it."""

import pytest
import torch

from unrolled.models.deep import Dropout


def run(p, shape, variational=False, seed=0, dtype=torch.float32):
    dropout = Dropout(p, variational)
    x = torch.ones(shape, dtype=dtype, requires_grad=True)
    torch.manual_seed(seed)
    y = dropout(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y.detach())  # what was dropped gets none, what was kept is scaled
    return y.detach()


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.5, 0.9, 0.99999])
def test_a_part_p_is_zero_and_the_mean_stays(p):
    y = run(p, (200, 50, 101), dtype=torch.float64)
    kept = (y > 0).double()
    part = 1 - p if 2**-16 < p < 1 - 2**-16 else min(max(1 - p, 2**-16), 1 - 2**-16)
    error = 5 * (part * (1 - part) / y.numel()) ** 0.5
    assert float(kept.mean()) == pytest.approx(part, abs=error + 2**-17)
    assert set((y[y > 0] * part).round(decimals=3).tolist()) == {1.0}
    columns = kept.flatten(0, 1) - part
    assert abs((columns[:, 1:] * columns[:, :-1]).mean()) < error  # neighbours are cut from one number
    assert abs((columns[:, 4:] * columns[:, :-4]).mean()) < error


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 7), (0, 4)])
def test_any_shape_by_seed(shape):
    assert torch.equal(run(0.5, shape), run(0.5, shape))
    assert run(0.5, shape).shape == shape
    if len(shape) == 3:
        assert not torch.equal(run(0.5, shape), run(0.5, shape, seed=1))


def test_the_same_bits_for_any_number_of_threads():
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(run(0.3, (64, 64, 64)))
    torch.set_num_threads(before)
    assert torch.equal(*found)


def test_variational_drops_the_same_at_every_step():
    y = run(0.5, (20, 9, 30), variational=True)
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert 0 < float((y == 0).double().mean()) < 1
    assert run(0.5, (20, 30), variational=True).shape == (20, 30)


def test_all_or_nothing():
    assert not run(1.0, (3, 4)).any()
    x = torch.randn(3, 4)
    assert Dropout(0.0)(x) is x
    assert Dropout(0.5).eval()(x) is x
    assert run(0.5, (3, 4), dtype=torch.bfloat16).dtype == torch.bfloat16
