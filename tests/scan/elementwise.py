"""Torch's elementwise functions as cells, and cells that compute with their vectors alone."""

import torch
from torch.nn import functional

import unrolled as ur

SMOOTH = {
    "gelu": functional.gelu,
    "gelu by tanh": lambda v: functional.gelu(v, approximate="tanh"),
    "elu": functional.elu,
    "selu": functional.selu,
    "celu": lambda v: functional.celu(v, 0.7),
    "mish": functional.mish,
    "silu": functional.silu,
    "softplus": functional.softplus,
    "logsigmoid": functional.logsigmoid,
    "softsign": functional.softsign,
    "tanhshrink": functional.tanhshrink,
    "erf": torch.erf,
    "sin": lambda v: torch.sin(3 * v),
    "cos": lambda v: torch.cos(3 * v),
}
KINKED = {
    "relu6": functional.relu6,
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
    "hardtanh": functional.hardtanh,
    "hardshrink": functional.hardshrink,
    "softshrink": functional.softshrink,
    "threshold": lambda v: functional.threshold(v, 0.1, -0.3),
    "leaky_relu": functional.leaky_relu,
    "floor": lambda v: torch.floor(3 * v) * v,
    "ceil": lambda v: torch.ceil(3 * v) * v,
    "trunc": lambda v: torch.trunc(3 * v) * v,
    "round": lambda v: torch.round(3 * v) * v,
    "frac": torch.frac,
    "a mask": lambda v: v * (v > 0).float() * ((v < 1) & (v > -1)).to(v.dtype),
    "copysign": lambda v: torch.copysign(v * v, v),
    "functions of a mask": lambda v: (
        v * (torch.clamp(v > 0, 0.1, 0.9) + (v > 1) ** 0.5 + torch.isnan(v > 0))
    ),
    "either": lambda v: v * ((v > 0) ^ (v > 0.5)) + torch.logical_xor(v > 0, v),
    "in place": lambda v: functional.elu((v + 1).frac_(), inplace=True) + (v * 1).addcdiv_(v, v * v + 1),
}
POWERS = {
    "pow": lambda v: (v * v + 1) ** 1.7,
    "of numbers": lambda v: 2.5**v,
    "of each other": lambda v: torch.pow(v * v + 0.5, v),
    "negative": lambda v: (v * v + 1) ** -0.5,
    "exp2": torch.exp2,
    "log2": lambda v: torch.log2(v * v + 1),
    "log10": lambda v: torch.log10(v * v + 1),
    "logaddexp": lambda v: torch.logaddexp(v, 0.5 * v),
    "nan_to_num": torch.nan_to_num,
    "addcdiv": lambda v: torch.addcdiv(v, v, v * v + 1, value=0.3),
    "finite": lambda v: torch.where(torch.isfinite(v) & ~torch.isnan(v) & ~torch.isinf(v), v, 0.0),
}


def cell_of(functions):
    """All of them in one, each as large a part: a kernel takes seconds to compile."""

    def several(x, r, h):
        v = x[0] + r[0]
        return sum([torch.tanh(f(v + 0.1 * k)) for k, f in enumerate(functions)]) / len(functions)

    return ur.cell(gates=1)(several)


@ur.cell(gates=2, states=3, recurrent="none")
def linear_recurrent_unit(x, r, y, re, im, *, decay, phase, mix):
    size = torch.exp(-torch.exp(decay))
    gain = torch.sqrt(1 - size * size)
    cos, sin = size * torch.cos(phase), size * torch.sin(phase)
    re, im = cos * re - sin * im + gain * x[0], sin * re + cos * im + gain * x[1]
    return torch.cos(mix) * re - torch.sin(mix) * im, re, im


@ur.cell(gates=2, recurrent="diagonal")
def gated_decay(x, r, h, *, rate):
    decay = torch.sigmoid(rate) ** (8 * torch.sigmoid(x[0] + r[0]))
    return decay * h + torch.sqrt(1 - decay * decay) * x[1] * (torch.tanh(rate) > 0)


@ur.cell(gates=1)
def scaled(x, r, h, *, scale):
    return torch.tanh(x[0] + r[0]) * torch.exp(scale) + 0 * torch.sigmoid(scale)
