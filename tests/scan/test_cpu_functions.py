"""Cells of torch's elementwise functions: kernels are made of all of them."""

import pytest
import torch
from cpu_cases import flat
from torch.nn import functional

import unrolled as ur
from unrolled.scan.cpu.program import forward_kernel
from unrolled.scan.cpu.trace import graph_of

SMOOTH = {
    "gelu": functional.gelu,
    "gelu by tanh": lambda v: functional.gelu(v, approximate="tanh"),
    "elu": functional.elu,
    "selu": functional.selu,
    "celu": lambda v: functional.celu(v, 0.7),
    "mish": functional.mish,
    "silu": functional.silu,
    "softplus": functional.softplus,
    "logsigmoid": functional.logsigmoid,
    "softsign": functional.softsign,
    "tanhshrink": functional.tanhshrink,
    "erf": torch.erf,
    "sin": lambda v: torch.sin(3 * v),
    "cos": lambda v: torch.cos(3 * v),
}
KINKED = {
    "relu6": functional.relu6,
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
    "hardtanh": functional.hardtanh,
    "hardshrink": functional.hardshrink,
    "softshrink": functional.softshrink,
    "threshold": lambda v: functional.threshold(v, 0.1, -0.3),
    "leaky_relu": functional.leaky_relu,
    "floor": lambda v: torch.floor(3 * v) * v,
    "ceil": lambda v: torch.ceil(3 * v) * v,
    "trunc": lambda v: torch.trunc(3 * v) * v,
    "round": lambda v: torch.round(3 * v) * v,
    "frac": torch.frac,
    "a mask": lambda v: v * (v > 0).float() * ((v < 1) & (v > -1)).to(v.dtype),
    "copysign": lambda v: torch.copysign(v * v, v),
}
POWERS = {
    "pow": lambda v: (v * v + 1) ** 1.7,
    "of numbers": lambda v: 2.5**v,
    "of each other": lambda v: torch.pow(v * v + 0.5, v),
    "negative": lambda v: (v * v + 1) ** -0.5,
    "exp2": torch.exp2,
    "log2": lambda v: torch.log2(v * v + 1),
    "log10": lambda v: torch.log10(v * v + 1),
    "logaddexp": lambda v: torch.logaddexp(v, 0.5 * v),
    "nan_to_num": torch.nan_to_num,
    "addcdiv": lambda v: torch.addcdiv(v, v, v * v + 1, value=0.3),
    "finite": lambda v: torch.where(torch.isfinite(v) & ~torch.isnan(v) & ~torch.isinf(v), v, 0.0),
}


def cell_of(functions):
    """All of them in one, each as large a part: a kernel takes seconds to compile."""

    def several(x, r, h):
        v = x[0] + r[0]
        return sum([torch.tanh(f(v + 0.1 * k)) for k, f in enumerate(functions)]) / len(functions)

    return ur.cell(gates=1)(several)


def agrees_with_the_reference(module):
    stack = module.stack
    options = {"num_layers": stack.num_layers, "bidirectional": stack.bidirectional}
    exact = ur.Recurrent(stack.cell, 5, stack.hidden_size, batch_first=True, **options).double()
    exact.load_state_dict(module.state_dict())
    x = torch.randn(3, 7, 5)
    found = []
    for layer, engine in ((module, "cpu"), (exact, "reference")):
        given = x.to(layer.weight_ih_l0.dtype).requires_grad_()
        with ur.engine(engine):
            with torch.no_grad():
                quiet = flat(layer(given))
            results = flat(layer(given))
        loss = sum([r.square().sum() for r in results])
        gradients = torch.autograd.grad(loss, [given, *layer.parameters()])
        found.append([t.double() for t in (*quiet, *results, *gradients)])
    torch.testing.assert_close(*found, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("functions", [SMOOTH, KINKED, POWERS], ids=["smooth", "kinked", "powers"])
def test_kernels_are_those_of_the_reference(functions):
    torch.manual_seed(0)
    agrees_with_the_reference(ur.Recurrent(cell_of(functions.values()), 5, 17, batch_first=True))


@ur.cell(gates=2, states=3, recurrent="none")
def linear_recurrent_unit(x, r, y, re, im, *, decay, phase, mix):
    size = torch.exp(-torch.exp(decay))
    gain = torch.sqrt(1 - size * size)
    cos, sin = size * torch.cos(phase), size * torch.sin(phase)
    re, im = cos * re - sin * im + gain * x[0], sin * re + cos * im + gain * x[1]
    return torch.cos(mix) * re - torch.sin(mix) * im, re, im


@ur.cell(gates=2, recurrent="diagonal")
def gated_decay(x, r, h, *, rate):
    decay = torch.sigmoid(rate) ** (8 * torch.sigmoid(x[0] + r[0]))
    return decay * h + torch.sqrt(1 - decay * decay) * x[1] * (torch.tanh(rate) > 0)


@ur.cell(gates=1)
def scaled(x, r, h, *, scale):
    return torch.tanh(x[0] + r[0]) * torch.exp(scale) + 0 * torch.sigmoid(scale)


@pytest.mark.parametrize("cell", [linear_recurrent_unit, gated_decay, scaled], ids=lambda c: c.name)
@pytest.mark.parametrize("hidden", [1, 17, 32])
def test_what_is_made_of_vectors_alone_is_made_once(cell, hidden):
    torch.manual_seed(0)
    module = ur.Recurrent(cell, 5, hidden, num_layers=2, bidirectional=True, batch_first=True)
    assert forward_kernel(module.stack, True).shape.hoisted
    agrees_with_the_reference(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.data.mul_(1.5).add_(0.1)  # as an optimiser writes, or otherwise
    agrees_with_the_reference(module)


@pytest.mark.parametrize("name", [*SMOOTH, *KINKED, *POWERS])
def test_each_is_traced(name):
    """One alone: whether it has rules, forward and backward, without a kernel."""
    graph = graph_of(cell_of([(SMOOTH | KINKED | POWERS)[name]]), True)
    assert not isinstance(graph, str), graph
