"""Cells that a user may write: truth values, constants, gates that nobody reads."""

import pytest
import torch
from cpu_cases import flat

import unrolled as ur
from unrolled.errors import EngineWarning


@ur.cell(gates=1)
def times_a_comparison(x, r, h):
    return torch.tanh(x[0] + r[0]) * (h < 0.5)


@ur.cell(gates=1)
def binary(x, r, h):
    return torch.sign(torch.tanh(x[0] + r[0]))


@ur.cell(gates=1)
def constants(x, r, h):
    filled = torch.ones_like(h).masked_fill(h > 0.1, 2.0)
    bound = torch.clamp(torch.full_like(h, 0.3), max=h.abs() + 0.1)
    return torch.tanh(x[0] + r[0]) * filled * torch.sigmoid(bound) * torch.tensor(0.5)


@ur.cell(gates=1)
def logical(x, r, h):
    both = torch.logical_and(h, x[0] > 0) & torch.logical_not(r[0])
    return torch.where(both, torch.tanh(x[0] + r[0]), 0.5 * h + torch.sigmoid(x[0]))


@ur.cell(gates=1)
def no_input(x, r, h):
    return torch.tanh(r[0] + 0.1)


@ur.cell(gates=2)
def truths_subtracted(x, r, h):
    return torch.tanh(x[0] + r[0]) * (torch.eq(x[1] > 0, h > 0) | (r[1] > 0))


CELLS = [times_a_comparison, binary, constants, logical, no_input, truths_subtracted]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_kernels_are_made_of_them(cell, layers):
    torch.manual_seed(0)
    module = ur.Recurrent(cell, 3, 5, num_layers=layers)
    x, found = torch.randn(6, 2, 3, requires_grad=True), []
    for engine in ("cpu", "reference"):
        with ur.engine(engine):
            with torch.no_grad():
                quiet = flat(module(x))
            results = flat(module(x))
        leaves = [x, *module.parameters()]
        gradients = torch.autograd.grad(sum(r.square().sum() for r in results), leaves, allow_unused=True)
        zeros = [torch.zeros_like(t) if g is None else g for t, g in zip(leaves, gradients, strict=True)]
        found.append([*quiet, *results, *zeros])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@ur.cell(gates=1)
def adds_truths(x, r, h):
    return torch.tanh(x[0] + r[0]) * ((h > 0) + (x[0] > 0))


@ur.cell(gates=1)
def constant_state(x, r, h):
    return torch.tanh(torch.ones_like(x[0]))


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (adds_truths, "its op add has no rule for torch.bool"),
        (constant_state, "a next state is a constant"),
    ],
)
def test_or_they_are_refused_and_run_as_a_loop(cell, reason):
    module = ur.Recurrent(cell, 3, 4)
    with pytest.warns(EngineWarning, match=reason):
        output, _ = module(torch.randn(5, 2, 3))
    assert output.isfinite().all()
