"""What is measured: a cell at a shape, and the arithmetic that it needs."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from ..cells import CELLS
from ..errors import Error


@dataclass(frozen=True)
class Shape:
    """batch rows of `time` steps, `input_size` features in, `hidden_size` units."""

    batch: int
    time: int
    input_size: int
    hidden_size: int

    def __str__(self) -> str:
        return f"{self.batch}, {self.time}, {self.input_size}→{self.hidden_size}"

    @classmethod
    def parse(cls, text: str) -> Shape:
        """From "batch:time:input:hidden"; raises Error for anything else."""
        parts = text.split(":")
        if len(parts) != 4 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise Error(f"bench: shape {text!r}; wanted batch:time:input:hidden, such as 32:100:128:128")
        return cls(*map(int, parts))

    def operations(self, cell: str, backward: bool) -> int:
        """Floating-point operations of the matrix products (a multiply-add is two), which are nearly all.

        The backward pass multiplies twice as much: once for the inputs' gradient, once for the weights'.
        """
        rows = CELLS[cell].gates * self.hidden_size
        products = 2 * self.batch * self.time * rows * (self.input_size + self.hidden_size)
        return products * (3 if backward else 1)

    def recurrent(self, cell: str, backward: bool) -> int:
        """Those of `operations` that one step after another needs: of the states with the recurrent
        weights, and backward of the gates' gradients with them."""
        weights = CELLS[cell].gates * self.hidden_size * self.hidden_size
        return 2 * self.batch * self.time * weights * (2 if backward else 1)

    def weights(self, cell: str) -> int:
        """Bytes of the recurrent weights, which every step needs."""
        return 4 * CELLS[cell].gates * self.hidden_size * self.hidden_size


def random_shapes(count: int, seed: int) -> list[Shape]:
    """Shapes that nobody chose: sizes whose logarithms are uniform, of at most 4e9 multiply-adds a gate."""
    draw, found = random.Random(seed), []

    def between(low: int, high: int) -> int:
        return round(math.exp(draw.uniform(math.log(low), math.log(high))))

    while len(found) < count:
        shape = Shape(between(1, 256), between(5, 200), between(2, 1024), between(2, 1024))
        if shape.batch * shape.time * shape.hidden_size * (shape.input_size + shape.hidden_size) <= 4e9:
            found.append(shape)
    return found


GRID = (
    Shape(3, 5, 4, 2),
    Shape(1, 100, 64, 64),
    Shape(1, 100, 128, 128),
    Shape(1, 100, 512, 512),
    Shape(8, 100, 96, 96),
    Shape(32, 100, 64, 64),
    Shape(32, 100, 128, 128),
    Shape(32, 100, 256, 256),
    Shape(64, 100, 512, 512),
    Shape(64, 35, 1024, 1024),
    Shape(256, 50, 128, 128),
)
"""From the lesson's shape to the largest that a laptop trains; batch 1 to 256."""

LAYERS = {"rnn": "rnn_tanh", "gru": "gru", "lstm": "lstm"}
"""The layers that every peer has, and their cells."""
