"""word2vec.c's binary: a header line, then for each word its bytes, a space and little-endian float32."""

from __future__ import annotations

from typing import IO

import numpy as np

from ..errors import Error
from .stream import Pieces, Rows, read_rows
from .table import WordVectors
from .text import header, only_blank


def read(pieces: Pieces, strict: bool) -> WordVectors:
    """The vectors in the records, with or without a newline between them; raises Error for a wrong one."""
    first = pieces.line(0)
    found = header(first)
    if found is None:
        raise Error("the first line is no header; wanted two counts, of the words and of their numbers")
    promised, dimension = found
    rows = Rows(dimension, promised)
    position = read_rows(pieces, len(first) + 1, rows, _step, strict)
    if rows.row < promised:
        raise Error(
            f"the header promises {promised:,} words of dimension {dimension} but {rows.row:,} follow; "
            f"is the file truncated?"
        )
    if not only_blank(pieces, position):
        raise Error(f"the header promises {promised:,} words but the file goes on after as many")
    return WordVectors(rows.words, rows.finished(), replaced=rows.replaced)


def _step(pieces: Pieces, position: int, rows: Rows, words: np.ndarray) -> tuple[int, int, bool]:
    from . import parse

    cells = rows.matrix.view(np.uint8)
    why, position, rows.row, filled = parse.binary_rows(
        pieces.data, position, pieces.filled, cells, rows.row, words, 0
    )
    if why == parse.NO_WORD or why == parse.LONG_WORD:
        raise Error(
            f"record {rows.row + 1:,}, at byte {pieces.offset + position:,}, does not begin with a word "
            f"and a space; is the header's dimension ({rows.matrix.shape[1]}) right?"
        )
    return position, filled, why == parse.FULL


def write(file: IO[bytes], vectors: WordVectors, newlines: bool) -> None:
    """Writes the header and the records, newlines after them (as word2vec.c does) or not (as gensim)."""
    file.write(f"{len(vectors)} {vectors.dimension}\n".encode())
    end = b"\n" if newlines else b""
    for begin in range(0, len(vectors), 1024):
        rows = vectors.matrix[begin : begin + 1024].astype("<f4", copy=False)
        words = vectors.words[begin : begin + 1024]
        file.write(
            b"".join(w.encode() + b" " + r.tobytes() + end for w, r in zip(words, rows, strict=True))
        )
