"""How exact the functions are that cells are made of."""

import math

import numpy as np
import pytest
import torch

import unrolled as ur

USUAL = ["sigmoid", "tanh", "exp", "expm1", "log", "log1p"]
SPECIAL = ["exp2", "log2", "log10", "sin", "cos", "erf"]
NORMAL = 2e-38


def ulps(got, wanted):
    spacing = torch.from_numpy(np.spacing(wanted.abs().float().clamp_min(1e-37).numpy())).double()
    return ((got.double() - wanted).abs() / spacing).max().item()


def computed(function, *inputs):
    """What a kernel makes of them, each a row of its own and a gate of the cell's."""

    def unit(x, r, h):
        return function(*x) + 0 * h

    layer = ur.Recurrent(ur.cell(gates=len(inputs), recurrent="none")(unit), len(inputs), 1, bias=False)
    with torch.no_grad(), ur.engine("cpu"):
        layer.weight_ih_l0.copy_(torch.eye(len(inputs)))
        # An infinite number times a zero of the other gate's would be none.
        both = torch.stack(inputs, -1)[None]
        finite = both.isfinite().all(-1)
        found = torch.full(finite.shape, math.nan)
        found[finite] = layer(both[:, finite[0]])[0].flatten()
    return found.flatten()


def errors(function, *inputs):
    """Ours and torch's largest, in units of the last place, where the result is a normal number."""
    got, theirs = computed(function, *inputs), function(*inputs)
    wanted = function(*[x.double() for x in inputs])
    normal = (wanted.abs() > NORMAL) & (wanted.abs() < 3.4e38)
    assert normal.sum() > 1000
    return ulps(got[normal], wanted[normal]), ulps(theirs[normal], wanted[normal])


@pytest.mark.parametrize("function", USUAL + SPECIAL)
def test_functions_err_at_most_two_ulps_more_than_torchs(function):
    ranges = [torch.linspace(-87.3, 87.3, 200001), torch.linspace(-2, 2, 100001)]
    ranges += [torch.logspace(-30, 1.9, 50000), -torch.logspace(-30, 1.9, 50000)]
    ours, theirs = errors(getattr(torch, function), torch.cat(ranges))
    assert ours <= theirs + 2, (ours, theirs)


@pytest.mark.parametrize("function", SPECIAL)
def test_special_functions_of_any_float(function):
    """Huge ones as well, of which whole turns are taken off without loss."""
    bits = torch.randint(-(2**31), 2**31, (200_000,), generator=torch.Generator().manual_seed(0))
    x = bits.to(torch.int32).view(torch.float32)
    ours, theirs = errors(getattr(torch, function), x[x.isfinite()])
    assert ours <= theirs + 0.1, (ours, theirs)


def test_powers_of_any_float():
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (100_000,), generator=generator)
    x = bits.to(torch.int32).view(torch.float32)
    few = torch.rand(50_000, generator=generator) * 4 - 1
    y = torch.randn(100_000, generator=generator)
    whole = torch.randint(-9, 10, (50_000,), generator=generator).float()
    x = torch.cat([x[x.isfinite()], few, few])
    y = torch.cat([y[: len(x) - 100_000], whole, 3 * torch.randn(50_000, generator=generator)])
    ours, theirs = errors(torch.pow, x, y)
    assert ours <= theirs + 0.1, (ours, theirs)


@pytest.mark.parametrize("exponent", [-3, -2, -1, 2, 3, 5, 6, 8, 0.5, -0.5])
def test_powers_of_one_number(exponent):
    x = torch.cat([torch.linspace(-9, 9, 100_001), torch.logspace(-3, 3, 50_000)])
    ours, theirs = errors(lambda x: x**exponent, x[x.abs() > 1e-6])
    assert ours <= theirs + 2, (ours, theirs)


def test_from_the_nearer_end():
    large, one = torch.full((2,), 1e8), torch.ones(2)
    torch.testing.assert_close(computed(lambda a, b: torch.lerp(a, b, 1.0), large, one), one)
    weights = torch.tensor([1.0, 0.0])
    torch.testing.assert_close(computed(torch.lerp, large, one, weights), torch.tensor([1.0, 1e8]))


def test_powers_at_the_ends():
    ends = torch.tensor([0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, 1e38, -1e38])
    x, y = (t.flatten() for t in torch.meshgrid(ends, ends, indexing="ij"))
    torch.testing.assert_close(computed(torch.pow, x, y), torch.pow(x, y), equal_nan=True)
    for number in (math.inf, -math.inf, math.nan, 0.0, 2.5, -1.0):
        ours = computed(lambda x, number=number: torch.pow(x, number), ends)
        torch.testing.assert_close(ours, torch.pow(ends, number), equal_nan=True)
        ours = computed(lambda x, number=number: torch.pow(number, x), ends)
        torch.testing.assert_close(ours, torch.pow(number, ends), equal_nan=True)


@pytest.mark.parametrize("function", USUAL + SPECIAL + ["floor", "ceil", "trunc", "round"])
def test_functions_at_the_ends(function):
    recurrent = ur.Recurrent(ur.cell(gates=1, recurrent="none")(_ends(function)), 1, 1, bias=False)
    recurrent.weight_ih_l0.data.fill_(1.0)
    x = [
        float("-inf"),
        -1e30,
        -200.0,
        -2.5,
        -0.5,
        -0.0,
        0.0,
        0.5,
        1.5,
        200.0,
        1e30,
        float("inf"),
        float("nan"),
    ]
    x = torch.tensor([*x, 1.1754944e-38, 1e-40, -1e-40, 3.4e38])
    with torch.no_grad(), ur.engine("cpu"):
        got = recurrent(x[:, None, None])[0].flatten()
    torch.testing.assert_close(got, getattr(torch, function)(x), equal_nan=True)


def _ends(function):
    def unit(x, r, h):
        return getattr(torch, function)(x[0])

    return unit
