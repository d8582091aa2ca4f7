"""Memory that is used again: by nobody while somebody has it, in whatever way."""

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import unrolled as ur
from unrolled.scan.cpu import lent, room

FLOATS = lent.LARGE // 4
SIZE = (FLOATS // 100 + 1, 100)


@pytest.fixture(autouse=True)
def nothing_lies_by():
    room.clear()
    yield
    room.clear()


@pytest.mark.parametrize("make", [room.empty, lambda size: room.like(torch.ones(size))])
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


def test_bfloat16_has_half_the_bytes():
    first = room.empty(SIZE, torch.bfloat16)
    assert first.untyped_storage().nbytes() == 2 * first.numel()
    large = room.empty((2 * SIZE[0], SIZE[1]), torch.bfloat16)
    address = large.data_ptr()
    del large
    assert room.empty(SIZE).data_ptr() == address


def test_what_others_still_have_is_theirs():
    numbers = room.empty(SIZE).numpy()
    storage = room.empty(SIZE).untyped_storage()
    numbers[:], address = 7.0, storage.data_ptr()
    for _ in range(3):
        other = room.empty(SIZE).fill_(1)
        assert other.data_ptr() not in (address, numbers.__array_interface__["data"][0])
    assert (numbers == 7).all()


def test_shared_or_resized_memory_is_not_used_again():
    shared = room.empty(SIZE).share_memory_()
    address = shared.data_ptr()
    del shared
    assert room.empty(SIZE).data_ptr() != address
    resized = room.empty(SIZE).resize_(4 * FLOATS)
    del resized
    again = room.empty(SIZE)
    assert again.untyped_storage().nbytes() == 4 * again.numel()


def test_memory_that_became_smaller_where_it_was_is_not_used_again(monkeypatch):
    kept = room.empty(SIZE)
    storage = kept.untyped_storage()
    del kept
    own = lent._rooms[storage.nbytes()][0]
    address, size, *holders = own.alone
    # As after resize_(0) and resize_(fewer), when the allocator gives the same address.
    monkeypatch.setattr(own, "known", lambda: (address, size // 2, *holders))
    del storage
    again = room.empty(SIZE)
    assert again.data_ptr() != address
    assert own not in lent._rooms[size]


_SHRINKING = """
import torch, unrolled as ur
layer, x = ur.RNN(32, 256), torch.randn(100, 32, 32)
torch.empty(8 << 20, dtype=torch.uint8)  # from here on the heap gives blocks as large, and the same again
with torch.no_grad():
    for _ in range(3):
        layer(x)
    for _ in range(3):
        out = layer(x)[0]
        out.untyped_storage().resize_(0)
        out.untyped_storage().resize_(200_000)
        del out
        out = layer(x)[0]
        assert out.untyped_storage().nbytes() == out.nbytes
"""


def test_no_kernel_writes_beyond_an_output_that_was_shrunk():
    # In a process of its own, where the allocator gives the same address again.
    done = subprocess.run([sys.executable, "-c", _SHRINKING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_its_sum_and_its_number_are_bounded(monkeypatch):
    monkeypatch.setattr(lent, "MOST", 4 * lent.LARGE)
    held = [room.empty((FLOATS,)) for _ in range(6)]
    assert lent._held() == 4 * lent.LARGE
    assert len({t.data_ptr() for t in held}) == 6
    held.clear()
    room.empty((3 * FLOATS,))
    assert lent._held() == 3 * lent.LARGE
    monkeypatch.setattr(lent, "MOST", 100 * lent.LARGE)
    held = [room.empty((FLOATS,)) for _ in range(20)]
    assert len(lent._rooms[lent.LARGE]) == lent._EACH
    for more in range(100):
        room.empty((FLOATS + more,))
    assert len(lent._rooms) == lent._SIZES
    assert len({t.data_ptr() for t in held}) == 20


def test_many_threads_get_memory_of_their_own():
    def work(number):
        for _ in range(200):
            mine = room.empty(SIZE).fill_(number)
            assert mine.eq(number).all()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))


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
    assert output.nbytes >= lent.LARGE
    for output, copy, gradient, other in kept:
        assert torch.equal(output, copy)
        assert torch.equal(gradient, other)
