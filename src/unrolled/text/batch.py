"""Rows of symbols that know their axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import Error

if TYPE_CHECKING:
    from .vocabulary import Vocabulary


class Batch:
    """Several sequences of symbols in one tensor: axes (batch, time), whatever layer reads them.

    indices: (batch, time) int64, numbers of the vocabulary.
    lengths: (batch,) int64, how many steps of each row count; None: all.
    vocabulary: what the numbers stand for; its size is the number of features.

    Raises Error for a wrong rank, dtype or count, a length outside 0..time, a number outside the
    vocabulary.
    """

    def __init__(self, indices: Tensor, lengths: Tensor | None, vocabulary: Vocabulary) -> None:
        if indices.dtype != torch.int64 or indices.dim() != 2:
            raise Error(
                f"Batch: indices are {indices.dtype} of shape {tuple(indices.shape)}; "
                f"wanted int64 (batch, time)"
            )
        rows, time = indices.shape
        self.full = lengths is None or not rows
        if lengths is None:
            lengths = torch.full((rows,), time, dtype=torch.int64)
        if lengths.dtype != torch.int64 or lengths.shape != (rows,):
            raise Error(
                f"Batch: lengths are {lengths.dtype} of shape {tuple(lengths.shape)}; "
                f"wanted int64 ({rows},), one for each row"
            )
        self.indices = indices
        self.lengths = lengths.cpu()
        self.vocabulary = vocabulary
        # A graph has no numbers yet; who reads the batch checks them when it runs.
        if not torch.compiler.is_compiling():
            self._check(time)

    def _check(self, time: int) -> None:
        """Raises Error for numbers out of range, and finds out whether all rows are full."""
        if not self.full:
            low, high = (int(n) for n in self.lengths.aminmax())
            if not 0 <= low <= high <= time:
                raise Error(
                    f"Batch: lengths {self.lengths.tolist()}; wanted each from 0 to {time}, the time axis"
                )
            self.full = low == time
        if self.indices.numel():
            low, high = (int(n) for n in self.indices.aminmax())
            if not 0 <= low <= high < len(self.vocabulary):
                raise Error(
                    f"Batch: indices run from {low} to {high}; "
                    f"wanted 0 to {len(self.vocabulary) - 1}, the vocabulary's"
                )

    def __len__(self) -> int:
        return self.indices.shape[0]

    def __repr__(self) -> str:
        rows, time = self.indices.shape
        return f"Batch(batch {rows}, time {time}, feature {len(self.vocabulary)})"

    def one_hot(self) -> Tensor:
        """(batch, time, feature) float32: 1 at each symbol's number; all 0 past a row's length."""
        hot = functional.one_hot(self.indices, len(self.vocabulary)).to(torch.float32)
        if self.full:
            return hot
        inside = torch.arange(self.indices.shape[1]) < self.lengths[:, None]
        return hot * inside[:, :, None].to(hot)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its indices on another device (lengths stay on the CPU)."""
        return Batch(self.indices.to(device), self.lengths, self.vocabulary)
