"""N-grams of symbols, hashed: as embeddings that layers read, and as votes for labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST = 8
"""Symbols of an n-gram; one longer is nearly always seen once."""
BUCKETS = 1 << 16
"""Rows of embeddings that all n-grams share."""
VOTES = 1 << 20
"""Votes, of all labels together."""
MULTIPLIER, MODULUS = 742938285, (1 << 31) - 1
"""Of the hash: the best of Fishman & Moore (1986) for this prime; no product overflows 63 bits."""


def hashes(indices: Tensor, order: int) -> Tensor:
    """A number for each of the 1-gram to n-gram that end at each symbol (batch, time, order).

    Of x_{t-n+1} … x_t:  h_1 = x_t + 1,  h_n = (MULTIPLIER h_{n-1} + x_{t-n+1} + 1) mod MODULUS, where
    symbols before the text count as -1, a mark of its beginning.

    indices: (batch, time) int64.
    """
    known = indices + 1
    found = [known]
    for n in range(1, order):
        before = functional.pad(known, (n, 0))[:, : known.shape[1]]
        found.append((found[-1] * MULTIPLIER + before) % MODULUS)
    return torch.stack(found, -1)


class GramEmbedding(nn.Module):
    """Symbols (batch, time) -> the sum of the embeddings of the 1-gram to n-gram that end at each, (batch,
    time, size).

        e_t = E[x_t] + Σ_{n=2..order} G[h_n(t) mod BUCKETS]

    with the hash h of `hashes`. N-grams that fall into one bucket share a row (Weinberger et al. 2009; for
    n-grams of words' letters Bojanowski et al. 2017). `weight` (symbols + BUCKETS, size) holds E, then G,
    which begins small, so that n-grams seen once or never say next to nothing.
    """

    def __init__(self, symbols: int, size: int, order: int) -> None:
        super().__init__()
        self.symbols, self.order = symbols, order
        self.weight = nn.Parameter(torch.empty(symbols + BUCKETS, size))
        nn.init.normal_(self.weight[:symbols])
        nn.init.normal_(self.weight[symbols:], std=0.1)

    def rows(self, indices: Tensor) -> Tensor:
        """The rows of `weight` that make up each place (batch, time, order)."""
        longer = hashes(indices, self.order)[..., 1:]
        return torch.cat([indices[..., None], self.symbols + longer % BUCKETS], -1)

    def forward(self, indices: Tensor) -> Tensor:
        """The sums (batch, time, size)."""
        return functional.embedding(self.rows(indices), self.weight).sum(-2)


class GramVotes(nn.Module):
    """A text's symbols -> what its n-grams say of each label (batch, labels), as a linear classifier of
    n-grams would, beside the layers (wide and deep, Cheng et al. 2016).

        v = Σ_{t, n=1..order} V[h_n(t) mod rows] / √(length · order)

    `weight`: V (rows, labels), at first zero; rows: the largest power of two for which that is at most
    VOTES numbers.
    """

    def __init__(self, labels: int, order: int) -> None:
        super().__init__()
        self.order = order
        self.weight = nn.Parameter(torch.zeros(1 << max(VOTES // labels, 1).bit_length() - 1, labels))

    def forward(self, indices: Tensor, lengths: Tensor) -> Tensor:
        """The votes of texts (batch, time) of these lengths (batch,); of an empty one zero."""
        rows = hashes(indices, self.order) % len(self.weight)
        lengths = lengths.to(indices.device)
        inside = torch.arange(indices.shape[1], device=indices.device) < lengths[:, None]
        votes = functional.embedding(rows, self.weight).sum(2) * inside[..., None]
        return votes.sum(1) / (self.order * lengths.clamp(min=1))[:, None].sqrt()
