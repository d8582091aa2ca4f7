"""A cell's equations as a graph of elementwise ops."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Node:
    """One value: a leaf ("x", "r", "s", "state", "vector", "grad" with its index) or an op's result.

    Of one op with the same arguments there is one node, so that nodes are compared and found by what they
    are in memory, whatever they are made of.
    """

    __slots__ = ("__weakref__", "args", "named", "op")

    def __new__(cls, op: str, args: tuple[Any, ...], named: tuple[tuple[str, Any], ...] = ()) -> Node:
        """The node of that op."""
        key = op, tuple([_mark(a) for a in args]), tuple([(k, _mark(v)) for k, v in named])
        with _making:
            made = _made.get(key)
            if made is None:
                made = _made[key] = super().__new__(cls)
                made.op, made.args, made.named = op, args, named
        return made

    op: str
    args: tuple[Any, ...]
    named: tuple[tuple[str, Any], ...]

    @property
    def leaf(self) -> bool:
        """Whether it is an input of the graph; "s" stands for x + r where they occur only so."""
        return self.op in ("x", "r", "s", "state", "vector", "grad")

    def nodes(self) -> list[Node]:
        """The nodes among its arguments."""
        return [a for a in (*self.args, *(v for _, v in self.named)) if isinstance(a, Node)]


class Graph(NamedTuple):
    """What the kernels are made of.

    states: the next states. grads: of each leaf that has a gradient, in terms of "grad" leaves (the
    gradients of the next states) and forward values. merged: gates of which only x + r is read.
    """

    states: tuple[Node, ...]
    grads: dict[Node, Node]
    merged: tuple[int, ...]
    x_only: tuple[int, ...]
    r_only: tuple[int, ...]

    @property
    def r_gates(self) -> tuple[int, ...]:
        """The gates with a recurrent product, in the order of its columns."""
        return self.r_only + self.merged

    @property
    def x_gates(self) -> tuple[int, ...]:
        """The gates with an input product, in the order of its columns."""
        return self.merged + self.x_only

    @property
    def read(self) -> list[Node]:
        """Every node of both graphs."""
        return everything([*self.states, *self.grads.values()])

    @property
    def key(self) -> str:
        """A digest of everything in it."""
        nodes = everything([*self.states, *self.grads, *self.grads.values()])
        numbers = {node: f"#{i}" for i, node in enumerate(nodes)}

        def shown(value: Any) -> str:
            return numbers[value] if isinstance(value, Node) else repr(value)

        lines = [
            " ".join([n.op, *map(shown, n.args), *(f"{k}={shown(v)}" for k, v in n.named)]) for n in nodes
        ]
        ends = [*map(shown, self.states), *(f"{shown(a)}:{shown(g)}" for a, g in self.grads.items())]
        gates = repr((self.merged, self.x_only, self.r_only))
        return hashlib.sha256("\n".join([*lines, *ends, gates]).encode()).hexdigest()


_made: weakref.WeakValueDictionary[Any, Node] = weakref.WeakValueDictionary()
_making = threading.Lock()


def _mark(argument: Any) -> Any:
    """What tells arguments apart: 0.0 and -0.0 are equal, as are 1, 1.0 and True."""
    return argument if isinstance(argument, Node) else (type(argument), repr(argument))


def replaced(roots: Sequence[Node], change: Callable[[Node], Node | None]) -> dict[Node, Node]:
    """What each node becomes where each for which `change` gives another one is exchanged."""
    new: dict[Node, Node] = {}

    def now(value: Any) -> Any:
        return new[value] if isinstance(value, Node) else value

    for node in everything(roots):
        changed = change(node)
        if changed is None and not node.leaf:
            named = tuple([(k, now(v)) for k, v in node.named])
            changed = Node(node.op, tuple(map(now, node.args)), named)
        new[node] = changed or node
    return new


def everything(roots: Sequence[Any]) -> list[Node]:
    """Every node that the roots are made of, arguments first."""
    seen: dict[Node, None] = {}
    # Without recursion: equations may be thousands of operations long.
    left = [root for root in reversed(roots) if isinstance(root, Node)]
    while left:
        node = left[-1]
        missing = [] if node in seen else [a for a in node.nodes() if a not in seen]
        if missing:
            left += reversed(missing)
            continue
        seen[left.pop()] = None
    return list(seen)
