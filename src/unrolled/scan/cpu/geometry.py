"""The sizes of one layer's scan, in units and in panels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..stack import Stack
from .program import feed_kernels
from .shape import Shape, panels


def x_columns(stack: Stack, width: int) -> int:
    """Columns of the input product's panels: one for each gate if its units fill them, else one for all."""
    return 1 if stack.hidden_size % width else stack.cell.gates


@dataclass(frozen=True)
class Geometry:
    """The sizes of one layer's scan."""

    stack: Stack
    shape: Shape
    input_size: int
    batch: int
    time: int

    @property
    def width(self) -> int:
        """Lanes of a vector."""
        return self.shape.machine.width

    @cached_property
    def hidden_panels(self) -> int:
        """Panels of the hidden units."""
        return panels(self.stack.hidden_size, self.width)

    @cached_property
    def out_panels(self) -> int:
        """Panels of the output."""
        return panels(self.stack.output_size, self.width)

    @cached_property
    def in_panels(self) -> int:
        """Panels of the input."""
        return panels(self.input_size, self.width)

    @property
    def x_columns(self) -> int:
        """Columns of the input product's panels."""
        return x_columns(self.stack, self.width)

    @cached_property
    def x_panels(self) -> int:
        """Panels of the input product."""
        return panels(self.stack.cell.gates * self.stack.hidden_size, self.width) // self.x_columns

    @property
    def feed(self) -> dict[str, int]:
        """The kernels that make the input product."""
        return feed_kernels(self.x_columns, self.shape.machine)

    def x_strides(self, lines: int) -> tuple[int, int, int]:
        """Of the input product of so many rows: floats from row to row, panel to panel, gate to gate."""
        columns, width = self.x_columns, self.width
        if self.stack.hidden_size % width == 0:
            return columns * width, lines * columns * width, width
        # Row by row, since a gate's units may begin anywhere; an odd number of cache lines apart.
        return (self.x_panels | 1) * width, width, self.stack.hidden_size

    def state_panels(self, k: int) -> int:
        """Panels of state k."""
        return self.out_panels if k == 0 else self.hidden_panels
