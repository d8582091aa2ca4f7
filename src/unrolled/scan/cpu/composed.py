"""Functions of torch's that are made of simpler ones, and their gradients.

As torch's own decompositions are, but these need no import of its compiler, which takes longer than all
else of a cell's first call. Each has its op's signature.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus


def _gelu(a: Tensor, approximate: str = "none") -> Tensor:
    """a Φ(a), Φ the normal distribution's; or by tanh, Hendrycks & Gimpel (2016), arXiv:1606.08415."""
    if approximate == "tanh":
        return 0.5 * a * (1 + torch.tanh(_inner(a)))
    return 0.5 * a * (1 + torch.erf(a * math.sqrt(0.5)))


def _inner(a: Tensor) -> Tensor:
    return math.sqrt(2 / math.pi) * (a + 0.044715 * a * a * a)


def _gelu_backward(g: Tensor, a: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        t = torch.tanh(_inner(a))
        slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * a * a)
        return g * (0.5 * (1 + t) + 0.5 * a * (1 - t * t) * slope)
    density = torch.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
    return g * (0.5 * (1 + torch.erf(a * math.sqrt(0.5))) + a * density)


def _elu(a: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    return torch.where(a > 0, a * scale, torch.expm1(a * input_scale) * (alpha * scale))


def _elu_backward(
    g: Tensor, alpha: float, scale: float, input_scale: float, is_result: bool, a: Tensor
) -> Tensor:
    if is_result:
        return torch.where(a <= 0, g * input_scale * (a + alpha * scale), g * scale)
    below = g * (input_scale * alpha * scale) * torch.exp(a * input_scale)
    return torch.where(a <= 0, below, g * scale)


def _celu(a: Tensor, alpha: float = 1.0) -> Tensor:
    return _elu(a, alpha, 1.0, 1 / alpha)


def _mish(a: Tensor) -> Tensor:
    return a * torch.tanh(softplus(a))


def _hardsigmoid(a: Tensor) -> Tensor:
    return torch.clamp(a + 3, 0, 6) / 6


def _hardsigmoid_backward(g: Tensor, a: Tensor) -> Tensor:
    return torch.where((a > -3) & (a < 3), g / 6, 0.0)


def _hardswish(a: Tensor) -> Tensor:
    return a * torch.clamp(a + 3, 0, 6) / 6


def _hardswish_backward(g: Tensor, a: Tensor) -> Tensor:
    between = torch.where(a < 3, g * (a / 3 + 0.5), g)
    return torch.where(a <= -3, 0.0, between)


def _hardshrink(a: Tensor, bound: float = 0.5) -> Tensor:
    return torch.where(a.abs() <= bound, 0.0, a)


def _softshrink(a: Tensor, bound: float = 0.5) -> Tensor:
    return torch.where(a.abs() > bound, a - torch.sign(a) * bound, a * 0.0)  # NaN stays


def _shrink_backward(g: Tensor, a: Tensor, bound: float) -> Tensor:
    return torch.where(a.abs() <= bound, 0.0, g)


def _threshold(a: Tensor, bound: float, value: float) -> Tensor:
    return torch.where(a <= bound, float(value), a)


def _addcdiv(a: Tensor, b: Tensor, c: Tensor, *, value: float = 1) -> Tensor:
    return a + value * b / c


def _logaddexp(a: Tensor, b: Tensor) -> Tensor:
    """log(e^a + e^b)."""
    largest = torch.maximum(a, b)
    total = largest + torch.log1p(torch.exp(-torch.abs(a - b)))
    # Of two endless ones alike the difference is no number.
    return torch.where((a == b) & torch.isinf(a), a, total)


def _nan_to_num(
    a: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    most = torch.finfo(torch.float32).max
    a = torch.where(torch.isnan(a), nan or 0.0, a)
    a = torch.where(a == math.inf, most if posinf is None else posinf, a)
    return torch.where(a == -math.inf, -most if neginf is None else neginf, a)


def _frac(a: Tensor) -> Tensor:
    return a - torch.trunc(a)


COMPOSED: dict[str, Callable[..., Any]] = {
    "gelu": _gelu,
    "gelu_backward": _gelu_backward,
    "elu": _elu,
    "elu_backward": _elu_backward,
    "celu": _celu,
    "mish": _mish,
    "hardsigmoid": _hardsigmoid,
    "hardsigmoid_backward": _hardsigmoid_backward,
    "hardswish": _hardswish,
    "hardswish_backward": _hardswish_backward,
    "hardshrink": _hardshrink,
    "hardshrink_backward": _shrink_backward,
    "softshrink": _softshrink,
    "softshrink_backward": _shrink_backward,
    "threshold": _threshold,
    "addcdiv": _addcdiv,
    "logaddexp": _logaddexp,
    "nan_to_num": _nan_to_num,
    "frac": _frac,
}
