"""What one direction's backward scan leaves for the products after it, and the blocks of that scan."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..stack import Stack
from .derived import GIVEN, Derived, Memory
from .geometry import Geometry
from .layer import Group, panel_step
from .lent import outside
from .sync import LINE


class Outcome:
    """Where in a call's memory it lies, group by group.

    lines: those of a panel of what has one for each step and row. dg: the gradients of the gates'
    projections. dp: those of the projected output.
    """

    def __init__(self, stack: Stack, geometry: Geometry, groups: Sequence[Group], memory: Memory) -> None:
        self._stack, self._geometry, self._groups, self._memory = stack, geometry, groups, memory
        hidden, graph, width = geometry.hidden_panels, geometry.shape.graph, geometry.width
        columns = len(graph.r_only) + len(graph.merged) + len(graph.x_only)
        self.lines = [geometry.time * len(g.rows.rowmap) | 1 for g in groups]
        self.dg = [memory.take(columns * hidden * n * width) for n in self.lines]
        self.dp = [memory.take(geometry.out_panels * n * width) for n in self.lines if stack.proj_size]
        self._outputs = [memory.take(hidden * g.lines * width) for g in groups if geometry.shape.again]
        self._meetings: list[Tensor] = []
        """Where the workers of a group meet, which goes on counting from call to call."""
        self._dvectors = memory.take(len(groups) * hidden * geometry.shape.vectors * width)

    def scans(self, w_h: int, w_q: int, dinitial: bool, workers: int) -> list[Derived]:
        """The scan's blocks, one a group.

        w_h, w_q: where the recurrent weights and the projection lie transposed. dinitial: whether the
        initial states' gradients are wanted. workers: how many share a group.
        """
        stack, geometry, memory = self._stack, self._geometry, self._memory
        shape, width = geometry.shape, geometry.width
        # What nobody wants is written all the same, where nobody reads it.
        wide = [geometry.batch * stack.state_size(k) for k in range(shape.states)]
        unread = [0 if dinitial else memory.take(n) for n in wide]
        made = []
        for index, group in enumerate(self._groups):
            rows, block = len(group.rows.rowmap), Derived(group)
            vectors = self._dvectors + index * 4 * geometry.hidden_panels * shape.vectors * width
            block.place("rest", w_h=w_h, w_q=w_q, dg=self.dg[index], dvectors=vectors)
            for k in range(shape.states):
                size, row = geometry.state_panels(k) * rows * width, 4 * stack.state_size(k)
                block.place("rest", **{f"dstate{k}": memory.take(size), f"dstart{k}": memory.take(size)})
                block.place(f"dfinal{k}", **{f"dfinal{k}": 0})
                block.place(f"dinitial{k}" if dinitial else "rest", **{f"dinitial{k}": unread[k]})
                block.set(**{f"dfinal_row{k}": row, f"dinitial_row{k}": row})
            if stack.proj_size:
                dh = memory.take(geometry.hidden_panels * rows * width)
                block.place("rest", dh=dh, dp=self.dp[index])
            if self._outputs:
                self._made_again(block, index)
            block.take(GIVEN)
            together = 4 if rows == 1 else panel_step(shape.cut(1), rows)
            block.set(g_lines=self.lines[index], together=together, workers=workers)
            # Of many rows a step's gradients of the gates are read again for every two panels of h: gate by
            # gate where those of all would leave the second cache.
            step = 4 * shape.r_columns * stack.hidden_size * rows
            block.set(groups=1 if step > shape.machine.l2 // 4 else max(1, shape.r_columns))
            if workers > 1:  # they are others than those of the forward pass may have been
                with outside():
                    meeting = torch.zeros(workers * LINE // 4, dtype=torch.float32)
                self._meetings.append(meeting)
                block.set(barrier=meeting.data_ptr())
            made.append(block)
        return made

    def multiplied(self, blocks: Sequence[Derived], name: str) -> None:
        """Tells the products of a weight what it was multiplied with, `state0` or `raw`: kept by the
        forward pass, or made again by the scan."""
        for index, block in enumerate(blocks):
            if self._outputs and (name == "raw") == bool(self._stack.proj_size):
                self._made_again(block, index)
            else:
                block.same("operand", name)
                block.same("o_lines", "s_lines")

    def _made_again(self, block: Derived, index: int) -> None:
        block.place("rest", operand=self._outputs[index])
        block.set(o_lines=self._groups[index].lines)

    def vectors(self, memory: Tensor) -> Tensor:
        """The gradients of the vectors of one weight a unit (vector, hidden), summed over the groups.

        memory: the call's."""
        geometry = self._geometry
        count, units = geometry.shape.vectors, geometry.hidden_panels * geometry.width
        first = self._memory.zeros + self._dvectors // 4
        parts = memory[first : first + len(self._groups) * units * count]
        whole = parts.view(len(self._groups), geometry.hidden_panels, count, geometry.width).sum(0)
        return whole.transpose(0, 1).reshape(count, units)[:, : self._stack.hidden_size]
