"""Parameters as one laid out call reads them: in panels, and a digest of what those were made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..stack import Stack
from .digest import Digest
from .fields import FIELDS
from .fills import Fills
from .layer import Layer
from .pack import Packed, packed
from .pool import Pool
from .shape import Shape


class Weights:
    """For calls by `count` workers; indexed: whether the first layer reads symbols."""

    def __init__(
        self,
        stack: Stack,
        shape: Shape,
        parameters: Sequence[Tensor],
        indexed: bool,
        pool: Pool | None,
        count: int,
    ) -> None:
        self._stack, self._shape, self._indexed, self._count = stack, shape, indexed, count
        # First: what another thread writes meanwhile makes the next call begin anew.
        self.digest = Digest(parameters, count, shape.machine)
        self._panels = self._packed(parameters, pool)
        self._places = np.array([p.address for p in self._panels], dtype=np.int64)

    def _packed(self, parameters: Sequence[Tensor], pool: Pool | None) -> list[Packed]:
        found = []
        for index in range(self._stack.num_layers):
            indexed = self._indexed and index == 0
            for own in self._stack.parts(parameters, index):
                # Once again laid out for others, they have hardly stayed the same.
                found.append(packed(self._stack, self._shape, own, indexed, pool, self._count, False))
        return found

    def pointers(self, index: int) -> list[list[int]]:
        """Of layer `index` the addresses of `PARTS`, by direction."""
        first = index * self._stack.directions
        return [p.pointers for p in self._panels[first : first + self._stack.directions]]

    def tell(self, fills: Fills, layer: Layer, index: int) -> None:
        """Has the blocks of layer `index` told where its panels are, whenever a call begins."""
        for direction, groups in enumerate(layer.directions):
            number = index * self._stack.directions + direction
            for group in groups:
                for name, offset in self._panels[number].offsets.items():
                    fills.copy(group.block, FIELDS[name], self._places, number, offset)

    def renew(self, parameters: Sequence[Tensor], pool: Pool | None) -> None:
        """They are these now, of the same shapes."""
        self.digest.renew(parameters)
        self._panels = self._packed(parameters, pool)
        self._places[:] = [p.address for p in self._panels]
