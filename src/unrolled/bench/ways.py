"""The ways in which a layer may be called, each against torch.nn called in the same way."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from .. import layers, step
from .figure import Figure
from .measure import agree, medians
from .pairs import CELL, arrays, input_of, twins, work_of
from .work import Shape

SHAPES = (Shape(3, 5, 4, 2), Shape(16, 40, 32, 64))
"""A short call, in which nothing but the call itself takes time, and a longer one."""

TARGET = 1.1

Call = Callable[[Any, Tensor], Tensor]
"""What a module gives for an input."""

Pair = tuple[Call, Tensor, tuple[nn.Module, nn.Module]]
"""A call, its input, and torch.nn's module and ours."""


@dataclass(frozen=True)
class Way:
    """options: of the layer; lay: what it is called with, from a dense (time, batch, feature)."""

    options: dict[str, Any] = field(default_factory=dict)
    lay: Callable[[Tensor], Tensor] = lambda x: x


WAYS = {
    "one sequence without a batch axis": Way(lay=lambda x: x[:, 0].contiguous()),
    "an input that lies batch first": Way(lay=lambda x: x.transpose(0, 1).contiguous().transpose(0, 1)),
    "a window of a longer input": Way(lay=lambda x: torch.cat([x, x], 1)[:, : x.shape[1]]),
    "features that lie apart": Way(lay=lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0)),
    "two layers": Way({"num_layers": 2}),
    "two layers and dropout": Way({"num_layers": 2, "dropout": 0.2}),
    "both directions": Way({"bidirectional": True}),
}


def _way(what: str, backward: bool, rounds: int) -> Iterator[Figure]:
    way = WAYS[what]

    def pair(name: str, shape: Shape) -> Pair:
        return lambda m, x: m(x)[0], way.lay(input_of(shape)), twins(layers, name, shape, **way.options)

    yield _worst(what, pair, backward, rounds)


def _packed(backward: bool, rounds: int) -> Iterator[Figure]:
    def pair(name: str, shape: Shape) -> Pair:
        lengths = torch.randint(1, shape.time + 1, (shape.batch,))
        data, *rest = pack_padded_sequence(input_of(shape), lengths, enforce_sorted=False)
        return lambda m, x: m(PackedSequence(x, *rest))[0].data, data, twins(layers, name, shape)

    yield _worst("a PackedSequence", pair, backward, rounds)


def _cells(backward: bool, rounds: int) -> Iterator[Figure]:
    def pair(name: str, shape: Shape) -> Pair:
        state = torch.randn(shape.batch, shape.hidden_size)

        def call(module: nn.Module, x: Tensor) -> Tensor:
            return module(x, (state, state))[0] if name == "LSTM" else module(x, state)

        return call, input_of(shape)[0], twins(step, f"{name}Cell", shape)

    yield _worst("a step of RNNCell, GRUCell, LSTMCell", pair, backward, rounds)


def _lengths(backward: bool, rounds: int) -> Iterator[Figure]:
    more = list(range(40))
    random.Random(0).shuffle(more)

    def pair(name: str, shape: Shape) -> Pair:
        modules = twins(layers, name, shape)
        times = {module: itertools.cycle([shape.time + n for n in more]) for module in modules}

        def call(module: nn.Module, x: Tensor) -> Tensor:
            return module(x[: next(times[module])])[0][-1]

        return call, input_of(replace(shape, time=shape.time + len(more))), modules

    yield _worst("another number of steps in every call, up to 39 more", pair, backward, rounds)


def _worst(
    what: str,
    pair: Callable[[str, Shape], Pair],
    backward: bool,
    rounds: int,
) -> Figure:
    """The least ratio of times over the layers and shapes."""
    ratios = []
    for name in CELL:
        for shape in SHAPES:
            call, x, modules = pair(name, shape)
            theirs, ours = (work_of(partial(call, m), [x, *m.parameters()], backward) for m in modules)
            found = []
            for work in (ours, theirs):
                torch.manual_seed(3)  # the same is dropped
                found.append(arrays(work))
            agree("unrolled", f"{name}, {what}, {shape}", *found)
            own, other = medians([ours, theirs], rounds)
            ratios.append((other / own, f"{name} {shape}"))
    ratio, where = min(ratios)
    return Figure(
        f"{what}, against torch.nn: worst of {len(ratios)} ({where})", backward, ratio, "×", TARGET
    )


WAYS_OF_CALLING: dict[str, Callable[[bool, int], Iterator[Figure]]] = {
    **{what: partial(_way, what) for what in WAYS},
    "a PackedSequence": _packed,
    "another number of steps": _lengths,
    "a step of a cell": _cells,
}
"""As `features.FEATURES`."""
