"""The equations of every cell, as pure functions of tensors.

A cell knows nothing of time, batches, devices or parameters. Given, for one step,

    x   the input projection      W·x_t + b_ih        one tensor a gate
    r   the recurrent projection  R·h_{t-1} + b_hh    one tensor a gate
    the previous states, the output first

it returns the next states; the first is the output. Everything is elementwise, one hidden unit at a
time, so an engine may run a cell on any slice of a batch or of the units, and derive its backward.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .errors import Error

Recurrence = Literal["dense", "diagonal", "none"]
"""How h_{t-1} enters the gates: R a matrix; R a diagonal (one weight a unit); not at all."""


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell's equations with what an engine must know to run them.

    function(x, r, *states, **vectors) returns the next state, or a tuple of them if there are several.
    x and r are sequences of `gates` tensors of one shape; r is None when `recurrent` is "none".
    vectors are parameters of one weight a unit (peepholes), named by the function's keyword-only
    arguments.
    """

    function: Callable[..., Tensor | tuple[Tensor, ...]]
    gates: int
    states: int = 1
    recurrent: Recurrence = "dense"
    vectors: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The function's own name."""
        return self.function.__name__

    def __repr__(self) -> str:
        return f"<cell {self.name}: {self.gates} gates, {self.states} states, {self.recurrent}>"

    def __deepcopy__(self, memo: object) -> Cell:
        return self  # one cell, one object: engines keep their kernels by it

    def __reduce__(self) -> tuple[Callable[[str, str], Cell], tuple[str, str]]:
        # By name, since the name in its module is this cell and no longer the function.
        return _named, (self.function.__module__, self.function.__qualname__)

    def __call__(
        self,
        x: tuple[Tensor, ...],
        r: tuple[Tensor, ...] | None,
        states: tuple[Tensor, ...],
        vectors: tuple[Tensor, ...] = (),
    ) -> tuple[Tensor, ...]:
        """The next states as a tuple, also when there is only one."""
        result = self.function(x, r, *states, **dict(zip(self.vectors, vectors, strict=True)))
        if not isinstance(result, (Tensor, tuple, list)):
            raise TypeError(
                f"cell {self.name} returned a {type(result).__name__}; wanted its next state(s)"
            )
        following = (result,) if isinstance(result, Tensor) else tuple(result)
        if len(following) != self.states:
            raise Error(
                f"cell {self.name} returned {len(following)} states; "
                f"it was declared with states={self.states}"
            )
        return following


_TAKEN = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
"""What the parameters of a layer are called that every cell has."""


def _named(module: str, name: str) -> Cell:
    return getattr(importlib.import_module(module), name)


def cell(*, gates: int, states: int = 1, recurrent: Recurrence = "dense") -> Callable[..., Cell]:
    """Decorator: make a cell of a function (x, r, h, …, *, vector, …) -> next states.

    gates: how many projections of the input (and of the state) the function reads.
    states: how many states it takes and returns; the first is the output.
    recurrent: "dense" (R is a matrix), "diagonal" (R is one weight a unit and gate) or "none" (r is None).

    The function is pure: a number that it reads from elsewhere (a global, a closure) is what it was when
    the cell first ran, and what changes while it runs must be an argument.

    Raises Error when the function's signature does not fit.
    """
    if not all(isinstance(n, int) and n >= 1 for n in (gates, states)):
        raise Error(f"cell(gates={gates!r}, states={states!r}): both must be at least 1, and whole")
    if recurrent not in ("dense", "diagonal", "none"):
        raise Error(f'cell(recurrent={recurrent!r}): wanted "dense", "diagonal" or "none"')

    def decorate(function: Callable[..., Tensor | tuple[Tensor, ...]]) -> Cell:
        if not inspect.isfunction(function):
            raise TypeError(f"cell: {function!r} is not a function; wanted a def or a lambda, once")
        arguments = inspect.signature(function).parameters.values()
        positional = [a for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD]
        keyword = tuple(a.name for a in arguments if a.kind is a.KEYWORD_ONLY)
        if len(positional) != 2 + states or len(positional) + len(keyword) != len(arguments):
            raise Error(
                f"cell {function.__name__}{inspect.signature(function)}: with states={states} its "
                f"arguments must be x, r and {states} state(s), then per-unit vectors as keyword-only"
            )
        for argument in arguments:
            if argument.kind is argument.KEYWORD_ONLY and argument.default is not argument.empty:
                raise Error(f"cell {function.__name__}: {argument} is a learned vector; it has no default")
            if argument.name in _TAKEN:
                raise Error(f"cell {function.__name__}: a layer has a {argument.name} already; rename it")
        return Cell(function, gates, states, recurrent, keyword)

    return decorate


@cell(gates=1)
def rnn_tanh(x, r, h):
    """Elman (1990): h' = tanh(x + r)."""
    return torch.tanh(x[0] + r[0])


@cell(gates=1)
def rnn_relu(x, r, h):
    """Elman's with a rectifier, Le et al. (2015), arXiv:1504.00941: h' = max(0, x + r)."""
    return torch.relu(x[0] + r[0])


@cell(gates=3)
def gru(x, r, h):
    """Cho et al. (2014), arXiv:1406.1078, with the reset gate after the product, as in torch.nn.GRU.

    ρ = σ(x_r + r_r)    z = σ(x_z + r_z)    n = tanh(x_n + ρ r_n)    h' = (1 - z) n + z h
    """
    reset = torch.sigmoid(x[0] + r[0])
    update = torch.sigmoid(x[1] + r[1])
    candidate = torch.tanh(x[2] + reset * r[2])
    return candidate + update * (h - candidate)


@cell(gates=4, states=2)
def lstm(x, r, h, c):
    """Hochreiter & Schmidhuber (1997) with Gers et al.'s forget gate (2000), gates in torch.nn's order.

    i = σ(x_i + r_i)    f = σ(x_f + r_f)    g = tanh(x_g + r_g)    o = σ(x_o + r_o)
    c' = f c + i g      h' = o tanh(c')
    """
    input = torch.sigmoid(x[0] + r[0])
    forget = torch.sigmoid(x[1] + r[1])
    candidate = torch.tanh(x[2] + r[2])
    output = torch.sigmoid(x[3] + r[3])
    c = forget * c + input * candidate
    return output * torch.tanh(c), c


@cell(gates=4, states=2)
def peephole_lstm(x, r, h, c, *, peephole_i, peephole_f, peephole_o):
    """Gers & Schmidhuber (2000), "Recurrent nets that time and count": the gates see the cell state.

    i = σ(x_i + r_i + p_i c)    f = σ(x_f + r_f + p_f c)    c' = f c + i tanh(x_g + r_g)
    o = σ(x_o + r_o + p_o c')   h' = o tanh(c')
    """
    input = torch.sigmoid(x[0] + r[0] + peephole_i * c)
    forget = torch.sigmoid(x[1] + r[1] + peephole_f * c)
    candidate = torch.tanh(x[2] + r[2])
    c = forget * c + input * candidate
    output = torch.sigmoid(x[3] + r[3] + peephole_o * c)
    return output * torch.tanh(c), c


@cell(gates=3, states=2)
def cifg_lstm(x, r, h, c):
    """The LSTM with coupled input and forget gates, Greff et al. (2015), arXiv:1503.04069.

    f = σ(x_f + r_f)    c' = f c + (1 - f) tanh(x_g + r_g)    h' = σ(x_o + r_o) tanh(c')
    """
    forget = torch.sigmoid(x[0] + r[0])
    candidate = torch.tanh(x[1] + r[1])
    output = torch.sigmoid(x[2] + r[2])
    c = candidate + forget * (c - candidate)
    return output * torch.tanh(c), c


@cell(gates=2)
def minimal_gated_unit(x, r, h):
    """Zhou et al. (2016), arXiv:1603.09420, with the forget gate after the product.

    f = σ(x_f + r_f)    n = tanh(x_n + f r_n)    h' = (1 - f) h + f n
    """
    forget = torch.sigmoid(x[0] + r[0])
    candidate = torch.tanh(x[1] + forget * r[1])
    return h + forget * (candidate - h)


@cell(gates=1, recurrent="diagonal")
def indrnn(x, r, h):
    """Li et al. (2018), arXiv:1803.04831: units do not see each other: h' = max(0, x + u h)."""
    return torch.relu(x[0] + r[0])


@cell(gates=2, recurrent="none")
def min_gru(x, r, h):
    """Feng et al. (2024), arXiv:2410.01201: gates see the input alone.

    z = σ(x_z)    h' = (1 - z) h + z x_n
    """
    update = torch.sigmoid(x[0])
    return h + update * (x[1] - h)


@cell(gates=3, recurrent="none")
def min_lstm(x, r, h):
    """Feng et al. (2024), arXiv:2410.01201, the two gates scaled to add up to one.

    f = σ(x_f)    i = σ(x_i)    h' = (f h + i x_n) / (f + i)
    """
    forget = torch.sigmoid(x[0])
    input = torch.sigmoid(x[1])
    return (forget * h + input * x[2]) / (forget + input)


@cell(gates=4, states=2, recurrent="none")
def sru(x, r, h, c, *, weight_f, weight_r):
    """Lei et al. (2018), arXiv:1709.02755, with a projected highway (any input width).

    f = σ(x_f + v_f c)    ρ = σ(x_r + v_r c)    c' = f c + (1 - f) x_n    h' = ρ c' + (1 - ρ) x_s
    """
    forget = torch.sigmoid(x[1] + weight_f * c)
    reset = torch.sigmoid(x[2] + weight_r * c)
    c = x[0] + forget * (c - x[0])
    return x[3] + reset * (c - x[3]), c


@cell(gates=4, states=4)
def slstm(x, r, h, c, n, m):
    """The scalar LSTM of xLSTM, Beck et al. (2024), arXiv:2405.04517: exponential input gate,
    normaliser n, and stabiliser m, which keeps every exponent at or below zero.

    ĩ = x_i + r_i    l = log σ(x_f + r_f)    m' = max(l + m, ĩ)
    i = exp(ĩ - m')  f = exp(l + m - m')
    c' = f c + i tanh(x_g + r_g)    n' = f n + i    h' = σ(x_o + r_o) c' / n'
    """
    log_input = x[0] + r[0]
    log_forget = logsigmoid(x[1] + r[1]) + m
    m = torch.maximum(log_forget, log_input)
    input = torch.exp(log_input - m)
    forget = torch.exp(log_forget - m)
    candidate = torch.tanh(x[2] + r[2])
    output = torch.sigmoid(x[3] + r[3])
    c = forget * c + input * candidate
    n = forget * n + input
    return output * c / n, c, n, m


CELLS: dict[str, Cell] = {
    c.name: c
    for c in (
        rnn_tanh,
        rnn_relu,
        gru,
        lstm,
        peephole_lstm,
        cifg_lstm,
        minimal_gated_unit,
        indrnn,
        min_gru,
        min_lstm,
        sru,
        slstm,
    )
}
"""Every cell that ships, by name."""
