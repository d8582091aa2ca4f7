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


@ur.cell(gates=1, recurrent="none")
def two_zeros(x, r, h):
    signs = torch.where(x[0] / 0.0 > 0, 1.0, 2.0) + torch.where(x[0] / -0.0 > 0, 10.0, 20.0)
    return torch.tanh(x[0] + h) * signs / 20.0


@ur.cell(gates=2)
def own_gradients(x, r, h):
    return torch.lerp(h, torch.nn.functional.silu(x[0] + r[0]), torch.sigmoid(x[1] + r[1]))


@ur.cell(gates=1)
def too_large(x, r, h):
    return torch.tanh(torch.where(h > 1e39, h, x[0] + r[0]))


@ur.cell(gates=1, states=2)
def keeps_x(x, r, h, c):
    return torch.tanh(x[0] + r[0]), x[0]


@ur.cell(gates=1, states=2)
def keeps_r(x, r, h, c):
    return torch.tanh(x[0] + r[0]) + c, r[0]


@ur.cell(gates=2)
def learns_from_x(x, r, h):
    return torch.tanh(x[0] + r[0].detach()) * torch.sigmoid(x[1] + r[1])


@ur.cell(gates=2)
def learns_from_r(x, r, h):
    return torch.tanh(x[0].detach() + r[0]) * torch.sigmoid(x[1].detach() + r[1].detach())


CELLS = [
    keeps_x,
    keeps_r,
    learns_from_x,
    learns_from_r,
    two_zeros,
    own_gradients,
    too_large,
    times_a_comparison,
    binary,
    constants,
    logical,
    no_input,
    truths_subtracted,
]


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


@ur.cell(gates=1)
def reads_a_size(x, r, h):
    return torch.tanh((x[0] + r[0]) / h.shape[-1] ** 0.5)


@ur.cell(gates=1)
def reads_numbers(x, r, h):
    return torch.tanh(x[0] + r[0]) * (0.5 if (x[0].detach().numpy() < 0).any() else 1.0)


@ur.cell(gates=1)
def reads_a_list(x, r, h):
    return torch.tanh(x[0] + r[0]) * sum(x[0].tolist()[0])


@ur.cell(gates=1)
def reads_a_unit(x, r, h):
    return torch.tanh(x[0] + r[0]) + h[:, 3].unsqueeze(1)


@ur.cell(gates=1)
def made_truth(x, r, h):
    return torch.where(torch.tensor(True), torch.tanh(x[0] + r[0]), h)


@ur.cell(gates=1)
def arc(x, r, h):
    return torch.atan(x[0] + r[0])


@torch.library.custom_op("unrolled_tests::tanh", mutates_args=())
def not_tanh(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5


@ur.cell(gates=1)
def not_torchs(x, r, h):
    return not_tanh(x[0] + r[0])


@ur.cell(gates=1)
def some_units(x, r, h):
    return torch.tanh(x[0] + r[0]) * h[..., :8]


@ur.cell(gates=1)
def normalised(x, r, h):
    return torch.softmax(x[0] + r[0], -1)


@ur.cell(gates=1)
def foreign(x, r, h):
    return torch.tanh(x[0] + r[0]) * torch.nn.functional.gelu(WEIGHTS)


WEIGHTS = torch.ones(4)


@ur.cell(gates=1)
def writes_out(x, r, h):
    half = torch.empty_like(h)
    with torch.no_grad():
        torch.mul(h, 0.5, out=half)
    return torch.tanh(x[0] + r[0]) * half


HANGS = "what it computes depends on the size of its tensors, or on a number read from one"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (reads_a_size, HANGS),
        (reads_numbers, HANGS),
        (reads_a_list, HANGS),
        (reads_a_unit, "on small tensors it raises IndexError"),
        (made_truth, "it makes a tensor of a truth value"),
        (arc, "its op atan has no rule"),
        (not_torchs, "its op unrolled_tests::tanh is not torch's own"),
        (some_units, "its op slice has no rule"),
        (normalised, "its op _softmax has no rule"),
        (foreign, "it reads a tensor that is not one of its arguments"),
        (adds_truths, "its op add has no rule for torch.bool"),
        (constant_state, "a next state is a constant"),
        (writes_out, "its op mul has arguments that have no rule"),
    ],
)
def test_or_they_are_refused_and_run_as_a_loop(cell, reason):
    module = ur.Recurrent(cell, 3, 4)
    x = torch.randn(5, 2, 3)
    with pytest.warns(EngineWarning, match=reason):
        output, _ = module(x)
    with ur.engine("reference"):
        torch.testing.assert_close(module(x)[0], output)


@ur.cell(gates=1, states=2)
def second_of_h(x, r, h, c):
    return torch.tanh(x[0] + r[0]), torch.tanh(h)


@ur.cell(gates=1, states=2)
def second_is_h(x, r, h, c):
    return torch.tanh(x[0] + r[0]) + c, h


@ur.cell(gates=1)
def of_h_alone(x, r, h):
    return torch.tanh(h)


@pytest.mark.parametrize("cell", [second_of_h, second_is_h, of_h_alone], ids=lambda c: c.name)
def test_what_reads_its_output_cannot_be_projected(cell):
    with pytest.raises(ur.Error, match="reads its own output h, which proj_size=2 would narrow"):
        ur.Recurrent(cell, 3, 5, proj_size=2)


def test_silu_of_huge_numbers():
    @ur.cell(gates=1, recurrent="none")
    def plain(x, r, h):
        return torch.nn.functional.silu(x[0])

    module = ur.Recurrent(plain, 1, 1, bias=False)
    module.weight_ih_l0.data.fill_(1.0)
    x = torch.tensor([-3e38, -1e36, -100.0, -87.0, -1.0, 0.0, 1.0, 3e38, float("nan")])
    with torch.no_grad(), ur.engine("cpu"):
        got = module(x[:, None, None])[0].flatten()
    torch.testing.assert_close(got, torch.nn.functional.silu(x), equal_nan=True, rtol=1e-6, atol=1e-34)


@pytest.mark.parametrize("unfolds", [8, 150])
def test_equations_may_be_long(unfolds):
    @ur.cell(gates=1)
    def liquid(x, r, h):
        for _ in range(unfolds):
            h = h + (torch.tanh(x[0] + r[0]) - h * torch.sigmoid(h)) / unfolds
        return h

    module, x, found = ur.Recurrent(liquid, 3, 5), torch.randn(3, 2, 3), []
    for engine in ("cpu", "reference"):
        with ur.engine(engine):
            output = module(x)[0]
            found.append([output, *torch.autograd.grad(output.sum(), [*module.parameters()])])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_each_of_two_cells_with_one_name_is_told_of():
    def made(factor):
        def step(x, r, h):
            return torch.tanh(x[0] + r[0]) * torch.ones(2)[1] * factor

        return ur.cell(gates=1)(step)

    for factor in (1.0, 2.0):
        with pytest.warns(EngineWarning, match="the cell step"):
            ur.Recurrent(made(factor), 3, 4)(torch.randn(5, 2, 3))
