"""A packed sequence as the kernels read it: the rows of a step follow those of the step before."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class Ragged(NamedTuple):
    """Where each row's steps are; the rows are sorted by their lengths, the longest first."""

    sizes: Tensor
    """How many rows each step has."""
    lengths: np.ndarray
    starts: np.ndarray
    """(2, time): all rows of the steps before each; and the same from the last step to the first."""

    @property
    def batch(self) -> int:
        """How many rows there are."""
        return len(self.lengths)

    @property
    def time(self) -> int:
        """How many steps the longest has."""
        return self.starts.shape[1]

    @property
    def address(self) -> int:
        """Where the lengths are."""
        return self.lengths.ctypes.data

    @property
    def begins(self) -> tuple[int, int]:
        """Where the steps' starts are, from the first on and from the last."""
        first = self.starts.ctypes.data
        return first, first + 8 * self.time

    def padded(self, data: Tensor) -> Tensor:
        """(batch, time, feature), with zeros past the rows' ends."""
        return pad_packed_sequence(PackedSequence(data, self.sizes), batch_first=True)[0]

    def packed(self, padded: Tensor) -> Tensor:
        """The rows of every step, (rows, feature)."""
        return pack_padded_sequence(padded, torch.from_numpy(self.lengths), batch_first=True).data


def ragged(data: Tensor, sizes: Tensor) -> Ragged | None:
    """None: the sizes do not say where the rows of these data are, or they do not lie side by side."""
    if not data.is_contiguous():
        return None
    if type(sizes) is not Tensor or sizes.dtype is not torch.int64 or sizes.dim() != 1 or not sizes.is_cpu:
        return None
    tables = _tables(sizes.numpy().tobytes(), data.shape[0])
    return None if tables is None else Ragged(sizes, *tables)


@lru_cache(maxsize=64)
def _tables(sizes: bytes, rows: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Lengths and starts, which nobody writes: a model asks for them in every layer and every epoch."""
    counts = np.frombuffer(sizes, dtype=np.int64)
    if not len(counts) or counts[-1] < 1 or counts[0] > rows or (counts[1:] > counts[:-1]).any():
        return None
    ends = counts.cumsum()
    if ends[-1] != rows:
        return None
    starts = np.empty((2, len(counts)), dtype=np.int64)
    np.subtract(ends, counts, out=starts[0])
    starts[1] = starts[0, ::-1]
    # Row r runs as many steps as have more than r rows.
    lengths = len(counts) - counts[::-1].searchsorted(np.arange(counts[0]), side="right")
    return lengths.astype(np.int64, copy=False), starts
