"""By what a call is known for one whose like has come before, in inference and in training."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from ..stack import Stack

MOST = 256
"""Kinds of calls remembered; those that came first go first."""

Result = tuple[Tensor, tuple[Tensor, ...]]

K = TypeVar("K")


def plain(x: Any, axes: int = 3) -> bool:
    """Whether it is an input as kernels read it, of a batch: features with so many axes, or symbols."""
    return (
        type(x) is Tensor
        and (x.dtype is torch.float32 if x.dim() == axes else x.dtype is torch.int64 and x.dim() == 2)
        and x.is_cpu
        and not x.is_neg()
        and not x._is_zerotensor()
    )


def lying(x: Tensor, axes: int) -> tuple[Tensor, tuple[int, ...] | None]:
    """Of an input that is not dense, symbols or features with so many axes, one whose features lie side by
    side, as kernels read them, and its strides; None: it is dense now."""
    if x.dim() == axes and x.is_floating_point() and x.shape[-1] > 1 and x.stride(-1) != 1:
        return x.contiguous(), None
    return x, x.stride()


def guards(tensors: Sequence[Tensor]) -> Callable[..., bool]:
    """Of as many tensors, whether they are as these: type, dtype, device, sizes, strides, all that makes
    torch call other functions for them. Where it says no they may still do as well.

    One call of the guards that torch's compiler has, in place of a dozen attributes; where it has them not,
    it always says no.
    """
    try:
        made = torch._C._dynamo.guards.TensorGuards  # pyright: ignore[reportAttributeAccessIssue]
        return made(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None).check
    except (AttributeError, TypeError):
        return lambda *_: False


def plain_reset(reset: Any, x: Tensor) -> bool:
    """Whether it says for each symbol of the input if a sequence begins there, as kernels read it."""
    return (
        type(reset) is Tensor
        and reset.dtype is torch.bool
        and reset.shape == x.shape[:2]
        and reset.is_cpu
        and reset.is_contiguous()
    )


def plain_lengths(lengths: Any, x: Tensor, batch_first: bool | None) -> bool:
    """Whether it is a length within the input for each of its rows, as kernels read it."""
    batch, time = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
    if not (
        type(lengths) is Tensor
        and lengths.dtype is torch.int64
        and lengths.dim() == 1
        and len(lengths) == batch > 0
        and lengths.is_cpu
        and lengths.is_contiguous()
    ):
        return False
    low, high = lengths.aminmax()
    return int(low) >= 0 and int(high) <= time


def in_range(x: Tensor, stack: Stack) -> bool:
    """Whether all indices, if it is indices, stand for something; the long way says which do not."""
    if x.dtype is torch.float32:
        return True
    low, high = x.aminmax()
    return int(low) >= 0 and int(high) < stack.input_size


def states_of(state: Any, shapes: Sequence[torch.Size]) -> Sequence[Tensor] | None:
    """The initial states as the kernels want them, if they are what they should be."""
    if len(shapes) == 1:
        state = (state,)
    if (type(state) is not tuple and type(state) is not list) or len(state) != len(shapes):
        return None
    dense = True
    for s, shape in zip(state, shapes, strict=True):
        if type(s) is not Tensor or s.shape != shape or s.dtype is not torch.float32:
            return None
        if not s.is_cpu or s.is_neg() or s._is_zerotensor():
            return None
        dense = dense and s.is_contiguous()
    return state if dense else [s.contiguous() for s in state]


class Kinds(Generic[K]):
    """Kinds of calls by their keys, each as long as a parameter of its layer lives; the oldest go first."""

    def __init__(self) -> None:
        self._kinds: dict[Any, K] = {}
        self._ends: dict[Any, weakref.finalize[..., Tensor]] = {}
        self.get: Callable[[Any], K | None] = self._kinds.get
        """The one with a key."""
        self.last: dict[int, K] = {}
        """By the numbers that keys begin with, the kind that `found` was told of last."""

    def __len__(self) -> int:
        return len(self._kinds)

    def items(self) -> list[tuple[Any, K]]:
        """All, the oldest first."""
        return list(self._kinds.copy().items())  # other threads may put one there meanwhile

    def put(self, key: Any, kind: K, parameter: Tensor) -> None:
        """One more, or another with this key."""
        self.drop(key)
        end = self._ends[key] = weakref.finalize(parameter, self.drop, key)
        end.atexit = False
        self._kinds[key] = kind
        while len(self._kinds) > MOST:
            self.drop(next(iter(self._kinds.copy())))

    def found(self, key: Any, kind: K) -> None:
        """Calls of this kind will be looked for first."""
        self.last[key[0]] = kind
        if self._kinds.get(key) is not kind:  # another thread has let it go
            self.last.pop(key[0], None)

    def drop(self, key: Any) -> K | None:
        """Lets one go."""
        end = self._ends.pop(key, None)
        if end is not None:
            end.detach()
        kind = self._kinds.pop(key, None)
        if kind is not None and self.last.get(key[0]) is kind:
            self.last.pop(key[0], None)
        return kind
