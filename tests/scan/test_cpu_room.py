"""Memory that is used again: by nobody while somebody has it, in whatever way."""

import gc

import pytest
import torch

import unrolled as ur
from unrolled.scan.cpu import room

SIZE = (room.LARGE // 100 + 1, 100)


@pytest.fixture(autouse=True)
def nothing_lies_by():
    room.clear()
    yield
    room.clear()


@pytest.mark.parametrize(
    "make", [room.empty, lambda size: room.like(torch.ones(size)), lambda s: room.zeros_like(torch.ones(s))]
)
def test_memory_comes_again_when_nobody_has_it(make):
    first = make(SIZE)
    address, part = first.data_ptr(), first[3:5].reshape(-1)
    assert not first._is_view()
    assert first.shape == SIZE
    assert address % 64 == 0
    del first
    second = make(SIZE)
    assert second.data_ptr() != address
    del part
    gc.collect()
    assert make(SIZE).data_ptr() == address


def test_zeros_are_zeros_in_used_memory():
    room.like(torch.empty(SIZE)).fill_(3)
    assert not room.zeros_like(torch.empty(SIZE)).any()


def test_little_is_torchs_own():
    assert room.empty((2, 3)).untyped_storage().resizable()
    assert not room.empty(SIZE).untyped_storage().resizable()


def test_what_is_lent_in_inference_is_of_inference():
    with torch.inference_mode():
        inferred = room.empty(SIZE)
    assert inferred.is_inference()
    del inferred
    room.empty(SIZE).requires_grad_().sum().backward()


def test_results_stay_what_they_are():
    layer, x = ur.RNN(64, 128), torch.randn(100, 8, 64, requires_grad=True)
    kept = []
    for scale in (1.0, 2.0, 3.0):
        output, _ = layer(x * scale)
        (gradient,) = torch.autograd.grad(output.sum(), x)
        kept.append((output, output.detach().clone(), gradient, gradient.clone()))
    assert output.numel() >= room.LARGE
    for output, copy, gradient, other in kept:
        assert torch.equal(output, copy)
        assert torch.equal(gradient, other)
