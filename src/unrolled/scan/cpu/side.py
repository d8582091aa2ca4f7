"""One direction of a layer in its backward pass: its kernels' blocks, and the parameters' gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..stack import Stack
from . import after, arrange
from .derived import BASE, RESULT, Blocks, Derived, Memory
from .layer import Layer
from .outcome import Outcome
from .phases import Phases, Product
from .pool import Jobs
from .program import products_after
from .results import Results
from .segments import segments
from .shape import panels


class Side:
    """The blocks of the cell's own kernel, `scans`, one a group, and of what comes before and after it.

    A parameter's gradient whose rows and columns fill panels is written where it stays; another is
    written in panels and copied.

    workers: how many share a scan.
    apart: whether who scans a group also makes the products of its rows, which are in its caches.
    parts: whether each group makes its own part of a sum; so the bits are the same whoever makes it.
    """

    def __init__(
        self,
        stack: Stack,
        layer: Layer,
        direction: int,
        memory: Memory,
        indexed: bool,
        dx: bool,
        dinitial: bool,
        workers: int,
        apart: bool,
        parts: bool,
    ) -> None:
        self.stack, self.groups, self.geometry = stack, layer.directions[direction], layer.geometry
        self.shape, self.width = self.geometry.shape, self.geometry.width
        self._memory, self._varying, self._dx = memory, layer.lengths, dx
        self._direction, self._apart, self._parts = direction, apart, parts
        self._into, self._sums, self._out_of = (arrange.Tasks(BASE) for _ in range(3))
        self._products: list[Product] = []
        self._arrays: list[np.ndarray] = []
        graph, self._outcome = self.shape.graph, Outcome(stack, self.geometry, self.groups, memory)
        # Where both biases are added to the same gates, they have the same gradient.
        self._one_bias = not graph.r_only and not graph.x_only and self.shape.r_columns > 0
        self.results = Results(stack)
        w_h = self._transposed("hh", graph.r_gates, stack.output_size) if self.shape.r_columns else 0
        w_q = self._transposed("hr", (0,), stack.hidden_size) if stack.proj_size else 0
        self._scans = self._outcome.scans(w_h, w_q, dinitial, workers)
        if self.shape.reads_input:
            self._of_symbols() if indexed else self._of_features()
        if self.shape.r_columns:
            own = self._of_weights("hh", graph.r_gates, stack.output_size, not self._one_bias)
            self._outcome.multiplied(own, "state0")
        if stack.proj_size:
            own = self._of_weights("hr", (0,), stack.hidden_size, False)
            self._outcome.multiplied(own, "raw")

    def _transposed(self, name: str, gates: Sequence[int], size: int) -> int:
        """Where (gates * rows, size) will be as [panel of size][gate and row][W]."""
        rows = self._rows(name)
        vector, lines = 4 * self.width, len(gates) * rows
        start = self._memory.take(panels(size, self.width) * lines * self.width)
        for index, gate in enumerate(gates):
            self._into.add(
                arrange.CUT,
                arrange.Sizes(rows, size, row=4 * size, panel=lines * vector, line=vector),
                matrix=(name, 4 * gate * rows * size),
                panels=("rest", start + index * rows * vector),
            )
        return start

    def _rows(self, name: str) -> int:
        return self.stack.proj_size if name == "hr" else self.stack.hidden_size

    def _of_features(self) -> None:
        geometry, gates = self.geometry, self.shape.graph.x_gates
        weights = self._of_weights("ih", gates, geometry.input_size, True)
        features = []
        for index, (group, lines, block) in enumerate(
            zip(self.groups, self._outcome.lines, weights, strict=True)
        ):
            made, at = Derived(group), self._memory.take(geometry.in_panels * lines * self.width)
            for one in (made, block):
                one.place("rest", operand=at)
                one.set(o_lines=lines)
            features.append(Product("features", index, made, np.ones(0)))
        self._products = features + self._products
        if not self._dx:
            return
        w_i = self._transposed("ih", gates, geometry.input_size)
        for block in self._over_groups("inputs", len(self.shape.graph.r_only), "dg"):
            block.place("rest", operand=w_i)
            block.take(RESULT)
            block.set(groups=len(gates), o_panels=geometry.in_panels, result_size=geometry.input_size)

    def _of_symbols(self) -> None:
        symbols, gates, hidden = self.geometry.input_size, self.shape.graph.x_gates, self.stack.hidden_size
        line, count = 4 * self.width, self.geometry.hidden_panels
        start = self._memory.take_zeros(len(gates) * count * symbols * self.width)
        blocks = self._over_groups("symbols", len(self.shape.graph.r_only), "dg")
        for block in blocks:
            block.place("zeros", result=start)
            block.set(a_panels=len(gates) * count)
        self._panels_of("ih", gates, hidden % self.width == 0, blocks, added=True)
        for index, gate in enumerate(gates):
            self._out_of.add(
                arrange.TURN_BACK,
                arrange.Sizes(hidden, symbols, row=4 * symbols, panel=symbols * line, line=line),
                matrix=("d_ih", 4 * gate * hidden * symbols),
                panels=("zeros", start + index * count * symbols * line),
            )
        self._result("d_ih", gates, False)

    def _of_weights(self, name: str, gates: Sequence[int], size: int, bias: bool) -> list[Derived]:
        """The products that make the gradient (gates * rows, size) of a weight, and of its bias."""
        column = len(self.shape.graph.r_only) if name == "ih" else 0
        blocks = self._over_groups("weights", column, "dp" if name == "hr" else "dg")
        rows, count = self._rows(name), panels(self._rows(name), self.width)
        wide = 4 * panels(size, self.width) * self.width
        direct = rows % self.width == 0 and size % self.width == 0
        start = 0 if direct else self._memory.take(len(gates) * count * self.width * wide // 4)
        first, target = self._first(gates, rows, direct), f"d_{name}" if direct else "rest"
        sizes = arrange.Sizes(rows, wide // 4, row=wide, panel=4 * self.width, line=wide)
        for index, block in enumerate(blocks):
            if self._parts and index:
                block.place("rest", result=self._part([target], start, first, wide, sizes))
            else:
                block.place(target, result=start)
            block.set(a_panels=len(gates) * count, o_panels=panels(size, self.width), result_row=wide)
            block.set(fresh=index == 0 or self._parts)
        self._panels_of(name, gates, direct, blocks, bias)
        self._result(f"d_{name}", gates, False)
        for index, gate in enumerate(gates if not direct else ()):
            self._out_of.add(
                arrange.JOIN,
                arrange.Sizes(rows, size, row=4 * size, panel=4 * self.width, line=wide),
                matrix=(f"d_{name}", 4 * gate * rows * size),
                panels=("rest", start + index * count * self.width * wide),
            )
        return blocks

    def _panels_of(
        self,
        name: str,
        gates: Sequence[int],
        direct: bool,
        blocks: list[Derived],
        bias: bool = True,
        added: bool = False,
    ) -> None:
        """Which rows of the result the panels of dg are, how much of each is used; and the bias's gradient.

        added: whether the kernel adds to what is there, instead of beginning with the first block."""
        rows, width = self._rows(name), self.width
        count = panels(rows, width)
        first = self._first(gates, rows, direct)
        lanes = after.lanes_of(self.shape.machine)
        parts = [panels(min(width, rows - p * width), lanes) for p in range(count)]
        # Unit by unit, as workers share the scan: what each of them reads it wrote itself.
        places = np.array(
            [
                (f + p * width, parts[p], g * count + p)
                for p in range(count)
                for g, f in enumerate(first[:-1])
            ],
            dtype=np.int64,
        )
        self._arrays.append(places)
        bias = bias and self.stack.bias and name != "hr"
        base, take = ("zeros", self._memory.take_zeros) if added else ("rest", self._memory.take)
        start = 0 if direct or not bias else take(len(gates) * count * width)
        targets = [f"d_b_{name}", *(["d_b_hh"] if self._one_bias else [])] if direct else [base]
        sizes = arrange.Sizes(1, rows, row=0, panel=4 * width, line=0)
        for index, block in enumerate(blocks):
            block.set(places=places.ctypes.data, sums=0, sums_too=0)
            if bias and self._parts and index and not added:
                block.place("rest", sums=self._part(targets, start, first, 4, sizes))
            elif bias:
                for field, target in zip(("sums", "sums_too"), targets, strict=False):
                    block.place(target, **{field: start})
        if not bias:
            return
        self._result(f"d_b_{name}", gates, direct and added)
        if self._one_bias:
            self._result("d_b_hh", gates, False)
        for to in (name, "hh") if self._one_bias else (name,):
            for index, gate in enumerate(gates if not direct else ()):
                self._out_of.add(
                    arrange.JOIN,
                    sizes,
                    matrix=(f"d_b_{to}", 4 * gate * rows),
                    panels=(base, start + 4 * index * count * width),
                )

    def _first(self, gates: Sequence[int], rows: int, direct: bool) -> list[int]:
        """Each gate's first row in the result, the tensor or panels of these gates alone, and the row after
        all: kernels write whole vectors."""
        wide = panels(rows, self.width) * self.width
        first = [gate * rows if direct else index * wide for index, gate in enumerate(gates)]
        return [*first, max(first) + wide]

    def _part(
        self, targets: Sequence[str], start: int, first: Sequence[int], row: int, sizes: arrange.Sizes
    ) -> int:
        """Memory for one more group's part of a sum, which is added to the first group's at the targets.

        first: as `_first` gives, of rows of so many bytes; sizes: of one gate's part."""
        *begins, end = first
        part = self._memory.take(end * row // 4)
        for begin in begins:
            for target in targets:
                matrix, own = (target, start + begin * row), ("rest", part + begin * row)
                self._sums.add(arrange.ADD, sizes, matrix=matrix, panels=own)
        return part

    def _over_groups(self, kernel: str, column: int, name: str) -> list[Derived]:
        """A block a group for a product with the columns of dg from `column` on, or with dp."""
        made = []
        outcome = self._outcome
        for index, (group, lines) in enumerate(zip(self.groups, outcome.lines, strict=True)):
            block, at = Derived(group), (outcome.dp if name == "dp" else outcome.dg)[index]
            block.place("rest", a=at + 4 * column * self.geometry.hidden_panels * lines * self.width)
            counts, fields = segments(group)
            block.set(g_lines=lines, **fields)
            self._products.append(Product(kernel, index, block, counts))
            made.append(block)
        return made

    def _result(self, name: str, gates: Sequence[int], added: bool) -> None:
        """A gradient of every gate's rows, of which these are written, or added to."""
        every = 1 if name == "d_hr" else self.stack.cell.gates
        self.results.add(name, added or len(gates) < every)

    # A call

    def close(self, count: int, moving: Sequence[int]) -> Phases:
        """What `count` workers do.

        moving: the words of a group's block that differ from call to call."""
        kernels, address = products_after(self.shape.machine), arrange.kernel(self.shape.machine)
        for product in self._products:
            product.share(count, self._apart, self._varying)
        tasks = [self._into, self._sums, self._out_of]
        self._blocks = Blocks([*self._scans, *(p.block for p in self._products)], tasks, count, moving)
        self.scans = [self._blocks.address(b) for b in self._scans]
        self.results.close()
        self.bases = self._blocks.fills.bases.data
        """What a call gives, by the numbers in `BASE`."""
        into, sums, out_of = (
            [(address, arrange.jobs(at, count))] if len(own) else []
            for own, at in zip(tasks, self._blocks.tasks, strict=True)
        )
        phases = Phases(into, [], [], sums, out_of)
        for product in self._products:
            if product.own(self._apart):
                # As `assign` deals the scans.
                owner, phase = (self._direction * len(self.groups) + product.group) % count, phases.beside
            else:
                owner, phase = None, phases.before if product.kernel == "features" else phases.after
            jobs = product.jobs(self._blocks.address(product.block), count, owner)
            phase.append((kernels[product.kernel], jobs))
        return phases

    def told(self, count: int) -> tuple[int, Jobs]:
        """The writing of the blocks for a call, by the first of so many workers."""
        return self._blocks.fills.work(count)

    def parameters(self, made: list[Tensor], memory: Tensor) -> list[Tensor]:
        """The gradients in the parameters' order; memory: what the call had."""
        return self.results.ordered(made, self._outcome.vectors(memory) if self.shape.vectors else memory)
