"""Memory that shows what it should not: NaN before it is written, and guards around it."""

import ctypes
import math
import sys

import pytest
import torch

GUARD, PATTERN = 64, 12345.678


@pytest.fixture
def guarded(monkeypatch):
    """Every buffer that the engine asks for begins as NaN, between guards that must survive the test."""
    from unrolled.scan.cpu import course, elastic, inference, layer, plans, prepared, results, room

    kept = []

    def memory(count):
        whole = torch.full((count + 2 * GUARD,), PATTERN, dtype=torch.float32)
        whole[GUARD : GUARD + count] = float("nan")
        kept.append((whole, count))
        return whole[GUARD : GUARD + count]

    def empty(shape, dtype=torch.float32):
        return memory(math.prod(shape)).view(*shape).to(dtype)

    for module in (layer, room):
        monkeypatch.setattr(module, "memory", memory)
    for module in (course, elastic, inference, prepared, room):
        monkeypatch.setattr(module, "empty", empty)
    for module in (course, elastic, prepared, results, room):
        monkeypatch.setattr(module, "maker", lambda shape, dtype=torch.float32: lambda: empty(shape, dtype))
    monkeypatch.setattr(room, "like", lambda tensor: memory(tensor.numel()).view(tensor.shape))
    plans.clear()
    room.clear()
    yield kept
    plans.clear()
    room.clear()
    assert kept
    for whole, count in kept:
        expected = torch.tensor(PATTERN)
        assert (whole[:GUARD] == expected).all(), f"written before a buffer of {count} floats"
        assert (whole[GUARD + count :] == expected).all(), f"written after a buffer of {count} floats"


@pytest.fixture
def always_shared(monkeypatch):
    """Whoever calls has workers, as long calls have."""
    from unrolled.scan.cpu import claim, division, practice, ready, training, trial

    monkeypatch.setattr(claim, "LONG", -math.inf)
    for module in (division, practice, ready, training):
        monkeypatch.setattr(module, "ALONE", -math.inf)
    monkeypatch.setattr(trial.Stalls, "resting", lambda _: False)


@pytest.fixture
def fenced():
    """A copy of a tensor that ends where memory ends, so that a read beyond it is a crash (Linux)."""
    if sys.platform != "linux":
        pytest.skip("needs mmap and mprotect as Linux has them")
    import mmap

    maps = []
    libc = ctypes.CDLL(None, use_errno=True)

    def fence(tensor):
        size = 4 * tensor.numel()
        pages = -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        region = mmap.mmap(-1, pages + mmap.PAGESIZE)
        view = (ctypes.c_char * (pages + mmap.PAGESIZE)).from_buffer(region)
        base = ctypes.addressof(view)
        assert libc.mprotect(ctypes.c_void_p(base + pages), mmap.PAGESIZE, 0) == 0
        maps.append((region, view, base + pages))
        copy = torch.frombuffer(
            region, dtype=torch.float32, count=tensor.numel(), offset=pages - size
        ).view(tensor.shape)
        return copy.copy_(tensor)

    yield fence
    for _, _, guard in maps:
        libc.mprotect(ctypes.c_void_p(guard), mmap.PAGESIZE, 3)


@pytest.fixture(params=["torch's guards", "without them"])
def guards(request, monkeypatch):
    """What a torch that has no such guards, or others, would do."""
    if request.param == "without them":
        monkeypatch.setattr(torch._C._dynamo.guards, "TensorGuards", lambda *_: None)


@pytest.fixture
def set_threads():
    """torch.set_num_threads, for this test alone."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def two_threads(set_threads):
    """Two of torch's threads, for this test alone."""
    set_threads(2)
