"""A graph's nodes as vector code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .emit import Function, Value
from .maths import Maths
from .rules import RULES, vector
from .trace import Node


class Evaluator:
    """Writes each node once, where it is first asked for; leaves come from `leaf`."""

    def __init__(self, function: Function, leaf: Callable[[Node], Value]) -> None:
        self._maths = Maths(function)
        self._leaf = leaf
        self._done: dict[Node, Value] = {}
        self._lazy: dict[Node, Callable[[], Value]] = {}

    def put(self, node: Node, value: Value) -> None:
        """Gives a node its value, so that it is not computed."""
        self._done[node] = value

    def lazy(self, node: Node, make: Callable[[], Value]) -> None:
        """Says where a node's value can be had, if it is asked for."""
        self._lazy[node] = make

    def __call__(self, node: Node | float) -> Value:
        """The node's value as a vector."""
        return vector(self._maths, self._value(node))

    def _value(self, node: Any) -> Any:
        if not isinstance(node, Node):
            return node
        if node not in self._done:
            if node in self._lazy:
                self._done[node] = self._lazy[node]()
            elif node.leaf:
                self._done[node] = self._leaf(node)
            else:
                arguments = [self._value(a) for a in node.args]
                named = {k: self._value(v) for k, v in node.named}
                self._done[node] = RULES[node.op](self._maths, *arguments, **named)
        return self._done[node]
