"""Which values of the forward pass its backward keeps, and which it computes again."""

from __future__ import annotations

from typing import NamedTuple

from .rules import BOOLEAN, SAVED
from .trace import Graph, Node, everything


class Plan(NamedTuple):
    """How the backward kernel gets the forward values it needs: these nodes are kept, the rest is
    computed again from them, the previous states, the vectors and (if it is a state) the output."""

    saved: tuple[Node, ...]
    output: bool
    """Whether it reads the output."""


def keep(graph: Graph, output_is_state: bool) -> Plan:
    """The fewest dear values that the backward needs."""
    backward: dict[Node, bool] = {}

    def of_backward(node: Node) -> bool:
        if node not in backward:
            backward[node] = node.op == "grad" or any(of_backward(a) for a in node.nodes())
        return backward[node]

    needed: list[Node] = []
    for node in everything(list(graph.grads.values())):
        if of_backward(node):
            needed += [a for a in node.nodes() if not of_backward(a)]
    needed += [g for g in graph.grads.values() if isinstance(g, Node) and not of_backward(g)]
    saved: dict[Node, None] = {}
    output: list[Node] = []

    def raw(node: Node) -> bool:
        """Whether recomputing it would need a gate's projection, which is not kept."""
        if _free(node, graph, output_is_state) or node.op in SAVED:
            return False
        return node.op in ("x", "r", "s") or any(raw(a) for a in node.nodes())

    def want(node: Node) -> None:
        if _free(node, graph, output_is_state):
            if output_is_state and node == graph.states[0]:
                output.append(node)
            return
        if node.op in SAVED or (raw(node) and node.op not in BOOLEAN):
            saved[node] = None
            return
        for argument in node.nodes():
            want(argument)

    for node in needed:
        want(node)
    return Plan(tuple(saved), bool(output))


def _free(node: Node, graph: Graph, output_is_state: bool) -> bool:
    return node.op in ("state", "vector") or (output_is_state and node == graph.states[0])
