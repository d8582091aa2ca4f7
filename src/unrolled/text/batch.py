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
        if lengths is None:
            lengths = torch.full((rows,), time, dtype=torch.int64)
        if lengths.dtype != torch.int64 or lengths.shape != (rows,):
            raise Error(
                f"Batch: lengths are {lengths.dtype} of shape {tuple(lengths.shape)}; "
                f"wanted int64 ({rows},), one for each row"
            )
        lengths = lengths.cpu()
        if rows and not 0 <= int(lengths.min()) <= int(lengths.max()) <= time:
            raise Error(f"Batch: lengths {lengths.tolist()}; wanted each from 0 to {time}, the time axis")
        if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < len(vocabulary):
            raise Error(
                f"Batch: indices run from {int(indices.min())} to {int(indices.max())}; "
                f"wanted 0 to {len(vocabulary) - 1}, the vocabulary's"
            )
        self.indices = indices
        self.lengths = lengths
        self.vocabulary = vocabulary
        self.full = bool((lengths == time).all())

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
