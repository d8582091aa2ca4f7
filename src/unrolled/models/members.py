"""Several networks in one model, trained side by side, whose probabilities are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..layers import Recurrent
from ..text import Batch


class Members(nn.Module):
    """Recurrent layers that read the same input, each with weights and a state of its own.

    Outputs (batch, time, members * width) and states (layers, batch, members * size) are the members' own,
    one after another: to others it is one stack as wide as all of them.
    """

    def __init__(self, members: Sequence[Recurrent]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        stack, count = members[0].stack, len(members)
        self.stack = replace(
            stack, hidden_size=count * stack.hidden_size, proj_size=count * stack.proj_size
        )
        self.batch_first = True

    @property
    def own(self) -> list[Recurrent]:
        """The members."""
        return cast("list[Recurrent]", [*self.members])

    def forward(self, input: Tensor | Batch, hx: Any = None, *, lengths: Any = None) -> tuple[Tensor, Any]:
        """As `Recurrent`."""
        given = {} if isinstance(input, Batch) else {"lengths": lengths}
        return _joined([m(input, s, **given) for m, s in zip(self.own, self._parted(hx), strict=True)])

    def through(self, batch: Batch, table: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """As `Recurrent`."""
        each = zip(self.own, self._parted(hx), strict=True)
        return _joined([member.through(batch, table, s) for member, s in each])

    def _parted(self, hx: Any) -> list[Any]:
        count = len(self.members)
        if hx is None:
            return [None] * count
        if isinstance(hx, Tensor):
            return [part.contiguous() for part in hx.chunk(count, -1)]
        return [*zip(*(self._parted(s) for s in hx), strict=True)]


def _joined(results: Sequence[tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
    outputs, states = zip(*results, strict=True)
    if isinstance(states[0], Tensor):
        return torch.cat(outputs, -1), torch.cat(states, -1)
    return torch.cat(outputs, -1), tuple(torch.cat(s, -1) for s in zip(*states, strict=True))


class MeanHead(nn.Module):
    """ln of the mean over the members k of softmax(W_k h_k + b_k), from their hidden states one after
    another (…, members * width) -> (…, outputs).

    In training each member's own logits (…, members, outputs): each learns by itself, or their errors
    would become alike, which averaging then could not cancel (Hansen & Salamon 1990).
    """

    def __init__(self, members: int, width: int, outputs: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, outputs) for _ in range(members))

    def forward(self, hidden: Tensor) -> Tensor:
        """What each says in training, the mean else."""
        parts = hidden.chunk(len(self.heads), -1)
        each = torch.stack([head(part) for head, part in zip(self.heads, parts, strict=True)], -2)
        return each if self.training else mean(each)


def mean(each: Tensor) -> Tensor:
    """ln of the mean of the probabilities: logits (…, members, outputs) -> (…, outputs)."""
    return each.log_softmax(-1).logsumexp(-2) - math.log(each.shape[-2])
