"""Memory of a call, used again by the next: the first touch of fresh pages takes about as long as the
arithmetic on them."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from . import lent
from .lent import outside

MOST = 1 << 26
"""Floats that lie by for later steps; sizes that have not come for longest go first."""

try:
    # As torch's compiler makes tensors: without the way through the dispatcher, in half the time.
    _strided = torch._C._dynamo.guards._empty_strided_cpu  # pyright: ignore[reportAttributeAccessIssue]
except AttributeError:
    _strided = None

_FEW = 1 << 14
"""Floats for which torch's slicing and its own call take longer than setting them."""

_free: dict[int, list[Tensor]] = {}
_most: dict[int, int] = {}
"""How many of each size have lain by at once."""


def whole_lines(count: int) -> int:
    """So many floats and what fills up their last cache line."""
    return -(-count // 16) * 16


def memory(count: int) -> Tensor:
    """Uninitialised floats."""
    return torch.empty(count, dtype=torch.float32)


def empty(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Uninitialised numbers in a shape."""
    return lent.maker(shape, dtype)() if _large(shape, dtype) else torch.empty(shape, dtype=dtype)


def maker(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Callable[[], Tensor]:
    """`empty` of such numbers, for one that is called again and again."""
    if _large(shape, dtype):
        return lent.maker(shape, dtype)
    if _strided is not None:
        return partial(_strided, tuple(shape), lent.strides(shape), dtype)
    with outside():
        like = torch.empty(shape, dtype=dtype)
    # Reading a shape and a dtype takes a quarter of a microsecond, from a torch.Size another whole one.
    return partial(torch.empty_like, like)


def _large(shape: Sequence[int], dtype: torch.dtype) -> bool:
    return math.prod(shape) * dtype.itemsize >= lent.LARGE


def zero(memory: Tensor, count: int) -> None:
    """Sets its first `count` floats to zero."""
    if count > _FEW:
        memory[:count].zero_()
    elif count:
        ctypes.memset(memory.data_ptr(), 0, 4 * count)


def like(tensor: Tensor) -> Tensor:
    """Uninitialised floats in the shape of a contiguous tensor."""
    return torch.empty_like(tensor) if tensor.nbytes < lent.LARGE else empty(tensor.shape)


class Loan:
    """Floats that are given back when nobody holds this any more."""

    def __init__(self, floats: Tensor) -> None:
        self.floats = floats

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ending():  # else the names here may be gone already
            give(self.floats)


def borrow(count: int) -> Loan:
    """Uninitialised floats."""
    return Loan(take(count))


def take(count: int) -> Tensor:
    """Uninitialised floats, until they are given back."""
    try:
        return _free[count].pop()
    except (KeyError, IndexError):
        with outside():
            return memory(count)


def give(room: Tensor) -> None:
    """Lays them by for the next who wants as many."""
    count = room.numel()
    # The size that came last stands last.
    rooms = _free.pop(count, [])
    rooms.append(room)
    _free[count] = rooms
    if len(rooms) <= _most.get(count, 0):
        return
    _most[count] = len(rooms)
    for oldest in list(_free):
        if sum(size * most for size, most in list(_most.items())) <= MOST:
            break
        _free.pop(oldest, None)
        _most.pop(oldest, None)


def clear() -> None:
    """Lets go of all that lies by."""
    _free.clear()
    _most.clear()
    lent.clear()
