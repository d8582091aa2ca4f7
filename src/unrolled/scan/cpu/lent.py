"""The memory under large outputs and gradients, used again when nobody has it any more.

An allocator gives so much back to the system, and the next step begins with fresh pages, whose first touch
takes about as long as the arithmetic on them. Whether somebody has it is asked of the storage, which every
tensor and view of it counts.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

LARGE = 1 << 17
"""Bytes from which on it is worth it."""
MOST = 1 << 28
"""Bytes under whatever is known here; beyond them, memory is torch's own."""
_EACH, _SIZES = 16, 64
"""Pieces of one size, and sizes."""

_holders: Callable[[int], int] | None = getattr(torch._C, "_storage_Use_Count", None)
try:
    # As torch's compiler makes a tensor of another's memory: no view, and without the way through the
    # dispatcher, which takes some ten microseconds after a kernel.
    _alias = torch._C._dynamo.guards._reinterpret_tensor  # pyright: ignore[reportAttributeAccessIssue]
except AttributeError:
    _alias = None


def outside() -> AbstractContextManager[Any]:
    """Within it no inference mode: what inference borrows may serve a training step next, which writes into
    it. In a training step nothing is done, for an interrupt while torch changes its modes could leave
    autograd off."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


class _Room:
    """A storage, and what is known of it while nobody has it: shared or resized, it is another one."""

    def __init__(self, size: int) -> None:
        with outside():
            self._storage = torch.empty(size, dtype=torch.uint8).untyped_storage()
        self.alone = self.known()
        """What is known of it while nobody has a tensor of it, nor the storage itself."""
        self._numbers: dict[torch.dtype, Tensor] = {}
        """All of it as numbers of a dtype, of which tensors are made; each holds it, alone as well."""

    def known(self) -> tuple[int, int, int, int]:
        """Where it is, of how many bytes, and how many hold it in Python and in C++."""
        storage: Any = self._storage
        holders = 0 if _holders is None else _holders(storage._cdata)
        return storage.data_ptr(), storage.nbytes(), sys.getrefcount(storage), holders

    def tensor(self, shape: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor of it, which is nobody's view; for who has found that nobody else has one."""
        if _alias is None:
            return torch.empty(0, dtype=dtype).set_(self._storage, 0, shape, stride)
        numbers = self._numbers.get(dtype)
        if numbers is None:
            with outside():
                numbers = torch.empty(0, dtype=dtype).set_(self._storage)
            self._numbers[dtype] = numbers
            self.alone = self.known()
        return _alias(numbers, shape, stride, 0)


_rooms: dict[int, deque[_Room]] = {}


def maker(shape: Sequence[int], dtype: torch.dtype) -> Callable[[], Tensor]:
    """Makes uninitialised numbers in this shape."""
    return partial(_make, tuple(shape), strides(shape), dtype, prod(shape) * dtype.itemsize)


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Those of numbers that lie densely in this shape."""
    return tuple([prod(shape[i + 1 :]) for i in range(len(shape))])


def _make(shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype, size: int) -> Tensor:
    if _holders is None:
        return torch.empty(*shape, dtype=dtype)
    # The size that came last stands last.
    rooms = _rooms.pop(size, None) or deque()
    _rooms[size] = rooms
    room = _free(rooms) or _new(rooms, size)
    if room is None:
        return torch.empty(*shape, dtype=dtype)
    made = room.tensor(shape, stride, dtype)
    rooms.append(room)
    return made


def _free(rooms: deque[_Room]) -> _Room | None:
    """One that nobody has, of those not found in use yet the one lent last, for it is in the caches; taken
    from the others so that no other thread takes it."""
    for _ in range(len(rooms)):
        try:
            room = rooms.pop()
        except IndexError:  # another thread has them
            return None
        known = room.known()
        if known == room.alone:
            return room
        # What has another place or size is not used again, whoever has it: kernels would write beyond it.
        if known[:2] == room.alone[:2]:
            rooms.appendleft(room)
    return None


def _new(rooms: deque[_Room], size: int) -> _Room | None:
    """Another one, for which sizes that have not come for longest are forgotten, whoever has them."""
    if len(rooms) >= _EACH:
        return None
    held = _held()
    for other in list(_rooms):
        if held + size <= MOST and len(_rooms) <= _SIZES:
            break
        if other != size:
            held -= other * len(_rooms.pop(other, ()))
    return _Room(size) if held + size <= MOST else None


def _held() -> int:
    return sum(size * len(rooms) for size, rooms in list(_rooms.items()))


def clear() -> None:
    """Forgets all."""
    _rooms.clear()
