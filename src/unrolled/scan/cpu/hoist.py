"""What a cell's equations make of its learned vectors alone, such as exp(-exp(decay)): computed when the
vectors are laid out, and not for every row and step."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace

from .cache import key, library
from .emit import I64, PTR, Module, Value
from .evaluate import Evaluator
from .graph import Graph, Node
from .rules import BOOLEAN, SAVED
from .shape import Shape


def hoisted(graph: Graph) -> tuple[Node, ...]:
    """The largest parts of the equations and their gradients made of vectors alone that are dear."""
    alone: set[Node] = set()
    dear: set[Node] = set()
    nodes = graph.read
    for node in nodes:
        below = [a for a in node.nodes() if a.op != "constant"]
        if node.op == "vector" or (not node.leaf and below and all(a in alone for a in below)):
            alone.add(node)
            if node.op in SAVED or any(a in dear for a in below):
                dear.add(node)
    read = {*graph.states, *graph.grads.values()}
    read.update(a for node in nodes if node not in alone for a in node.nodes())
    return tuple([node for node in nodes if node in dear and node in read and node.op not in BOOLEAN])


_kernels: dict[str, Callable[[int, int], None]] = {}


def kernel(shape: Shape) -> Callable[[int, int], None]:
    """hoist(address of the vectors, panels): writes after each panel's vectors what is made of them."""
    shape = replace(shape, plan=None)  # it is the same in training
    name = key("hoist", shape.machine, shape)
    if name not in _kernels:
        address = library(lambda: _emit(shape), "hoist", ("hoist",), shape.machine, shape)["hoist"]
        _kernels[name] = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)
    return _kernels[name]


def _emit(shape: Shape) -> str:
    module = Module(shape.machine.width)
    f = module.function("hoist", [(PTR, "vectors"), (I64, "panels")], public=True)
    vectors, panels = f.arguments
    with f.loop(0, panels) as panel:

        def place(line: int, panel: Value = panel) -> Value:
            return f.at(vectors, (panel * shape.vector_lines + line) * f.bytes)

        value = Evaluator(f, lambda node: f.load(f.vector, place(node.args[0]), f.bytes))
        for index, node in enumerate(shape.hoisted):
            f.store(value(node), place(shape.vectors + index), f.bytes)
    f.finish()
    return str(module)
