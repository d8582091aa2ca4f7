"""A model's head, so that what a row comes to does not depend on the rows beside it.

A matrix product of a library sums in another order for another number of rows. The engine of the layers
promises one order whatever is beside a row, so the head is run there: as a cell that only projects.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..cells import cell
from ..models.base import Model
from ..models.members import MeanHead, mean
from ..scan import Stack, scan


@cell(gates=1, recurrent="none")
def affine(x, r, h):
    """y = W·x + b."""
    return x[0]


class Runner:
    """A stack with its parameters."""

    def __init__(self, stack: Stack, parameters: Sequence[Tensor]) -> None:
        self._stack, self._parameters = stack, [p.detach() for p in parameters]

    def __call__(
        self, input: Tensor, states: tuple[Tensor, ...] | None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Output (batch, time, size) and the last states, within torch.inference_mode()."""
        given = states[0] if states and len(states) == 1 else states
        output, last = scan(self._stack, input, self._parameters, given, lengths=lengths, batch_first=True)
        return output, last if isinstance(last, tuple) else (last,)


class Head(nn.Module):
    """The linear maps of a model's head, in the place of the head itself: inference alone."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        heads = [*model.head.heads] if isinstance(model.head, MeanHead) else [model.head]
        self._members = [
            [
                Runner(
                    Stack(affine, weight.shape[1], weight.shape[0], bias=bias is not None),
                    (weight,) if bias is None else (weight, bias),
                )
                for weight, bias in _maps(model, head)
            ]
            for head in heads
        ]

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, width) -> (…, outputs)."""
        count = len(self._members)
        each = []
        for maps, part in zip(self._members, hidden.chunk(count, -1), strict=True):
            rows = part.reshape(-1, 1, part.shape[-1])
            for map in maps:
                rows, _ = map(rows, None)
            each.append(rows.view(*hidden.shape[:-1], rows.shape[-1]))
        return each[0] if count == 1 else mean(torch.stack(each, -2))


def _maps(model: Model, head: nn.Module) -> list[tuple[Tensor, Tensor | None]]:
    """The weight and bias of each linear map, in the order they are applied."""
    if isinstance(head, nn.Linear):
        return [(head.weight, head.bias)]
    maps: list[tuple[Tensor, Tensor | None]] = []
    if isinstance(narrow := head.get_submodule("map"), nn.Linear):
        maps.append((narrow.weight, narrow.bias))
    return [*maps, (model.get_parameter("embedding.weight"), head.get_parameter("bias"))]
