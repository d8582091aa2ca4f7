"""Cells of torch's elementwise functions: kernels are made of all of them."""

import pytest
import torch
from cpu_cases import flat
from elementwise import KINKED, POWERS, SMOOTH, cell_of, gated_decay, linear_recurrent_unit, scaled

import unrolled as ur
from unrolled.scan.cpu.program import forward_kernel
from unrolled.scan.cpu.trace import graph_of


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
