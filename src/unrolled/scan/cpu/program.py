"""A cell's compiled kernels: made at the first call, then loaded."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from ...cells import Cell
from . import after, backward, feed, forward, single
from .cache import library
from .graph import Graph
from .keep import keep
from .machine import Machine
from .shape import Shape
from .trace import graph_of, vector_count


class Kernel(NamedTuple):
    """A compiled function (block, rank) and what it was made for."""

    address: int
    shape: Shape


@cache
def forward_kernel(cell: Cell, bias: bool, projected: bool, training: bool, machine: Machine) -> Kernel:
    """The kernel `forward` of a cell that can be traced."""
    shape = _shape(cell, bias, projected, training, machine)
    made = library(lambda: forward.emit(shape), "forward", ("forward",), shape)
    return Kernel(made["forward"], shape)


@cache
def single_kernel(cell: Cell, bias: bool, machine: Machine) -> Kernel:
    """The kernel `single` of a cell that has one."""
    shape = _shape(cell, bias, False, False, machine)
    made = library(lambda: single.emit(shape), "single", ("single",), shape)
    return Kernel(made["single"], shape)


@cache
def backward_kernel(cell: Cell, bias: bool, projected: bool, machine: Machine) -> Kernel:
    """The kernel `backward` of a cell that can be traced."""
    shape = _shape(cell, bias, projected, True, machine)
    made = library(lambda: backward.emit(shape), "backward", ("backward",), shape)
    return Kernel(made["backward"], shape)


@cache
def feed_kernels(columns: int, machine: Machine) -> dict[str, int]:
    """The addresses of the kernels that make an input product with so many columns."""
    return library(lambda: feed.emit(machine, columns), f"feed {columns}", feed.NAMES, None)


@cache
def products_after(machine: Machine) -> dict[str, int]:
    """The addresses of the kernels that run after a backward scan; the same for every cell."""
    return library(lambda: after.emit(machine), "after", after.NAMES, None)


def _shape(cell: Cell, bias: bool, projected: bool, training: bool, machine: Machine) -> Shape:
    graph = graph_of(cell, bias)
    if not isinstance(graph, Graph):
        raise TypeError(graph)
    plan = keep(graph, output_is_state=not projected) if training else None
    return Shape(graph, vector_count(cell, bias), projected, machine, plan)
