"""What a forward pass leaves for its backward: kept by autograd, with its hooks, and gone when it is."""

import contextlib
import threading

import numpy as np
import pytest
import torch
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

import unrolled as ur
from unrolled.scan.cpu import practice
from unrolled.scan.cpu.course import Course

CALLS = {
    "plain": {},
    "lengths": {"lengths": torch.tensor([5, 0, 7, 2])},
    "reset": {"reset": torch.arange(28).reshape(7, 4) % 5 == 0},
}


def gradients(layer, x, options, hooks=contextlib.nullcontext):
    layer.zero_grad()
    x = x.detach().requires_grad_()
    with hooks():
        output, state = layer(x, **options)
    other = layer(x + 1, **options)[0]  # meanwhile, and kept
    assert other.requires_grad
    last = state[0] if isinstance(state, tuple) else state
    (output.square().sum() + last.sum()).backward()
    return [x.grad, *(p.grad.clone() for p in layer.parameters())]


def apart(tensor):
    """A copy whose memory begins where no allocator lets it begin."""
    if not tensor.is_floating_point():
        return tensor.clone()
    copy = torch.empty(tensor.numel() + 1)[1:].view(tensor.shape)
    return copy.copy_(tensor.detach())


def unpacked(kept):
    return torch.from_numpy(kept) if isinstance(kept, np.ndarray) else kept


HOOKS = {
    "alias": lambda: saved_tensors_hooks(lambda tensor: tensor.detach(), lambda tensor: tensor),
    "cpu": save_on_cpu,
    "apart": lambda: saved_tensors_hooks(apart, lambda tensor: tensor),
    "some": lambda: saved_tensors_hooks(lambda t: t if t.requires_grad else t.numpy().copy(), unpacked),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("hooks", HOOKS)
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_hooks_may_keep_it_elsewhere(kind, hooks, call):
    layer, x = getattr(ur, kind)(5, 17, 2, bidirectional=True), torch.randn(7, 4, 5)
    wanted = gradients(layer, x, CALLS[call])
    found = gradients(layer, x, CALLS[call], HOOKS[hooks])
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("reentrant", [True, False])
def test_it_may_be_computed_again(reentrant):
    layers = [ur.LSTM(6, 6) for _ in range(3)]
    x = torch.randn(9, 3, 6)

    def gradients(run):
        own = x.clone().requires_grad_()
        y = own
        for layer in layers:
            layer.zero_grad()
            y = run(lambda y, layer=layer: layer(y)[0], y)
        y.square().sum().backward()
        return [own.grad, *(p.grad.clone() for layer in layers for p in layer.parameters())]

    wanted = gradients(lambda run, y: run(y))
    found = gradients(lambda run, y: checkpoint(run, y, use_reentrant=reentrant))
    assert all(map(torch.equal, found, wanted))


def test_it_goes_with_the_backward_though_the_output_stays(monkeypatch):
    made = []
    monkeypatch.setattr(practice, "Course", lambda form: made.append(Course(form)) or made[-1])
    layer, x = ur.GRU(3, 8), torch.randn(6, 2, 3)
    outputs = []
    for _ in range(5):
        outputs.append(layer(x)[0])
        outputs[-1].sum().backward()
    assert len(made) == 1
    waiting = [layer(x)[0] for _ in range(3)]  # each has one of its own until its backward
    assert len(made) == 3
    del waiting
    layer(x)[0].sum().backward()
    assert len(made) == 3


def test_hooks_that_change_the_dtype_are_told():
    layer, x = ur.GRU(4, 5), torch.randn(3, 2, 4)
    with saved_tensors_hooks(lambda t: t.bfloat16() if t.is_floating_point() else t, lambda t: t):
        output = layer(x)[0]
    with pytest.raises(ur.Error, match="hooks gave back a saved tensor as"):
        output.sum().backward()


def test_threads_may_go_through_one_graph():
    layer = ur.LSTM(64, 96)
    output, weights, found = layer(torch.randn(20, 4, 64))[0], [*layer.parameters()], []
    wanted = torch.autograd.grad(output.sum(), weights, retain_graph=True)

    def go():
        for _ in range(15):
            found.append(torch.autograd.grad(output.sum(), weights, retain_graph=True))

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 45
    torch.testing.assert_close(found, [wanted] * 45)


def test_a_graph_that_is_retained_can_be_gone_through_again():
    layer, x = ur.LSTM(3, 8), torch.randn(6, 2, 3)
    output = layer(x)[0]
    for _ in range(3):
        layer.zero_grad()
        output.sum().backward(retain_graph=True)
    first = [p.grad.clone() for p in layer.parameters()]
    layer(x + 1)[0].sum().backward()  # meanwhile
    layer.zero_grad()
    output.sum().backward()
    assert all(torch.equal(p.grad, g) for p, g in zip(layer.parameters(), first, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        output.sum().backward()


@pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_zeros_that_have_no_memory(kind):
    zeros = torch._efficientzerotensor
    layer, x = getattr(ur, kind)(4, 6), torch.randn(3, 2, 4)
    output, _ = layer(x)
    torch.sgn(output).sum().backward()  # whose gradient is such a tensor
    assert all(not p.grad.any() for p in layer.parameters())
    layer.zero_grad()
    output, state = layer(x)
    last = state[0] if isinstance(state, tuple) else state
    torch.autograd.backward([output, last], [zeros(output.shape), torch.ones_like(last)])
    wanted = torch.autograd.grad(layer(x)[0][-1].sum(), [*layer.parameters()])
    torch.testing.assert_close([p.grad for p in layer.parameters()], [*wanted])
    with torch.no_grad(), ur.engine("reference"):
        wanted = layer(torch.zeros(3, 2, 4))[0]
    with torch.no_grad():
        torch.testing.assert_close(layer(zeros((3, 2, 4)))[0], wanted)
