"""How exact the functions are that cells are made of."""

import numpy as np
import pytest
import torch

import unrolled as ur


def ulps(got, wanted):
    spacing = torch.from_numpy(np.spacing(wanted.abs().float().clamp_min(1e-37).numpy())).double()
    return ((got.double() - wanted).abs() / spacing).max().item()


@pytest.mark.parametrize("function", ["sigmoid", "tanh", "exp", "expm1"])
def test_functions_err_at_most_two_ulps_more_than_torchs(function):
    apply = getattr(torch, function)
    made = ur.cell(gates=1, recurrent="none")(_unit(function))
    recurrent = ur.Recurrent(made, 1, 1, bias=False)
    recurrent.weight_ih_l0.data.fill_(1.0)
    ranges = [torch.linspace(-87.3, 87.3, 200001), torch.linspace(-2, 2, 100001)]
    ranges += [torch.logspace(-30, 1.9, 50000), -torch.logspace(-30, 1.9, 50000)]
    x = torch.cat(ranges)
    with torch.no_grad(), ur.engine("cpu"):
        got = recurrent(x[:, None, None])[0]
    got, wanted = got.flatten(), apply(x.double())
    normal = wanted.abs() > 2e-38
    ours, theirs = ulps(got[normal], wanted[normal]), ulps(apply(x)[normal], wanted[normal])
    assert ours <= theirs + 2, (ours, theirs)


def _unit(function):
    def unit(x, r, h):
        return getattr(torch, function)(x[0]) + 0 * h

    return unit


@pytest.mark.parametrize("function", ["sigmoid", "tanh", "exp", "expm1"])
def test_functions_at_the_ends(function):
    recurrent = ur.Recurrent(ur.cell(gates=1, recurrent="none")(_ends(function)), 1, 1, bias=False)
    recurrent.weight_ih_l0.data.fill_(1.0)
    x = torch.tensor([float("-inf"), -1e30, -200.0, -0.0, 0.0, 200.0, 1e30, float("inf"), float("nan")])
    with torch.no_grad(), ur.engine("cpu"):
        got = recurrent(x[:, None, None])[0].flatten()
    torch.testing.assert_close(got, getattr(torch, function)(x), equal_nan=True)


def _ends(function):
    def unit(x, r, h):
        return getattr(torch, function)(x[0])

    return unit
