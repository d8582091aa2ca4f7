"""Embeddings of symbols together with the n-grams that end at them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST = 8
"""Symbols of an n-gram; one longer is nearly always seen once."""
BUCKETS = 1 << 16
"""Rows that all n-grams share."""
MULTIPLIER, MODULUS = 742938285, (1 << 31) - 1
"""Of the hash: the best of Fishman & Moore (1986) for this prime; no product overflows 63 bits."""


class GramEmbedding(nn.Module):
    """Symbols (batch, time) -> the sum of the embeddings of the 1-gram to n-gram that end at each, (batch,
    time, size).

        e_t = E[x_t] + Σ_{n=2..order} G[hash(x_{t-n+1} … x_t) mod BUCKETS]

    An n-gram that would begin before the text reads a mark of the beginning there. Those that fall into one
    bucket share a row (Weinberger et al. 2009; for n-grams of words' letters Bojanowski et al. 2017).
    `weight` (symbols + BUCKETS, size) holds E, then G, which begins small, so that n-grams seen once or
    never say next to nothing.
    """

    def __init__(self, symbols: int, size: int, order: int) -> None:
        super().__init__()
        self.symbols, self.order = symbols, order
        self.weight = nn.Parameter(torch.empty(symbols + BUCKETS, size))
        nn.init.normal_(self.weight[:symbols])
        nn.init.normal_(self.weight[symbols:], std=0.1)

    def rows(self, indices: Tensor) -> Tensor:
        """The rows of `weight` that make up each place (batch, time, order)."""
        known = indices + 1  # 0 is the mark of the beginning
        found, hashed = [indices], known
        for n in range(1, self.order):
            before = functional.pad(known, (n, 0))[:, : known.shape[1]]
            hashed = (hashed * MULTIPLIER + before) % MODULUS
            found.append(self.symbols + hashed % BUCKETS)
        return torch.stack(found, -1)

    def forward(self, indices: Tensor) -> Tensor:
        """The sums (batch, time, size)."""
        return functional.embedding(self.rows(indices), self.weight).sum(-2)
