"""How often each symbol occurs in texts that need not fit into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from .units import Coded, Form, Unit, normalized


def count(texts: Iterable[Iterable[str]], unit: Unit, normalize: Form | None = None) -> Counter[str]:
    """The number of occurrences of each symbol in all the texts, each given as its blocks.

    Memory: one block, and the distinct symbols.
    """
    if isinstance(unit, Coded):
        return _count_codes(texts, unit, normalize)
    counts: Counter[str] = Counter()
    for blocks in texts:
        for block in unit.blocks(normalized(blocks, normalize)):
            counts.update(unit.cut(block))
    return counts


def _count_codes(texts: Iterable[Iterable[str]], unit: Coded, normalize: Form | None) -> Counter[str]:
    total = np.zeros(0, dtype=np.int64)
    for blocks in texts:
        for block in unit.blocks(normalized(blocks, normalize)):
            found = np.bincount(unit.codes(block))
            if len(found) > len(total):
                total = np.pad(total, (0, len(found) - len(total)))
            total[: len(found)] += found
    return Counter({unit.symbol(code): int(total[code]) for code in np.flatnonzero(total).tolist()})


def kept(counts: Counter[str], min_count: int, max_size: int | None) -> list[str]:
    """The symbols that occur at least min_count times, the most frequent first, at most max_size of them.

    Of equally frequent ones the first in the order of their code points comes first.
    """
    frequent = [symbol for symbol, n in counts.items() if n >= min_count]
    frequent.sort(key=lambda symbol: (-counts[symbol], symbol))
    return frequent[:max_size]
