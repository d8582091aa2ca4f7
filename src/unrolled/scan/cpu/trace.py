"""How a cell's equations, and their backward, become graphs.

The cell's function and its vector-Jacobian product are run on small tensors, twice, while every ATen op
that PyTorch dispatches is written down; what is not elementwise, or has no rule, is refused by name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ...cells import Cell
from .composed import COMPOSED
from .graph import Graph, Node, everything, replaced
from .rules import BOOLEAN, RULES, takes_power

_ALIASES = frozenset({"alias", "detach", "clone", "lift_fresh", "lift_fresh_copy", "contiguous", "view_as"})
_CASTS = frozenset({"to", "_to_copy", "convert_element_type"})
"""Of these those are taken that give float32: of numbers the same, of truth values ones and zeros."""
# What is there before it is filled has no value.
_FILLED = {"zeros_like": 0.0, "ones_like": 1.0, "new_zeros": 0.0, "new_ones": 1.0, "empty_like": math.nan}
_SAMPLES = (((2, 3), 1.0), ((3, 1031), -1.0))
"""Shapes and signs of the tensors that a cell is run on. What depends on either is no equation; some
units of all are fewer than there are."""


class Refused(Exception):  # noqa: N818 -- it is an answer
    """The cell is not one that kernels can be made of; the message says why."""


class _Recorder(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else the compiler is imported, seconds long, so that it may pass over this class, which it never
        # meets: a cell is traced on a thread of its own.
        return False

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = shape
        self.values: dict[int, Node] = {}
        self.alive: list[Tensor] = []

    def name(self, tensor: Tensor, value: Node) -> Tensor:
        # By its memory, which no other tensor has while this one is alive and all its aliases share.
        self.values[tensor.data_ptr()] = value
        self.alive.append(tensor)
        return tensor

    def read(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
                raise Refused("it joins several tensors")
            return value
        if value.data_ptr() in self.values:
            if value.dim() and tuple(value.shape) != self.shape:
                raise Refused(f"it makes a tensor of another shape, {tuple(value.shape)}")
            return self.values[value.data_ptr()]
        raise Refused("it reads a tensor that is not one of its arguments")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        space, _, name = func._schema.name.partition("::")
        if space not in ("aten", "prims"):
            raise Refused(f"its op {func._schema.name} is not torch's own")
        if name in ("lift_fresh", "lift_fresh_copy") and args[0].data_ptr() not in self.values:
            if args[0].numel() != 1:
                raise Refused("it makes a tensor of several numbers")
            if args[0].dtype is torch.bool:
                raise Refused("it makes a tensor of a truth value")
            return self.name(func(*args, **kwargs), _constant(float(args[0])))
        rule = name.removesuffix("_") if func._schema.is_mutable else name
        if rule == "mul" and all(isinstance(a, Tensor) and a.dtype is torch.bool for a in args):
            rule = "logical_and"
        constant = _filled(rule, args)
        if constant is not None:
            node = constant
        elif rule in COMPOSED:
            with self:
                node = self.read(COMPOSED[rule](*args, **kwargs))
        elif rule not in RULES and rule not in _ALIASES and rule not in _CASTS:
            return self._decomposed(func, name, args, kwargs)
        elif rule in _CASTS and args[0].dtype is torch.bool:
            node = Node("float", (self.read(args[0]),))
        elif rule in _ALIASES or rule in _CASTS:
            node = self.read(args[0])
        else:
            node = self._node(rule, args, kwargs)
        result = func(*args, **kwargs)
        for tensor in result if isinstance(result, tuple) else (result,):
            if tuple(tensor.shape) not in (self.shape, ()) and name != "log_sigmoid_forward":
                raise Refused(f"its op {name} is not elementwise")
            if rule not in _ALIASES and tensor.dtype != (torch.bool if rule in BOOLEAN else torch.float32):
                raise Refused(f"its op {name} has no rule for {tensor.dtype}")
        self.name(result[0] if isinstance(result, tuple) else result, node)
        return result

    def _node(self, rule: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if rule == "pow" and not takes_power(args[1]):
            rule = "power"
        if rule == "div" and kwargs.get("rounding_mode"):
            raise Refused("its op div rounds")
        if rule == "log_sigmoid_backward":
            args = args[:2]
        args = tuple(self.read(a) for a in args)
        named = {k: self.read(v) for k, v in sorted(kwargs.items()) if v is not None}
        try:
            inspect.signature(RULES[rule]).bind(None, *args, **named)
        except TypeError as error:
            raise Refused(f"its op {rule} has arguments that have no rule ({error})") from None
        return Node(rule, args, tuple(named.items()))

    def _decomposed(self, func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        from torch._decomp import decomposition_table

        decomposition = decomposition_table.get(func)
        if decomposition is None:
            raise Refused(f"its op {name} has no rule")
        try:
            with self:
                return decomposition(*args, **kwargs)
        except Refused as reason:
            inner = "" if str(reason) == f"its op {name} has no rule" else f" ({reason})"
            raise Refused(f"its op {name} has no rule{inner}") from None


def _filled(rule: str, args: Sequence[Any]) -> Node | None:
    """A tensor made with one number in it, if that is what the op does."""
    if rule in _FILLED:
        return _constant(_FILLED[rule])
    if rule in ("full", "full_like", "new_full", "scalar_tensor", "fill"):
        number = args[0 if rule == "scalar_tensor" else 2 if rule == "new_full" else 1]
        return None if isinstance(number, Tensor) else _constant(float(number))
    return None


def _constant(number: float) -> Node:
    return Node("constant", (number,))


class _Seed(torch.autograd.Function):
    """A number whose gradient in each tensor is the one given. To autograd.grad itself they cannot be
    given without importing sympy, which takes longer than all else here."""

    @staticmethod
    def forward(ctx: Any, cotangents: list[Tensor], *tensors: Tensor) -> Tensor:
        ctx.cotangents = cotangents
        return tensors[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.cotangents


def _record(
    cell: Cell, bias: bool, shape: tuple[int, int], sign: float
) -> tuple[tuple[Node, ...], dict[Node, Node]]:
    recorder = _Recorder(shape)
    # The program's own random numbers must not hang on whether a cell was met before.
    generator = torch.Generator().manual_seed(0)

    def leaf(kind: str, index: int) -> Tensor:
        made = torch.rand(shape, dtype=torch.float32, generator=generator).add_(0.5).mul_(sign)
        return recorder.name(made.requires_grad_(), Node(kind, (index,)))

    x = tuple(leaf("x", g) for g in range(cell.gates))
    r = tuple(leaf("r", g) for g in range(cell.gates)) if cell.recurrent == "dense" else None
    states = tuple(leaf("state", k) for k in range(cell.states))
    vectors = tuple(leaf("vector", j) for j in range(vector_count(cell, bias)))
    cotangents = [leaf("grad", k) for k in range(cell.states)]
    with torch.random.fork_rng(devices=()), torch.enable_grad(), recorder:
        if cell.recurrent == "diagonal":
            r = _diagonal(cell, bias, states[0], vectors)
        following = cell(x, r, states, vectors[: len(cell.vectors)])
        for state in following:
            if tuple(state.shape) != shape or state.dtype != torch.float32:
                raise Refused(f"a next state is {state.dtype} of another shape than the gates")
        leaves = [*x, *(r if cell.recurrent == "dense" and r else ()), *states, *vectors]
        outputs = [s for s in following if s.requires_grad]
        grads = [g for g, s in zip(cotangents, following, strict=True) if s.requires_grad]
        if not outputs:
            return tuple(recorder.read(s) for s in following), {}
        seed = _Seed.apply(grads, *outputs)
        got = torch.autograd.grad(seed, leaves, create_graph=True, allow_unused=True)
        found = {
            recorder.read(a): recorder.read(g) for a, g in zip(leaves, got, strict=True) if g is not None
        }
        return tuple(recorder.read(s) for s in following), found


def _diagonal(cell: Cell, bias: bool, h: Tensor, vectors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The recurrent projection of a diagonal cell: its weights are vectors after the cell's own."""
    weights = vectors[len(cell.vectors) :]
    products = [h * u for u in weights[: cell.gates]]
    if not bias:
        return tuple(products)
    return tuple(p + b for p, b in zip(products, weights[cell.gates :], strict=True))


def vector_count(cell: Cell, bias: bool) -> int:
    """Vectors of one weight a unit that the kernels read: the cell's, then a diagonal's weights, biases."""
    diagonal = cell.gates * (1 + bias) if cell.recurrent == "diagonal" else 0
    return len(cell.vectors) + diagonal


def trace(cell: Cell, bias: bool) -> Graph:
    """The cell's graphs. Raises Refused, saying why, for a cell that no kernel can be made of."""
    (states, grads), *others = [_record(cell, bias, *sample) for sample in _SAMPLES]
    if any(other != (states, grads) for other in others):
        raise Refused("what it computes depends on the size of its tensors, or on a number read from one")
    if not all(any(n.leaf for n in everything([s])) for s in states):
        raise Refused("a next state is a constant")
    roots = [*states, *grads.values()]
    parents: dict[Node, set[Node]] = {}
    for node in everything(roots):
        for argument in node.nodes():
            parents.setdefault(argument, set()).add(node)
    merged = []
    for g in range(cell.gates):
        x, r = Node("x", (g,)), Node("r", (g,))
        both = parents.get(x, set()) | parents.get(r, set())
        if x in roots or r in roots or grads.get(x) is not grads.get(r):
            continue  # one of them is read alone too, or has a gradient of its own
        if both and all(n.op == "add" and set(n.args) == {x, r} and not n.named for n in both):
            merged.append(g)

    def change(node: Node) -> Node | None:
        if node.op == "add" and not node.named and all(isinstance(a, Node) for a in node.args):
            ops = {a.op: a.args[0] for a in node.args if a.leaf}
            if set(ops) == {"x", "r"} and ops["x"] == ops["r"] and ops["x"] in merged:
                return Node("s", (ops["x"],))
        return None

    new = replaced(roots, change)
    states = tuple([new[s] for s in states])
    changed = {}
    for leaf, grad in grads.items():
        is_merged = leaf.op in ("x", "r") and leaf.args[0] in merged
        changed[Node("s", leaf.args) if is_merged else leaf] = new[grad]
    read = set(everything(states))
    x_only = [g for g in range(cell.gates) if Node("x", (g,)) in read]
    r_only = [g for g in range(cell.gates) if Node("r", (g,)) in read]
    return Graph(states, changed, tuple(merged), tuple(x_only), tuple(r_only))


@cache
def graph_of(cell: Cell, bias: bool) -> Graph | str:
    """The cell's graph, or why it has none; traced once."""
    # On a thread of its own, where none of the caller's modes and transformations reach.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_graph_or_reason, cell, bias).result()


def _graph_or_reason(cell: Cell, bias: bool) -> Graph | str:
    try:
        return trace(cell, bias)
    except Refused as reason:
        return f"the cell {cell.name}: {reason}"
    except Exception as error:
        # The slow engine runs it on the call's own tensors, and raises what is wrong there.
        return f"the cell {cell.name}: on small tensors it raises {type(error).__name__}: {error}"
