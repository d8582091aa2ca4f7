"""Which values of the forward pass its backward keeps, and which it computes again."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from .graph import Graph, Node, everything
from .rules import BOOLEAN, SAVED


class Plan(NamedTuple):
    """How the backward kernel gets the forward values it needs: these nodes are kept, the rest is
    computed again from them, the previous states, the vectors and (if it is a state) the output."""

    saved: tuple[Node, ...]
    output: bool
    """Whether it reads the output."""
    again: bool
    """Whether it makes every step's output again, for the gradient of the weights that it was multiplied
    with."""
    spared: frozenset[int]
    """The states of which no step's is kept."""


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
    read = {node.args[0] for node in seen if node.op == "state"}
    kept = {*saved, *(Node("state", (k,)) for k in read)}
    spared = {*range(len(graph.states))} - read - ({0} if output else set())
    return Plan(tuple(saved), output, *_outputs(graph, kept, spared, output_is_state))


def _outputs(
    graph: Graph, kept: Container[Node], spared: set[int], output_is_state: bool
) -> tuple[bool, frozenset[int]]:
    """Whether every step's output is made again, and the states that are spared then.

    The weights' gradients need every step's: those of the recurrent weights of state 0, which is the output
    or its projection, that of the projection of the output.
    """
    recurrent, made = bool(graph.r_gates), _made_of(graph.states[0], kept)
    if not output_is_state:
        return made, frozenset(spared - ({0} if recurrent else set()))
    if recurrent and not made:
        spared = spared - {0}
    return recurrent and 0 in spared, frozenset(spared)


def _made_of(root: Node, kept: Container[Node]) -> bool:
    """Whether it is made of what is kept, and of vectors."""
    left, seen = [root], set[Node]()
    while left:
        node = left.pop()
        if node in seen or node in kept or node.op == "vector":
            continue
        if node.leaf:
            return False
        seen.add(node)
        left += node.nodes()
    return True


def _free(node: Node, graph: Graph, output_is_state: bool) -> bool:
    return node.op in ("state", "vector") or (output_is_state and node is graph.states[0])
