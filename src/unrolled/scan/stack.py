"""What a scan runs: a stack of layers without its parameters, and one call with everything in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..cells import CELLS, Cell
from ..errors import Error


class Weights(NamedTuple):
    """The parameters of one layer in one direction, in torch.nn's shapes.

    ih (gates * hidden, input), hh (gates * hidden, output) or, diagonal, (gates * hidden,);
    b_ih, b_hh (gates * hidden,); hr (proj, hidden); vectors (hidden,) each. None: the cell has none.
    """

    ih: Tensor
    hh: Tensor | None
    b_ih: Tensor | None
    b_hh: Tensor | None
    hr: Tensor | None
    vectors: tuple[Tensor, ...]


@dataclass(frozen=True)
class Stack:
    """The fixed part of a recurrent layer: the cell and the sizes, as torch.nn names them."""

    cell: Cell
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0
    name: str = field(init=False, repr=False, compare=False)
    """What finds this stack again with `named`; for a cell that ships, in every process."""
    shapes: dict[str, tuple[int, ...]] = field(init=False, repr=False, compare=False)
    """Parameter name -> shape, in torch.nn's order."""
    drops: bool = field(init=False, repr=False, compare=False)
    """Whether dropout lies between its layers."""
    _layers: tuple[Stack, ...] = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name = " ".join([_origin(self.cell), *[str(n) for n in self._numbers()]])
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "shapes", self._shapes())
        object.__setattr__(self, "drops", self.dropout > 0 and self.num_layers > 1)
        many = range(self.num_layers if self.num_layers > 1 else 0)
        object.__setattr__(self, "_layers", tuple([self._layer(index) for index in many]))
        # Plans and kernels are found by the stack, several times a call.
        object.__setattr__(self, "_hash", hash((self.cell, *self._numbers())))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cell, *self._numbers())

    def _numbers(self) -> tuple[Any, ...]:
        sizes = (self.input_size, self.hidden_size, self.num_layers)
        return (*sizes, self.bias, self.dropout, self.bidirectional, self.proj_size)

    def __str__(self) -> str:
        return f"{self.cell.name}({self.input_size}, {self.hidden_size})"

    @property
    def directions(self) -> int:
        """2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """The width of one direction's output, which is also that of the first state."""
        return self.proj_size or self.hidden_size

    def state_size(self, index: int) -> int:
        """The width of state `index`: the output is projected, the others are not."""
        return self.output_size if index == 0 else self.hidden_size

    def state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        """(layers * directions, batch, size) of each state."""
        slots = self.num_layers * self.directions
        return [(slots, batch, self.state_size(k)) for k in range(self.cell.states)]

    def layer_input_size(self, layer: int) -> int:
        """The number of features that layer `layer` reads."""
        return self.input_size if layer == 0 else self.output_size * self.directions

    def layer(self, index: int) -> Stack:
        """Layer `index` as a stack of its own, always the same one."""
        return self._layers[index] if self._layers else self

    def _layer(self, index: int) -> Stack:
        return replace(self, num_layers=1, input_size=self.layer_input_size(index), dropout=0.0)

    def suffixes(self) -> Iterator[tuple[int, str]]:
        """(layer, name suffix) of every layer and direction, in the order of the parameters."""
        for layer in range(self.num_layers):
            yield layer, f"_l{layer}"
            if self.bidirectional:
                yield layer, f"_l{layer}_reverse"

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        rows = self.cell.gates * self.hidden_size
        recurrent = {"dense": (rows, self.output_size), "diagonal": (rows,), "none": None}
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, suffix in self.suffixes():
            hh = recurrent[self.cell.recurrent]
            shapes["weight_ih" + suffix] = (rows, self.layer_input_size(layer))
            if hh:
                shapes["weight_hh" + suffix] = hh
            if self.bias:
                shapes["bias_ih" + suffix] = (rows,)
            if self.bias and hh:
                shapes["bias_hh" + suffix] = (rows,)
            if self.proj_size:
                shapes["weight_hr" + suffix] = (self.proj_size, self.hidden_size)
            for vector in self.cell.vectors:
                shapes[vector + suffix] = (self.hidden_size,)
        return shapes

    def parts(self, parameters: Sequence[Tensor], layer: int) -> list[Sequence[Tensor]]:
        """The parameters of one layer by direction, flat."""
        each, first = len(self.shapes) // (self.num_layers * self.directions), layer * self.directions
        return [parameters[(first + d) * each : (first + d + 1) * each] for d in range(self.directions)]

    def weights(self, parameters: Sequence[Tensor]) -> list[list[Weights]]:
        """The flat parameters (in the order of `shapes`) by layer, then direction."""
        if len(parameters) != len(self.shapes):
            raise Error(f"scan: got {len(parameters)} parameters; wanted {list(self.shapes)}")
        rest = iter(parameters)
        recurrent = self.cell.recurrent != "none"

        def one() -> Weights:
            return Weights(
                ih=next(rest),
                hh=next(rest) if recurrent else None,
                b_ih=next(rest) if self.bias else None,
                b_hh=next(rest) if self.bias and recurrent else None,
                hr=next(rest) if self.proj_size else None,
                vectors=tuple(next(rest) for _ in self.cell.vectors),
            )

        return [[one() for _ in range(self.directions)] for _ in range(self.num_layers)]


_cells: dict[str, Cell] = {}
"""The cells of this process that do not ship, by name, for graphs, whose operators take strings."""
_origins: dict[Cell, str] = {}
"""Their names."""
_counts: dict[str, Iterator[int]] = {}


def _origin(cell: Cell) -> str:
    """A cell's name: of one that ships its own, of others where their function comes from."""
    function = cell.function
    if CELLS.get(function.__name__) is cell:
        return function.__name__
    known = _origins.get(cell)
    if known is None:
        known = f"{function.__module__}.{function.__qualname__}"
        # Two functions may have one qualified name, such as those made in a loop.
        number = next(_counts.setdefault(known, itertools.count(1)))
        known = _origins.setdefault(cell, known if number == 1 else f"{known}#{number}")
        _cells[known] = cell
    return known


@lru_cache(maxsize=256)
def named(name: str) -> Stack:
    """The stack with that name. Raises Error if its cell is not one that ships and no layer has it yet."""
    origin, *numbers = name.split()
    cell = CELLS.get(origin) or _cells.get(origin)
    if cell is None or len(numbers) != 7:
        raise Error(f"no layer {name!r} in this process; make a layer with its cell before the graph runs")
    input_size, hidden_size, num_layers, bias, dropout, bidirectional, proj_size = numbers
    return Stack(
        cell,
        int(input_size),
        int(hidden_size),
        int(num_layers),
        bias == "True",
        float(dropout),
        bidirectional == "True",
        int(proj_size),
    )


@lru_cache(maxsize=256)
def _of_symbols(stack: Stack, symbols: int) -> Stack:
    return replace(stack, input_size=symbols)


def folded(stack: Stack, parameters: Sequence[Tensor], table: Tensor) -> tuple[Stack, tuple[Tensor, ...]]:
    """The stack and its parameters as those that read symbols i where these read table[i].

    table: (symbols, input_size). Of the first layer weight_ih becomes weight_ih tableᵀ.
    """
    pairs = zip(stack.shapes, parameters, strict=True)
    made = tuple([p @ table.T if n.startswith("weight_ih_l0") else p for n, p in pairs])
    return _of_symbols(stack, len(table)), made


@dataclass(frozen=True)
class Call:
    """One validated call of a scan; what every engine is given.

    input: (batch, time, feature) floating, or (batch, time) int64 indices, index i standing for the
        one-hot vector e_i, so that W·e_i is column i of weight_ih.
    parameters: flat, in the order of `stack.shapes`.
    state: for each state of the cell (layers * directions, batch, size).
    lengths: (batch,) int64 on the CPU, contiguous, or None if every row is full.
    reset: (batch, time) bool, or None; True where a new sequence begins at that step.
    lower: the dtype that autocast wants the output in, for an engine that can write it at once.
    """

    stack: Stack
    input: Tensor
    parameters: tuple[Tensor, ...]
    state: tuple[Tensor, ...]
    lengths: Tensor | None = None
    reset: Tensor | None = None
    training: bool = False
    lower: torch.dtype | None = None

    @property
    def hx(self) -> Tensor | tuple[Tensor, ...]:
        """The state as a caller gives it."""
        return self.state[0] if len(self.state) == 1 else self.state

    @property
    def indexed(self) -> bool:
        """Whether the input is indices."""
        return self.input.dtype is torch.int64
