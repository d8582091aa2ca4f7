"""Parameters laid out for the kernels: panels of W units, kept while the parameters are unchanged."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..stack import Stack, Weights
from .digest import Digest
from .shape import Shape


class Packed(NamedTuple):
    """One layer's and direction's parameters in panels; every tensor is dense, float32.

    w_x [panel][k][column][W] with bias_x [panel][column][W], or for indices table, the columns of the
    input weight with the bias added: [panel][symbol][column][W]. w_r, bias_r: the recurrent product's.
    w_p [panel][k][W]: the projection. vectors [panel][vector][W].
    """

    w_x: Tensor | None
    table: Tensor | None
    bias_x: Tensor
    w_r: Tensor
    bias_r: Tensor
    w_p: Tensor
    vectors: Tensor

    def pointers(self) -> dict[str, int]:
        """Their addresses by the fields' names."""
        return {name: 0 if t is None else t.data_ptr() for name, t in zip(self._fields, self, strict=True)}


def panels(size: int, width: int) -> int:
    """How many panels hold so many units."""
    return -(-size // width)


def columns(matrix: Tensor, gates: Sequence[int], hidden: int, width: int) -> Tensor:
    """(gates * hidden, k) -> [panel][k][column][W], a column for each gate of the list."""
    k, count = matrix.shape[1], panels(hidden, width)
    chosen = matrix.reshape(-1, hidden, k)
    if list(gates) != list(range(chosen.shape[0])):
        chosen = chosen[list(gates)]
    if hidden != count * width:
        chosen = torch.nn.functional.pad(chosen, (0, 0, 0, count * width - hidden))
    return chosen.view(len(gates), count, width, k).permute(1, 3, 0, 2).contiguous()


def rows(vectors: Sequence[Tensor], hidden: int, width: int) -> Tensor:
    """Vectors (hidden,) -> [panel][vector][W]."""
    count = panels(hidden, width)
    if not vectors:
        return torch.empty(0)
    padded = torch.zeros(len(vectors), count * width)
    for index, vector in enumerate(vectors):
        padded[index, :hidden] = vector
    return padded.view(len(vectors), count, width).transpose(0, 1).contiguous()


def transposed(matrix: Tensor, gates: Sequence[int], hidden: int, width: int) -> Tensor:
    """(gates * hidden, k) -> [panel of k][gate and unit][W], for the product with the transpose."""
    k = matrix.shape[1]
    chosen = matrix.reshape(-1, hidden, k)
    if list(gates) != list(range(chosen.shape[0])):
        chosen = chosen[list(gates)]
    chosen, count = chosen.reshape(-1, k), panels(k, width)
    if k != count * width:
        chosen = torch.nn.functional.pad(chosen, (0, count * width - k))
    return chosen.view(-1, count, width).transpose(0, 1).contiguous()


def pack(stack: Stack, shape: Shape, weights: Weights, indexed: bool) -> Packed:
    """Lays out one layer's and direction's parameters for the forward kernel."""
    hidden, width, graph = stack.hidden_size, shape.machine.width, shape.graph
    zero = torch.zeros(hidden)

    def gate(vector: Tensor | None, index: int) -> Tensor:
        return zero if vector is None else vector[index * hidden : (index + 1) * hidden]

    dense = stack.cell.recurrent == "dense"
    b_hh = weights.b_hh if dense else None
    x_biases = [
        gate(weights.b_ih, g) + gate(b_hh, g) if g in graph.merged else gate(weights.b_ih, g)
        for g in graph.x_gates
    ]
    bias_x = rows(x_biases, hidden, width)
    w_x = columns(weights.ih, graph.x_gates, hidden, width) if graph.x_gates else None
    table = None
    if indexed and w_x is not None:
        w_x, table = None, w_x + bias_x[:, None]
    nothing = torch.empty(0)
    return Packed(
        w_x=w_x,
        table=table,
        bias_x=bias_x,
        w_r=columns(weights.hh, graph.r_gates, hidden, width)
        if weights.hh is not None and dense
        else nothing,
        bias_r=rows([gate(b_hh, g) for g in graph.r_only], hidden, width),
        w_p=nothing if weights.hr is None else columns(weights.hr, (0,), stack.proj_size, width),
        vectors=rows(unit_vectors(stack, weights), hidden, width),
    )


def unit_vectors(stack: Stack, weights: Weights) -> list[Tensor]:
    """The vectors of one weight a unit: the cell's, then a diagonal recurrence's weights and biases."""
    vectors = list(weights.vectors)
    if stack.cell.recurrent == "diagonal" and weights.hh is not None:
        vectors += weights.hh.unflatten(0, (stack.cell.gates, -1)).unbind(0)
        if weights.b_hh is not None:
            vectors += weights.b_hh.unflatten(0, (stack.cell.gates, -1)).unbind(0)
    return vectors


class _Entry(NamedTuple):
    parameters: tuple[weakref.ref[Tensor], ...]
    addresses: list[int]
    digest: Digest
    kept: Packed
    finalizers: list[Any]


_kept: dict[tuple[Any, ...], _Entry] = {}


def kept(key: tuple[Any, ...], parameters: Sequence[Tensor], make: Callable[[], Packed]) -> Packed:
    """What was made of these very parameters under this key, if they still hold what they held; else
    made, and kept until one of them dies."""
    if not all([p.is_contiguous() for p in parameters]):
        return make()
    key += tuple([id(p) for p in parameters])
    addresses = [p.data_ptr() for p in parameters]
    entry = _kept.get(key)
    if entry is not None and entry.addresses == addresses:
        # A number alone may by now be another tensor's.
        same = all([own() is p for own, p in zip(entry.parameters, parameters, strict=True)])
        if same and entry.digest.holds():
            return entry.kept
    # The digest first: what another thread writes meanwhile makes the next call make it again.
    digest = Digest(parameters)
    made = make()
    _remember(key, parameters, addresses, digest, made)
    return made


def _remember(
    key: tuple[Any, ...], parameters: Sequence[Tensor], addresses: list[int], digest: Digest, made: Packed
) -> None:
    old = _kept.pop(key, None)
    if old is not None:
        for finalizer in old.finalizers:
            finalizer.detach()
    finalizers = [weakref.finalize(p, _kept.pop, key, None) for p in parameters]
    for finalizer in finalizers:
        finalizer.atexit = False
    own = tuple([weakref.ref(p) for p in parameters])
    _kept[key] = _Entry(own, addresses, digest, made, finalizers)
