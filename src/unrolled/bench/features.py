"""What the peers do not have, or only slowly: ratios between two ways of the same work, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .. import layers
from ..cells import CELLS, cell
from ..layers import Recurrent
from ..scan import engine
from .measure import medians

BATCH = 32

STEPS = {"lengths": 200, "cells": 100, "traffic": 1000}
"""The length of the sequences of each kind of figure."""


@dataclass(frozen=True)
class Feature:
    """A named figure and its unit ("×" for a ratio)."""

    what: str
    value: float
    unit: str
    backward: bool


def features(backward: bool, rounds: int, bandwidth: float) -> Iterator[Feature]:
    """Every figure in turn; bandwidth: bytes a second, as measured by `peak.memory_traffic`."""
    for name in ("RNN", "GRU", "LSTM"):
        yield _lengths(name, backward, rounds)
    for name in ("RNN", "GRU", "LSTM"):
        yield _resets(name, backward, rounds)
    yield from _dense_cells(backward, rounds)
    for name in ("min_gru", "sru"):
        yield _traffic(name, backward, rounds, bandwidth)
    yield _own_cell(backward, rounds)


def _lengths(name: str, backward: bool, rounds: int) -> Feature:
    batch, time, size = BATCH, STEPS["lengths"], 128
    torch.manual_seed(0)
    theirs, ours = getattr(torch.nn, name)(size, size), getattr(layers, name)(size, size)
    ours.load_state_dict(theirs.state_dict())
    x, lengths = torch.randn(time, batch, size), torch.randint(1, time + 1, (batch,))

    def packed(x: Tensor) -> Tensor:
        outputs, _ = theirs(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(outputs, total_length=time)[0]

    calls = [
        _call(lambda x: ours(x, lengths=lengths)[0], [x, *ours.parameters()], backward),
        _call(packed, [x, *theirs.parameters()], backward),
    ]
    own, other = medians(calls, rounds)
    what = f"{name}, lengths 1..{time}, batch {batch}, {size}→{size}: against torch.nn packed"
    return Feature(what, other / own, "×", backward)


def _resets(name: str, backward: bool, rounds: int) -> Feature:
    batch, time, size = BATCH, STEPS["lengths"], 128
    torch.manual_seed(0)
    layer = getattr(layers, name)(size, size)
    x, reset = torch.randn(time, batch, size), torch.rand(time, batch) < 0.1
    inputs = [x, *layer.parameters()]
    calls = [
        _call(lambda x: layer(x, reset=reset)[0], inputs, backward),
        _call(lambda x: layer(x)[0], inputs, backward),
    ]
    own, other = medians(calls, rounds)
    what = f"{name}, reset at a tenth of the steps, batch {batch}, {size}→{size}: time against no reset"
    return Feature(what, own / other, "×", backward)


def _dense_cells(backward: bool, rounds: int) -> Iterator[Feature]:
    batch, time, size = BATCH, STEPS["cells"], 128
    torch.manual_seed(0)
    x = torch.randn(time, batch, size)
    dense = [c for c in CELLS.values() if c.recurrent == "dense"]
    modules = [Recurrent(c, size, size) for c in dense]
    calls = [_call(_outputs(m), [x, *m.parameters()], backward) for m in modules]
    per_gate = {c.name: s / c.gates for c, s in zip(dense, medians(calls, rounds), strict=True)}
    for name, seconds in per_gate.items():
        if name != "gru":
            what = f"{name}, batch {batch}, {size}→{size}: time a multiply-add against gru's"
            yield Feature(what, seconds / per_gate["gru"], "×", backward)


def _traffic(name: str, backward: bool, rounds: int, bandwidth: float) -> Feature:
    """The scan beyond the input product: the gates read, the outputs written, over the copy's speed."""
    batch, time, size = BATCH, STEPS["traffic"], 256
    torch.manual_seed(0)
    layer = Recurrent(CELLS[name], size, size)
    x = torch.randn(time, batch, size)
    weight = layer.get_parameter("weight_ih_l0")
    inputs = [x, weight]
    calls = [
        _call(_outputs(layer), [x, *layer.parameters()], backward),
        _call(lambda x: torch.nn.functional.linear(x, weight), inputs, backward),
    ]
    whole, product = medians(calls, rounds)
    gates = CELLS[name].gates
    # Forward: the input read, the output written. Backward reads the output's gradient, the input and the
    # output again, writes the input's gradient, and cannot do without the gates' gradients once each way.
    numbers = batch * time * size * (2 if not backward else 6 + 2 * gates)
    fraction = 4 * numbers / bandwidth / max(whole - product, 1e-9)
    what = (
        f"{name}, batch {batch}, time {time}, {size}→{size}: of memory bandwidth beyond the input product"
    )
    return Feature(what, 100 * fraction, "%", backward)


@cell(gates=2)
def _invented(x, r, h):
    forget = torch.sigmoid(x[0] + r[0])
    return forget * h + (1 - forget) * torch.tanh(x[1] + r[1] * torch.sigmoid(h))


def _own_cell(backward: bool, rounds: int) -> Feature:
    batch, time, size = BATCH, STEPS["cells"], 128
    torch.manual_seed(0)
    layer = Recurrent(_invented, size, size)
    x = torch.randn(time, batch, size)

    def loop(x: Tensor) -> Tensor:
        with engine("reference"):
            return layer(x)[0]

    inputs = [x, *layer.parameters()]
    own, other = medians([_call(_outputs(layer), inputs, backward), _call(loop, inputs, backward)], rounds)
    what = f"a cell of one's own, batch {batch}, {size}→{size}: against the same cell as a Python loop"
    return Feature(what, other / own, "×", backward)


def _outputs(layer: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: layer(x)[0]


def _call(
    function: Callable[[Tensor], Tensor], inputs: Sequence[Tensor], backward: bool
) -> Callable[[], Any]:
    """The function of inputs[0] alone, or with the gradients of all the inputs."""
    x, *weights = inputs
    if not backward:

        def forward() -> Tensor:
            with torch.no_grad():
                return function(x)

        return forward
    weighting = torch.randn(function(x).shape)

    def both() -> Any:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(function(leaf), [leaf, *weights], weighting)

    return both
