"""The backward pass of one layer on the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..stack import Call, Weights
from .fields import FIELDS
from .inference import cost
from .layer import Group, Layer, assign, memory, place
from .machine import machine
from .pack import panels, transposed
from .pool import Pool, Work, workers
from .program import backward_kernel, products_after
from .room import borrow

_SEGMENT = 168


@dataclass
class Scan:
    """What a forward pass left for its backward."""

    layer: Layer
    kept: list[Any]
    input: Tensor


class _Side:
    """One direction of the layer during its backward: its groups' blocks and results."""

    def __init__(self, call: Call, scan: Scan, direction: int, weights: Weights) -> None:
        self.call, self.scan, self.direction, self.weights = call, scan, direction, weights
        self.shape = scan.layer.geometry.shape
        self.geometry, self.groups = scan.layer.geometry, scan.layer.directions[direction]
        self.blocks = [g.block.copy() for g in self.groups]
        self.alive: list[Any] = []
        graph, width = self.shape.graph, self.geometry.width
        self.columns = len(graph.r_only) + len(graph.merged) + len(graph.x_only)
        stack = call.stack
        self.w_h = self.w_q = torch.empty(0)
        if self.shape.r_columns and weights.hh is not None:
            self.w_h = transposed(weights.hh.detach(), graph.r_gates, stack.hidden_size, width)
        if weights.hr is not None:
            self.w_q = transposed(weights.hr.detach(), (0,), stack.proj_size, width)

    def lines(self, group: Group) -> int:
        """Rows between panels of dg."""
        return self.geometry.time * len(group.rows.rowmap) | 1

    def lay_out(
        self, out: Tensor, dout: Tensor, dfinals: Sequence[Tensor], dinitials: Sequence[Tensor]
    ) -> None:
        """Memory and tensors for the scan's own kernel."""
        geometry, shape = self.geometry, self.shape
        width, hidden = geometry.width, geometry.hidden_panels
        fields: dict[str, int] = {}
        fields |= zip(("out", "out_row", "out_step"), place(out, self.direction == 1), strict=True)
        fields |= zip(("dout", "dout_row", "dout_step"), place(dout, self.direction == 1), strict=True)
        for k, (final, initial) in enumerate(zip(dfinals, dinitials, strict=True)):
            fields[f"dfinal{k}"], fields[f"dfinal_row{k}"] = final.data_ptr(), 4 * final.stride(0)
            fields[f"dinitial{k}"], fields[f"dinitial_row{k}"] = initial.data_ptr(), 4 * initial.stride(0)
        fields |= {"w_h": self.w_h.data_ptr(), "w_q": self.w_q.data_ptr()}
        self.dvectors = memory(len(self.groups) * hidden * shape.vectors * width)
        for index, (group, block) in enumerate(zip(self.groups, self.blocks, strict=True)):
            rows, lines = len(group.rows.rowmap), self.lines(group)
            sizes = {"dg": self.columns * hidden * lines * width}
            for k in range(shape.states):
                sizes[f"dstate{k}"] = sizes[f"dstart{k}"] = geometry.state_panels(k) * rows * width
            if shape.projected:
                sizes |= {"dh": hidden * rows * width, "dp": geometry.out_panels * lines * width}
            room = borrow(self, sum(sizes.values()) + 16)
            self.alive.append(room)
            at = room.data_ptr()
            for name, size in sizes.items():
                fields[name], at = at, at + 4 * size
            each = 4 * hidden * shape.vectors * width
            fields["dvectors"] = self.dvectors.data_ptr() + index * each
            fields["g_lines"] = lines
            fields["together"] = 8 if rows <= shape.cut(1).largest else 2
            _set(block, fields)

    def segments(self, group: Group) -> dict[str, int]:
        """The rows of dg that hold something, in pieces that stay in the cache."""
        rows, time = len(group.rows.rowmap), self.geometry.time
        if group.rows.full:
            total = rows * time
            counts = np.full(-(-total // _SEGMENT), _SEGMENT, dtype=np.int64)
            if total % _SEGMENT:
                counts[-1] = total % _SEGMENT
            step, together = _SEGMENT, 1
        else:
            counts, step, together = group.rows.active[:time].copy(), rows, max(1, _SEGMENT // max(rows, 1))
        self.alive.append(counts)
        return {
            "segments": len(counts),
            "counts": counts.ctypes.data,
            "segment": step * 4 * self.geometry.width,
            "together": together,
        }

    def products(
        self, column: int, count: int, operand: Sequence[tuple[int, int]], size: int, sums: bool, name: str
    ) -> tuple[list[np.ndarray], Tensor, Tensor]:
        """Blocks for `weights`: columns of dg (or dp) times an operand of `size` features."""
        width = self.geometry.width
        result = torch.zeros(count * width, panels(size, width) * width)
        total = torch.zeros(count * width) if sums else torch.empty(0)
        blocks = []
        for group, block, (address, lines) in zip(self.groups, self.blocks, operand, strict=True):
            made = block.copy()
            offset = column * self.geometry.hidden_panels * self.lines(group) * 4 * width
            _set(
                made,
                {
                    **self.segments(group),
                    "a": int(block[FIELDS[name]]) + offset,
                    "a_panels": count,
                    "operand": address,
                    "o_panels": panels(size, width),
                    "o_lines": lines,
                    "result": result.data_ptr(),
                    "result_row": 4 * panels(size, width) * width,
                    "sums": total.data_ptr() if sums else 0,
                },
            )
            blocks.append(made)
        return blocks, result, total


def _set(block: np.ndarray, fields: dict[str, int]) -> None:
    block[[FIELDS[n] for n in fields]] = list(fields.values())


def gradients(
    call: Call, scan: Scan, out: Tensor, grads: tuple[Tensor, ...], needed: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients of (input, states, parameters) of one layer, whose output was `out`."""
    stack, count = call.stack, call.stack.cell.states
    out = out if out.stride(-1) == 1 else out.contiguous()
    dout = grads[0] if grads[0].stride(-1) == 1 else grads[0].contiguous()
    dfinals = [g if g.stride(-1) == 1 else g.contiguous() for g in grads[1:]]
    dinitials = [torch.empty(s.shape) for s in call.state]
    kernel = backward_kernel(stack.cell, stack.bias, stack.proj_size > 0, machine())
    sides = [_Side(call, scan, d, w) for d, w in enumerate(stack.weights(call.parameters)[0])]
    size = stack.output_size
    batch, time = scan.input.shape[:2]
    with workers(2 * cost(stack, stack.input_size, batch * time), batch * stack.hidden_size) as claimed:
        pool, most = claimed
        blocks = []
        for d, side in enumerate(sides):
            own = slice(d * size, (d + 1) * size)
            side.lay_out(
                out[:, :, own], dout[:, :, own], [g[d] for g in dfinals], [g[d] for g in dinitials]
            )
            blocks += side.blocks
        together = most if len(blocks) == 1 and most <= scan.layer.geometry.out_panels else 1
        for block in blocks:
            block[FIELDS["workers"]] = together
        jobs = assign([b.ctypes.data for b in blocks], together, most)
        pool.run(Work(kernel.address, jobs))
        made = [_After(side, pool, most, needed[0]) for side in sides]
    dx = made[0].dx
    for other in made[1:]:
        if dx is not None and other.dx is not None:
            dx += other.dx
    flat = [g for one in made for g in one.parameters()]
    return [dx, *dinitials[:count], *flat]


class _After:
    """The products after the scan, for one direction."""

    def __init__(self, side: _Side, pool: Pool, most: int, dx: bool) -> None:
        self.side, self._pool, self._most = side, pool, most
        self._address = products_after(machine())
        shape, geometry = side.shape, side.geometry
        self.ih = self.hh = self.hr = self.dx = None
        hidden, indexed = geometry.hidden_panels, not side.scan.input.is_floating_point()
        if shape.x_columns:
            self._input_weights(indexed)
            if dx and not indexed:
                self.dx = self._input()
        elif dx and not indexed:
            self.dx = torch.zeros(side.scan.input.shape)
        if shape.r_columns:
            hist = [(int(b[FIELDS["state0"]]), int(b[FIELDS["s_lines"]])) for b in side.blocks]
            size = side.call.stack.output_size
            blocks, *self.hh = side.products(0, shape.r_columns * hidden, hist, size, True, "dg")
            self._run("weights", blocks)
        if shape.projected:
            raw = [(int(b[FIELDS["raw"]]), int(b[FIELDS["s_lines"]])) for b in side.blocks]
            hidden_size = side.call.stack.hidden_size
            blocks, self.hr, _ = side.products(0, geometry.out_panels, raw, hidden_size, False, "dp")
            self._run("weights", blocks)

    def _run(self, name: str, blocks: list[np.ndarray]) -> None:
        for block in blocks:
            block[FIELDS["workers"]] = self._most
        # Block after block, since all of them add to one result, of which each worker has a part.
        jobs = [[(b.ctypes.data, w) for b in blocks] for w in range(self._most)]
        self._pool.run(Work(self._address[name], jobs))

    def _input_weights(self, indexed: bool) -> None:
        side = self.side
        shape, geometry = side.shape, side.geometry
        first, count = len(shape.graph.r_only), shape.x_columns * geometry.hidden_panels
        operands, width = [], geometry.width
        for group, block in zip(side.groups, side.blocks, strict=True):
            lines = side.lines(group)
            if not indexed:
                room = borrow(side, geometry.in_panels * lines * width)
                side.alive.append(room)
                operands.append((room.data_ptr(), lines))
                _set(block, {"operand": room.data_ptr(), "o_lines": lines})
        if not indexed:
            self._run("features", side.blocks)
            size = geometry.input_size
            blocks, *self.ih = side.products(first, count, operands, size, True, "dg")
            self._run("weights", blocks)
            return
        table = torch.zeros(count, geometry.input_size, width)
        blocks = []
        for group, block in zip(side.groups, side.blocks, strict=True):
            made, lines = block.copy(), side.lines(group)
            offset = first * geometry.hidden_panels * lines * 4 * width
            _set(
                made,
                {
                    "a": int(block[FIELDS["dg"]]) + offset,
                    "a_panels": count,
                    "result": table.data_ptr(),
                },
            )
            blocks.append(made)
        self._run("symbols", blocks)
        self.ih = [table.transpose(1, 2).reshape(count * width, -1), table.sum(1).flatten()]

    def _input(self) -> Tensor:
        side = self.side
        geometry, graph, width = side.geometry, side.shape.graph, side.geometry.width
        stack = side.call.stack
        operand = transposed(side.weights.ih.detach(), graph.x_gates, stack.hidden_size, width)
        make = torch.zeros_like if side.call.lengths is not None else torch.empty_like
        dx = make(side.scan.input)
        if dx.stride(-1) != 1:
            dx = make(side.scan.input, memory_format=torch.contiguous_format)
        where = zip(("result", "result_row", "result_step"), place(dx, side.direction == 1), strict=True)
        fields, blocks = dict(where), []
        for group, block in zip(side.groups, side.blocks, strict=True):
            made, lines = block.copy(), side.lines(group)
            offset = len(graph.r_only) * geometry.hidden_panels * lines * 4 * width
            _set(
                made,
                {
                    **fields,
                    **side.segments(group),
                    "a": int(block[FIELDS["dg"]]) + offset,
                    "groups": side.shape.x_columns,
                    "operand": operand.data_ptr(),
                    "o_panels": geometry.in_panels,
                    "result_size": geometry.input_size,
                    "panel_step": 2,
                },
            )
            blocks.append(made)
        side.alive.append(operand)
        self._run("inputs", blocks)
        return dx

    def parameters(self) -> list[Tensor]:
        """The gradients of this direction's parameters, in their order."""
        side, stack, weights = self.side, self.side.call.stack, self.side.weights
        graph, gates, hidden = side.shape.graph, stack.cell.gates, stack.hidden_size
        units = side.geometry.hidden_panels * side.geometry.width

        def gated(result: Tensor, chosen: tuple[int, ...], size: int) -> Tensor:
            part = result.view(len(chosen), units, -1)[:, :hidden, :size]
            if chosen == tuple(range(gates)):
                return part.reshape(gates * hidden, size)
            return (
                result.new_zeros(gates, hidden, size)
                .index_copy(0, torch.tensor(chosen), part)
                .view(gates * hidden, size)
            )

        none = torch.zeros(gates * hidden, 1)
        shape = weights.ih.shape
        found = [gated(self.ih[0], graph.x_gates, shape[1]) if self.ih else weights.ih.new_zeros(shape)]
        dvectors = side.dvectors.view(
            len(side.groups), side.geometry.hidden_panels, side.shape.vectors, side.geometry.width
        )
        vectors = dvectors.sum(0).transpose(0, 1).reshape(side.shape.vectors, units)[:, :hidden]
        own = len(weights.vectors)
        dense = stack.cell.recurrent == "dense"
        if weights.hh is not None and dense:
            shape = weights.hh.shape
            found.append(gated(self.hh[0], graph.r_gates, shape[1]) if self.hh else none.new_zeros(shape))
        elif weights.hh is not None:
            found.append(vectors[own : own + gates].reshape(-1))
        if weights.b_ih is not None:
            found.append((gated(self.ih[1], graph.x_gates, 1) if self.ih else none).flatten())
        if weights.b_hh is not None and dense:
            found.append((gated(self.hh[1], graph.r_gates, 1) if self.hh else none).flatten())
        elif weights.b_hh is not None:
            found.append(vectors[own + gates :].reshape(-1))
        if weights.hr is not None and self.hr is not None:
            found.append(self.hr[: stack.proj_size, :hidden].contiguous())
        return [*found, *(vectors[j].clone() for j in range(own))]
