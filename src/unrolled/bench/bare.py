"""A call that computes nothing: what a module takes whose outputs and gradients somebody else made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .work import Shape


class Bare(torch.nn.Module):
    """A layer's parameters and results, uninitialised; with gradients, as one node of autograd."""

    def __init__(self, layer: torch.nn.Module, shape: Shape) -> None:
        super().__init__()
        self._own = torch.nn.ParameterList(layer.parameters())
        self._weights = list(self._own)
        self._sizes = (shape.time, shape.batch, shape.hidden_size), (1, shape.batch, shape.hidden_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """An output and a last state."""
        if torch.is_grad_enabled():
            return _Node.apply(self._sizes, x, *self._weights)
        return torch.empty(*self._sizes[0]), torch.empty(*self._sizes[1])


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sizes: tuple[tuple[int, ...], ...], *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        return tuple([torch.empty(*size) for size in sizes])

    @staticmethod
    def backward(ctx: Any, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, *[torch.empty_like(t) for t in ctx.saved_tensors]
