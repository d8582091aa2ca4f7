"""What the tests of the CPU engine share: cells, layers, calls, and the comparison with the reference."""

import torch

import unrolled as ur
from unrolled.cells import CELLS
from unrolled.scan import scan


@ur.cell(gates=3, states=2)
def of_ones_own(x, r, h, c, *, leak):
    """Two states, a gate whose recurrent half is unused, a vector of one weight a unit."""
    keep = torch.sigmoid(x[0] + r[0])
    c = keep * c + (1 - keep) * torch.tanh(x[1] + leak * h)
    return torch.sigmoid(x[2] + r[2]) * c - 0.5 * h, c


@ur.cell(gates=2, states=3)
def delayed(x, r, h, d, c):
    """A state that is only added, so that no gradient reads it, but an output."""
    c = 0.5 * c + torch.tanh(x[1] + r[1])
    return torch.sigmoid(x[0] + r[0]) * torch.tanh(c) + d, x[1] - h, c


EVERY = {**CELLS, "of_ones_own": of_ones_own, "delayed": delayed}


LIES = {
    "the other axis outside": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "a window": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "every other": lambda x: x.repeat_interleave(2, 0)[::2],
    "some features": lambda x: torch.cat([x, x], 2)[..., : x.shape[2]],
    "features apart": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "one row again and again": lambda x: x[:1].expand(x.shape),
}
"""Inputs of the shape of a dense one that lie in memory otherwise."""


def layer(name, input_size, hidden_size, *, double=False, seed=0, **options):
    torch.manual_seed(seed)
    made = ur.Recurrent(EVERY[name], input_size, hidden_size, batch_first=True, **options)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made.double() if double else made


def states(recurrent, batch):
    stack = recurrent.stack
    slots = stack.num_layers * stack.directions
    # Above zero, for slstm divides by one of them.
    return tuple(0.3 + torch.rand(slots, batch, stack.state_size(k)) for k in range(stack.cell.states))


def given(state):
    return state[0] if len(state) == 1 else tuple(state)


def flat(result):
    output, state = result
    return [output, *([state] if isinstance(state, torch.Tensor) else state)]


def both(single, double, x, state, gradients=True, **options):
    """The engine in float32 and the reference in float64 on the same numbers: results, gradients."""
    found = []
    for module, engine, dtype in ((single, "cpu", torch.float32), (double, "reference", torch.float64)):
        module.load_state_dict(single.state_dict())
        inputs = [t.detach().to(dtype) if t.is_floating_point() else t for t in (x, *state)]
        leaves = [t.requires_grad_(gradients) for t in inputs if t.is_floating_point()]
        leaves += list(module.parameters())
        with ur.engine(engine), torch.set_grad_enabled(gradients):
            if x.is_floating_point():
                results = flat(module(inputs[0], given(inputs[1:]), **options))
            else:  # What a layer makes of a Batch.
                parameters, begin = list(module.parameters()), given(inputs[1:])
                results = flat(scan(module.stack, x, parameters, begin, batch_first=True, **options))
        grads = []
        if gradients:
            torch.manual_seed(7)
            total = sum((r * torch.randn(r.shape, dtype=torch.float64).to(dtype)).sum() for r in results)
            grads = torch.autograd.grad(total, leaves, allow_unused=True)
        found.append((results, grads))
    return found


def check(single, double, x, state, **options):
    """Outputs and states within 1e-5, every gradient within 1e-4, relative to its largest value."""
    (got, got_grads), (wanted, wanted_grads) = both(single, double, x, state, **options)
    for tolerance, mine, truth in ((1e-5, got, wanted), (1e-4, got_grads, wanted_grads)):
        assert len(mine) == len(truth)
        for index, (a, b) in enumerate(zip(mine, truth, strict=True)):
            if b is None or not b.numel():
                assert a is None or not a.any()
                continue
            assert a is not None, index
            assert a.shape == b.shape, index
            a, b = a.detach().double(), b.detach()
            off = (a - b).abs().max() / max(1.0, b.abs().max())
            assert off <= tolerance, (index, off.item())


def halve(tensor):
    """What another process does."""
    tensor.mul_(0.5)


def repeat(module, x, wanted):
    """What another process finds."""
    with ur.engine("cpu"):
        assert torch.equal(module(x)[0], wanted)
