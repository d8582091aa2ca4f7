"""The rows that the products after a scan go over, in pieces that stay in the cache, and how evenly workers
share what there is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .layer import Group

_SEGMENT = 168
"""Rows of a piece, of full rows; steps that have about as many go together otherwise."""


def segments(group: Group) -> tuple[np.ndarray, dict[str, int]]:
    """The rows of each piece, and the fields that say where they are; the array must outlive them."""
    rows, geometry = len(group.rows.rowmap), group.geometry
    if group.rows.full:
        total = rows * geometry.time
        counts = np.full(-(-total // _SEGMENT), _SEGMENT, dtype=np.int64)
        if total % _SEGMENT:
            counts[-1] = total % _SEGMENT
        step, together = _SEGMENT, 1
    else:
        # The rows that each step runs, as they are dealt when the forward pass begins.
        counts, step, together = group.rows.active[: geometry.time], rows, max(1, _SEGMENT // max(rows, 1))
    fields = {"segments": len(counts), "counts": counts.ctypes.data, "together": together}
    return counts, fields | {"segment": step * 4 * geometry.width}


def busiest(sizes: np.ndarray, workers: int) -> float:
    """The part of the whole that falls to the worker who has most of it, as `sync.share` deals."""
    bounds = [len(sizes) * rank // workers for rank in range(workers + 1)]
    return max(sizes[a:b].sum() for a, b in pairwise(bounds)) / max(1, sizes.sum())
