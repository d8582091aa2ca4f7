"""The scan as an operator of PyTorch, `unrolled::scan`, for graphs: torch.compile, torch.export, make_fx.

Eager calls go straight to an engine. In a graph the engine is chosen when the graph runs, so one graph
serves every batch, length and engine. The backward runs the scan again and differentiates that: engines
keep what their own backward needs in ways that a graph cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from . import engines
from .stack import Call, named
from .validate import check_lengths


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As engines.run, in one operator that a graph can hold."""
    seed = None
    if call.training and call.stack.drops:
        # The backward must drop what the forward dropped.
        seed = torch.randint(2**62, (1,), dtype=torch.int64)
    output, *states = torch.ops.unrolled.scan(
        call.input,
        list(call.parameters),
        list(call.state),
        call.lengths,
        call.reset,
        seed,
        call.stack.name,
    )
    return output, tuple(states)


# Written out, for not every version of PyTorch reads it from the annotations.
_GIVEN = (
    "Tensor input, Tensor[] parameters, Tensor[] state, "
    "Tensor? lengths, Tensor? reset, Tensor? seed, str stack"
)


@torch.library.custom_op("unrolled::scan", mutates_args=(), schema=f"({_GIVEN}) -> Tensor[]")
def _scan(
    input: Tensor,
    parameters: list[Tensor],
    state: list[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    seed: Tensor | None,
    stack: str,
) -> list[Tensor]:
    call = _call(input, parameters, state, lengths, reset, seed, stack)
    return _own(_results(call, seed), (input, *parameters, *state))


@_scan.register_fake
def _(
    input: Tensor,
    parameters: list[Tensor],
    state: list[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    seed: Tensor | None,
    stack: str,
) -> list[Tensor]:
    known = named(stack)
    output = state[0].new_empty(*input.shape[:2], known.directions * known.output_size)
    return [output, *(s.new_empty(s.shape) for s in state)]


@torch.library.custom_op(
    "unrolled::scan_backward", mutates_args=(), schema=f"(Tensor[] grads, {_GIVEN}) -> Tensor[]"
)
def _scan_backward(
    grads: list[Tensor],
    input: Tensor,
    parameters: list[Tensor],
    state: list[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    seed: Tensor | None,
    stack: str,
) -> list[Tensor]:
    with _autograd():
        leaves = [t.detach().requires_grad_() for t in _differentiable(input, parameters, state)]
        rest = iter(leaves)
        if input.dtype is not torch.int64:
            input = next(rest)
        parameters = [next(rest) for _ in parameters]
        state = [next(rest) for _ in state]
        results = _results(_call(input, parameters, state, lengths, reset, seed, stack), seed)
        # Of no steps the output hangs on nothing.
        pairs = [(r, g) for r, g in zip(results, grads, strict=True) if r.requires_grad]
        found = torch.autograd.grad([r for r, _ in pairs], leaves, [g for _, g in pairs], allow_unused=True)
    found = [torch.zeros_like(t) if g is None else g for t, g in zip(leaves, found, strict=True)]
    return _own(found, tuple(grads))


@_scan_backward.register_fake
def _(
    grads: list[Tensor],
    input: Tensor,
    parameters: list[Tensor],
    state: list[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    seed: Tensor | None,
    stack: str,
) -> list[Tensor]:
    return [t.new_empty(t.shape) for t in _differentiable(input, parameters, state)]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    input, parameters, state, lengths, reset, seed, ctx.stack = inputs
    ctx.counts = len(parameters), len(state)
    optional = [t for t in (lengths, reset, seed) if t is not None]
    ctx.present = [t is not None for t in (lengths, reset, seed)]
    ctx.save_for_backward(input, *parameters, *state, *optional)


def _backward(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    input, *rest = ctx.saved_tensors
    rest = iter(rest)
    parameters, state = ([next(rest) for _ in range(n)] for n in ctx.counts)
    optional = [next(rest) if there else None for there in ctx.present]
    found = iter(
        torch.ops.unrolled.scan_backward(list(grads), input, parameters, state, *optional, ctx.stack)
    )
    d_input = next(found) if input.dtype is not torch.int64 else None
    return d_input, [next(found) for _ in parameters], list(found), None, None, None, None


_scan.register_autograd(_backward, setup_context=_setup_context)


@contextmanager
def _autograd() -> Iterator[None]:
    """Records gradients inside an operator, where the dispatcher has put autograd aside."""
    put_back = torch._C._SetExcludeDispatchKeyGuard
    with (
        put_back(torch._C.DispatchKey.AutogradFunctionality, False),
        put_back(torch._C.DispatchKey.ADInplaceOrView, False),
        torch.enable_grad(),
    ):
        yield


def _differentiable(input: Tensor, parameters: list[Tensor], state: list[Tensor]) -> list[Tensor]:
    return [*([input] if input.dtype is not torch.int64 else []), *parameters, *state]


def _call(
    input: Tensor,
    parameters: list[Tensor],
    state: list[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    seed: Tensor | None,
    stack: str,
) -> Call:
    known = named(stack)
    if lengths is not None:
        lengths = check_lengths(known, lengths, input.shape[1])
    training = seed is not None
    return Call(known, input, tuple(parameters), tuple(state), lengths, reset, training)


def _results(call: Call, seed: Tensor | None) -> list[Tensor]:
    if seed is None:
        output, states = engines.run(call)
    else:
        device = call.input.device
        with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
            torch.manual_seed(int(seed))
            output, states = engines.run(call)
    return [output, *states]


def _own(results: list[Tensor], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Contiguous, and no two of them or the inputs in one storage, as an operator's results must be."""
    taken = {t.untyped_storage()._cdata for t in inputs}
    owned = []
    for tensor in results:
        shared = tensor.untyped_storage()._cdata in taken
        copy = shared or not tensor.is_contiguous()
        owned.append(tensor.clone(memory_format=torch.contiguous_format) if copy else tensor)
        taken.add(owned[-1].untyped_storage()._cdata)
    return owned
