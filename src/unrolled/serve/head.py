"""A model's head, so that what a row comes to does not depend on the rows beside it.

A matrix product of a library sums in another order for another number of rows. The engine of the layers
promises one order whatever is beside a row, so the head is run there: as a cell that only projects.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..cells import cell
from ..models import LanguageModel
from ..scan import Call, Stack, run


@cell(gates=1, recurrent="none")
def affine(x, r, h):
    """y = W·x + b."""
    return x[0]


class Head:
    """logits = head(hidden), of a language model."""

    def __init__(self, model: LanguageModel) -> None:
        self._maps = [
            (Stack(affine, weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias)
            for weight, bias in _maps(model)
        ]

    def __call__(self, hidden: Tensor) -> Tensor:
        """(rows, width) -> (rows, vocabulary)."""
        for stack, weight, bias in self._maps:
            zero = hidden.new_zeros(1, len(hidden), weight.shape[0])
            parameters = (weight,) if bias is None else (weight, bias)
            output, _ = run(Call(stack, hidden[:, None], parameters, (zero,)))
            hidden = output[:, 0]
        return hidden


def _maps(model: LanguageModel) -> list[tuple[Tensor, Tensor | None]]:
    """The weight and bias of each linear map, in the order they are applied."""
    head: torch.nn.Module = model.head
    if isinstance(head, nn.Linear):
        return [(head.weight, head.bias)]
    maps: list[tuple[Tensor, Tensor | None]] = []
    if isinstance(narrow := head.get_submodule("map"), nn.Linear):
        maps.append((narrow.weight, narrow.bias))
    return [*maps, (model.get_parameter("embedding.weight"), head.get_parameter("bias"))]
