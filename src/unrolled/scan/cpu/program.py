"""A cell's compiled kernels: made at the first call, then loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from ...cells import Cell
from ..stack import Stack
from . import after, backward, feed, forward, single
from .cache import library
from .graph import Graph
from .hoist import hoisted
from .keep import keep
from .machine import Machine, machine_of
from .shape import Shape
from .trace import graph_of, vector_count

_LESS = 1
"""The level of what a training step needs after its forward pass: a tenth less to wait for at the first,
and as fast. Forward kernels would be some hundredths slower at one row."""


class Kernel(NamedTuple):
    """A compiled function (block, rank) and what it was made for."""

    address: int
    shape: Shape


def forward_kernel(stack: Stack, training: bool) -> Kernel:
    """The kernel `forward` of a stack whose cell can be traced."""
    return _kernel("forward", forward.emit, *_made_for(stack), training)


def single_kernel(stack: Stack) -> Kernel:
    """The kernel `single` of a stack that has one."""
    return _kernel("single", single.emit, *_made_for(stack), False)


def backward_kernel(stack: Stack) -> Kernel:
    """The kernel `backward` of a stack whose cell can be traced."""
    return _kernel("backward", backward.emit, *_made_for(stack), True)


@cache
def feed_kernels(columns: int, machine: Machine) -> dict[str, int]:
    """The addresses of the kernels that make an input product with so many columns."""
    return library(lambda: feed.emit(machine, columns), f"feed {columns}", feed.NAMES, machine)


@cache
def products_after(machine: Machine) -> dict[str, int]:
    """The addresses of the kernels that run after a backward scan; the same for every cell."""
    return library(lambda: after.emit(machine), "after", after.NAMES, machine, level=_LESS)


def _made_for(stack: Stack) -> tuple[Cell, bool, bool, Machine]:
    return stack.cell, stack.bias, stack.proj_size > 0, machine_of(stack)


@cache
def _kernel(
    name: str,
    emit: Callable[[Shape], str],
    cell: Cell,
    bias: bool,
    projected: bool,
    host: Machine,
    training: bool,
) -> Kernel:
    graph = graph_of(cell, bias)
    if not isinstance(graph, Graph):
        raise TypeError(graph)
    plan = keep(graph, output_is_state=not projected) if training else None
    shape = Shape(graph, vector_count(cell, bias), projected, host, plan, hoisted(graph))
    level = _LESS if name == "backward" else 2
    made = library(lambda: emit(shape), name, (name,), host, shape, level)
    return Kernel(made[name], shape)
