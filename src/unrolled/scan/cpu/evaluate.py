"""A graph's nodes as vector code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .emit import Function, Value
from .graph import Node
from .maths import Maths
from .rules import LOGICAL, RULES, vector


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
        left = [node]
        while left:  # without recursion: equations may be thousands of operations long
            last = left[-1]
            missing = self._missing(last)
            if missing:
                left += reversed(missing)
                continue
            left.pop()
            if last not in self._done:
                self._done[last] = self._made(last)
        return self._done[node]

    def _missing(self, node: Node) -> list[Node]:
        """The arguments that it waits for."""
        if node in self._done or node in self._lazy or node.leaf:
            return []
        return [a for a in node.nodes() if a not in self._done]

    def _made(self, node: Node) -> Any:
        if node in self._lazy:
            return self._lazy[node]()
        if node.leaf:
            return self._leaf(node)
        arguments = [self._argument(node, a) for a in node.args]
        named = {k: self._argument(node, v) for k, v in node.named}
        return RULES[node.op](self._maths, *arguments, **named)

    def _argument(self, node: Node, argument: Any) -> Any:
        if not isinstance(argument, Node):
            return argument
        done = self._done[argument]
        return done if node.op in LOGICAL else vector(self._maths, done)
