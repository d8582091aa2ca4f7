"""What the layers read of a symbol: one-hot, a learned embedding, word vectors, or some side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import Error

if TYPE_CHECKING:
    from ..vectors import WordVectors

KINDS = ("one-hot", "embedding", "frozen", "tuned")
"""The words of `input`. frozen: word vectors as they are; tuned: trained on from there."""


def kinds_of(name: str, given: str, embedding_size: int, vectors_size: int) -> tuple[str, ...]:
    """The kinds that `given` joins by "+"; an empty one is an embedding, or one-hot without its size.

    Raises Error for another word, or a word and a size that do not fit.
    """
    kinds = tuple(given.split("+")) if given else ("embedding" if embedding_size else "one-hot",)
    for kind in kinds:
        if kind not in KINDS or kinds.count(kind) > 1:
            raise Error(f"{name}: input is {given!r}; wanted {', '.join(KINDS)}, or some joined by +")
    if ("embedding" in kinds) != (embedding_size > 0):
        raise Error(
            f"{name}: input is {'+'.join(kinds)!r} and embedding_size {embedding_size}; "
            f"an embedding needs a size from 1, and only an embedding has one"
        )
    if "frozen" in kinds and "tuned" in kinds:
        raise Error(f"{name}: input is {given!r}; word vectors are either frozen or tuned")
    if ("frozen" in kinds or "tuned" in kinds) != (vectors_size > 0):
        raise Error(
            f"{name}: input is {'+'.join(kinds)!r} and word vectors {vectors_size} wide; frozen and "
            f"tuned need a file of word vectors (--vectors), and only they read one"
        )
    return kinds


def looked_up(symbols: Sequence[str], table: WordVectors) -> tuple[Tensor, int]:
    """A row for each symbol (symbols, dimension), and how many of them the table has.

    A symbol, the unknown one too, that is not in the table is looked up in lower case; the row of one that
    is not there either is zero.
    """
    rows, found = torch.zeros(len(symbols), table.dimension), 0
    for i, symbol in enumerate(symbols):
        word = symbol if symbol in table else symbol.lower()
        if word in table:
            rows[i] = torch.from_numpy(table[word].copy())  # a mapped file is not writable
            found += 1
    return rows, found
