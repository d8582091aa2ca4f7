"""What the peers do not have, or only slowly: two ways of the same work, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .. import layers
from ..cells import CELLS, cell
from ..layers import Recurrent
from ..scan import engine
from .figure import Figure
from .measure import agree, medians
from .pairs import CELL, Work, arrays, input_of, twins, work_of
from .peak import Copy, MultiplyAdds
from .work import Shape

BATCH = 32

STEPS = {"lengths": 200, "cells": 100, "traffic": 1000}
"""The length of the sequences of each kind of figure."""


def _lengths(name: str, backward: bool, rounds: int) -> Iterator[Figure]:
    shape = Shape(BATCH, STEPS["lengths"], 128, 128)
    theirs, ours, x = *twins(layers, name, shape), input_of(shape)
    lengths = torch.randint(1, shape.time + 1, (shape.batch,))

    def packed(x: Tensor) -> Tensor:
        outputs, _ = theirs(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(outputs, total_length=shape.time)[0]

    own = work_of(lambda x: ours(x, lengths=lengths)[0], [x, *ours.parameters()], backward)
    other = work_of(packed, [x, *theirs.parameters()], backward)
    what = f"{name}, lengths 1..{shape.time}, {shape}: against torch.nn packed"
    agree("unrolled", what, arrays(own), arrays(other))
    operations = (
        shape.operations(CELL[name], backward) * lengths.sum().item() / lengths.numel() / shape.time
    )
    yield _ratio(what, backward, rounds, own, other, operations, 4)


def _resets(name: str, backward: bool, rounds: int) -> Iterator[Figure]:
    shape = Shape(BATCH, STEPS["lengths"], 128, 128)
    _, layer, x = *twins(layers, name, shape), input_of(shape)
    reset = torch.rand(shape.time, shape.batch) < 0.1
    inputs = [x, *layer.parameters()]
    what = f"{name}, reset at a tenth of the steps, {shape}: time against no reset"
    own = work_of(lambda x: layer(x, reset=reset)[0], inputs, backward)
    _check(own, what)
    seconds = medians([own, work_of(_outputs(layer), inputs, backward)], rounds)
    yield Figure(what, backward, seconds[0] / seconds[1], "×", 1.1 if backward else 1.05, at_most=True)


def _dense_cells(backward: bool, rounds: int) -> Iterator[Figure]:
    shape = Shape(BATCH, STEPS["cells"], 128, 128)
    x = input_of(shape)
    dense = [c for c in CELLS.values() if c.recurrent == "dense"]
    works: list[Work] = []
    for one in dense:
        module = Recurrent(one, shape.input_size, shape.hidden_size)
        works.append(work_of(_outputs(module), [x, *module.parameters()], backward))
        _check(works[-1], f"{one.name} {shape}")
    seconds = dict(zip([c.name for c in dense], medians(works, rounds), strict=True))
    each = {name: s / shape.operations(name, backward) for name, s in seconds.items()}
    for name in each:
        if name != "gru":
            what = f"{name}, {shape}: time a multiply-add against gru's"
            yield Figure(what, backward, each[name] / each["gru"], "×", 1.3, at_most=True)


def _traffic(name: str, backward: bool, rounds: int) -> Iterator[Figure]:
    """What the time beyond the input product is of the time that the unavoidable traffic takes.

    Forward: the input is read, the output written. With backward also: the output, its gradient and the
    input read, the input's gradient written, the gates' gradients written and read once. The bandwidth is
    that of a copy, the product torch's, both in the same turns.
    """
    shape = Shape(BATCH, STEPS["traffic"], 256, 256)
    layer, x = Recurrent(CELLS[name], shape.input_size, shape.hidden_size), input_of(shape)
    weight, copy = layer.get_parameter("weight_ih_l0"), Copy()
    what = f"{name}, {shape}: of memory bandwidth beyond the input product"
    own = work_of(_outputs(layer), [x, *layer.parameters()], backward)
    _check(own, what)
    product = work_of(lambda x: torch.nn.functional.linear(x, weight), [x, weight], backward)
    whole, least, copied = medians([own, product, copy], rounds)
    numbers = shape.batch * shape.time * shape.hidden_size
    numbers *= 6 + 2 * CELLS[name].gates if backward else 2
    limit = 4 * numbers * copied / copy.traffic
    fraction = limit / max(whole - least, limit)
    yield Figure(what, backward, 100 * fraction, "%", 40 if backward else 50)


def _autocast(name: str, backward: bool, rounds: int) -> Iterator[Figure]:
    """What autocast to bfloat16 costs: the float32 result, in the dtype that it gives."""
    shape = Shape(BATCH, STEPS["cells"], 128, 128)
    _, layer, x = *twins(layers, name, shape), input_of(shape)
    inputs = [x, *layer.parameters()]

    def low(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return layer(x)[0]

    what = f"{name}, autocast to bfloat16, {shape}: time against float32"
    own = work_of(low, inputs, backward)
    with torch.no_grad():
        dtype = low(x).dtype
    rounded = work_of(lambda x: layer(x)[0].to(dtype), inputs, backward)
    agree("unrolled", what, arrays(own), arrays(rounded))
    seconds = medians([own, work_of(_outputs(layer), inputs, backward)], rounds)
    # Equal, but for what two medians of equal work differ by.
    yield Figure(what, backward, seconds[0] / seconds[1], "×", 1.05, at_most=True)


@cell(gates=2)
def _invented(x, r, h):
    forget = torch.sigmoid(x[0] + r[0])
    return forget * h + (1 - forget) * torch.tanh(x[1] + r[1] * torch.sigmoid(h))


def _own_cell(backward: bool, rounds: int) -> Iterator[Figure]:
    shape = Shape(BATCH, STEPS["cells"], 128, 128)
    layer, x = Recurrent(_invented, shape.input_size, shape.hidden_size), input_of(shape)
    what = f"a cell of one's own, {shape}: against the same cell as a Python loop"
    own = work_of(_outputs(layer), [x, *layer.parameters()], backward)
    _check(own, what)
    operations = _invented.gates * shape.operations("rnn_tanh", backward)
    yield _ratio(what, backward, rounds, own, lambda: _as_loop(own), operations, 15 if backward else 10)


def _ratio(
    what: str, backward: bool, rounds: int, own: Work, other: Work, operations: float, wanted: float
) -> Figure:
    """The other's time over ours, and that over the least time of so many operations."""
    limit = MultiplyAdds(torch.get_num_threads())
    ours, theirs, together = medians([own, other, limit], rounds)
    least = operations * together / limit.operations
    return Figure(what, backward, theirs / ours, "×", wanted, limit=theirs / least)


NAMES = tuple(CELL)

FEATURES: dict[str, Callable[[bool, int], Iterator[Figure]]] = {
    **{f"lengths {name}": partial(_lengths, name) for name in NAMES},
    **{f"resets {name}": partial(_resets, name) for name in NAMES},
    **{f"autocast {name}": partial(_autocast, name) for name in NAMES},
    "cells": _dense_cells,
    **{f"traffic {name}": partial(_traffic, name) for name in ("min_gru", "sru")},
    "own cell": _own_cell,
}
"""By name, what gives the figures: called with whether gradients count, and the number of turns."""


def _outputs(layer: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: layer(x)[0]


def _as_loop(work: Work) -> Tensor | tuple[Tensor, ...]:
    with engine("reference"):
        return work()


def _check(work: Work, what: str) -> None:
    """Raises Error unless the work gives what it gives as a Python loop."""
    agree("unrolled", what, arrays(work), arrays(lambda: _as_loop(work)))
