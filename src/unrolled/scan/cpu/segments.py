"""The rows that the products after a scan go over, in pieces that stay in the cache, and how evenly workers
share what there is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .fields import FIELDS
from .layer import Group

_SEGMENT = 128
"""Rows of a piece, of full rows; steps that have about as many go together otherwise."""


def segments(group: Group) -> tuple[np.ndarray, dict[str, int]]:
    """The rows of each piece, and the fields that say where they are; the array must outlive them. How many
    pieces an elastic group has is said by `cut`."""
    rows, geometry = len(group.rows.rowmap), group.geometry
    if group.rows.full:
        counts, step, together = _pieces(group), _SEGMENT, 1
    else:
        # The rows that each step runs, as they are dealt when the forward pass begins.
        counts, step, together = group.rows.active[: geometry.time], rows, max(1, _SEGMENT // max(rows, 1))
    fields = {"counts": counts.ctypes.data, "together": together, "segment": step * 4 * geometry.width}
    return counts, fields | ({} if group.elastic else {"segments": len(counts)})


def _pieces(group: Group) -> np.ndarray:
    if group.pieces is None:
        total = len(group.rows.rowmap) * group.geometry.time
        group.pieces = np.full(-(-total // _SEGMENT), _SEGMENT, dtype=np.int64)
        if total % _SEGMENT:
            group.pieces[-1] = total % _SEGMENT
    return group.pieces


def cut(group: Group, steps: int) -> None:
    """An elastic group's pieces are those of so many steps."""
    word = FIELDS["segments"]
    if not group.rows.full:
        group.block[word] = steps
        return
    pieces, total, before = _pieces(group), len(group.rows.rowmap) * steps, int(group.block[word])
    count = -(-total // _SEGMENT)
    # The last one of a call before is whole again; where there was none, the last of all is.
    pieces[before - 1] = _SEGMENT
    pieces[count - 1] = total - _SEGMENT * (count - 1)
    group.block[word] = count


def busiest(sizes: np.ndarray, workers: int) -> float:
    """The part of the whole that falls to the worker who has most of it, as `sync.share` deals."""
    bounds = [len(sizes) * rank // workers for rank in range(workers + 1)]
    return max(sizes[a:b].sum() for a, b in pairwise(bounds)) / max(1, sizes.sum())
