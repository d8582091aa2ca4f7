"""Which values of the forward pass its backward keeps, and which it computes again."""

from __future__ import annotations

from typing import NamedTuple

from .graph import Graph, Node, everything
from .rules import BOOLEAN, SAVED


class Plan(NamedTuple):
    """How the backward kernel gets the forward values it needs: these nodes are kept, the rest is
    computed again from them, the previous states, the vectors and (if it is a state) the output."""

    saved: tuple[Node, ...]
    output: bool
    """Whether it reads the output."""


def keep(graph: Graph, output_is_state: bool) -> Plan:
    """The fewest dear values that the backward needs."""
    nodes = everything(list(graph.grads.values()))
    of_backward: set[Node] = set()
    raw: set[Node] = set()
    """Those that could not be computed again without a gate's projection, which is not kept."""
    dear: set[Node] = set()
    """Those that are kept in the place of what they are made of. One that is made of what is kept, as an
    LSTM's tanh of its new state is, is computed again: memory is dearer."""
    for node in nodes:
        if node.op == "grad" or any(a in of_backward for a in node.nodes()):
            of_backward.add(node)
        if _free(node, graph, output_is_state):
            continue
        if node.op in ("x", "r", "s") or any(a in raw for a in node.nodes()):
            (dear if node.op in SAVED else raw).add(node)
    needed = [a for node in nodes if node in of_backward for a in node.nodes() if a not in of_backward]
    needed += [g for g in graph.grads.values() if g not in of_backward]
    saved: dict[Node, None] = {}
    output, seen, left = False, set(), needed[::-1]
    while left:
        node = left.pop()
        if node in seen:
            continue
        seen.add(node)
        if _free(node, graph, output_is_state):
            output = output or (output_is_state and node is graph.states[0])
        elif node in dear or (node in raw and node.op not in BOOLEAN):
            saved[node] = None
        else:
            left += reversed(node.nodes())
    return Plan(tuple(saved), output)


def _free(node: Node, graph: Graph, output_is_state: bool) -> bool:
    return node.op in ("state", "vector") or (output_is_state and node is graph.states[0])
