"""Which of PyTorch's transformations a call runs under: kernels need a rule for each of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C import _functorch  # pyright: ignore[reportAttributeAccessIssue]
from torch.autograd import forward_ad

_NONE: frozenset[str] = frozenset()
# To find a function in its module takes as long as to call it.
_depth, _tracing = _functorch.get_dynamic_layer_stack_depth, torch._C._get_tracing_state
_modes, _overrides = torch._C._len_torch_dispatch_stack, torch._C._len_torch_function_stack


def functional() -> int:
    """How many of torch.func's transformations the call is inside; the compiler can trace this."""
    return _functorch.get_dynamic_layer_stack_depth()


# As torch.compiler.assume_constant_result does, without importing the whole compiler. Not every version of
# it can trace what is read there, and for what it traces, the number while it traces is the number. What
# may be compiled by itself, with no tensor by which its graph is told from another's, reads it anew.
functional._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


def inside() -> bool:
    """Whether any is active."""
    return bool(_depth() or forward_ad._current_level >= 0 or _tracing())


def around() -> bool:
    """Whether any is active, or one of the modes that see calls."""
    # All in one function: every call asks.
    return bool(_modes() or _overrides() or _depth() or forward_ad._current_level >= 0 or _tracing())


def active() -> frozenset[str]:
    """Of torch.func "vmap", "grad" and "jvp"; "forward", for dual tensors; "trace", for torch.jit's."""
    if not inside():
        return _NONE
    found = {"forward"} if forward_ad._current_level >= 0 else set()
    if _tracing():
        found.add("trace")
    if _depth():
        found |= {i.key().name.lower() for i in _functorch.get_interpreter_stack() or ()}
    return frozenset(found)


def batched(tensor: Tensor) -> bool:
    """Whether it stands for many: torch.func.vmap's, or torch.autograd.grad's (is_grads_batched)."""
    return _functorch.is_batchedtensor(tensor) or _functorch.is_legacy_batchedtensor(tensor)
