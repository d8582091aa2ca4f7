"""Vectors in a safetensors file: `matrix`, and `vocabulary`, a JSON list of the words as UTF-8 bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors

from ..errors import Error
from .table import WordVectors

MATRIX, VOCABULARY = "matrix", "vocabulary"
_BLOCK = 1 << 20


def read(place: Path) -> WordVectors:
    """The words, and the matrix mapped from the file instead of read; raises Error for another content."""
    try:
        with safetensors.safe_open(
            place, framework="numpy"
        ) as checked:  # sizes and places are checked here
            names = set(checked.keys())
            if not {MATRIX, VOCABULARY} <= names:
                raise Error(
                    f"{place} holds the tensors {sorted(names)[:8]}; wanted {MATRIX} and {VOCABULARY}"
                )
            text = checked.get_tensor(VOCABULARY)
            kind, shape = (
                getattr(checked.get_slice(MATRIX), f"get_{what}")() for what in ("dtype", "shape")
            )
    except (safetensors.SafetensorError, OSError) as error:
        raise Error(f"{place} is truncated or not a safetensors file ({error}); copy it again") from error
    if kind != "F32" or len(shape) != 2:
        raise Error(f"{place}: {MATRIX} is {kind} of shape {tuple(shape)}; wanted F32 (words, dimension)")
    matrix = np.memmap(place, dtype="<f4", mode="r", offset=_offset(place), shape=tuple(shape))
    return WordVectors(_words(place, text), np.asarray(matrix))


def _offset(place: Path) -> int:
    with place.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return 8 + length + json.loads(file.read(length))[MATRIX]["data_offsets"][0]


def _words(place: Path, text: np.ndarray) -> list[str]:
    try:
        words = json.loads(text.tobytes())
    except (ValueError, RecursionError) as error:
        raise Error(f"{place}: {VOCABULARY} is not JSON in UTF-8 ({error}); copy the file again") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise Error(
            f"{place}: {VOCABULARY} is not a list of strings; wanted the words in the matrix's order"
        )
    return words


def write(file: IO[bytes], vectors: WordVectors) -> None:
    """Writes the words and their vectors."""
    words = json.dumps(vectors.words, ensure_ascii=False).encode()
    write_tensors(file, {MATRIX: vectors.matrix, VOCABULARY: np.frombuffer(words, dtype=np.uint8)})


def write_tensors(
    file: IO[bytes], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes the file as safetensors does, without a second copy of the tensors in memory.

    tensors: float32 or uint8.
    """
    described: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        kind = {"float32": "F32", "uint8": "U8"}[tensor.dtype.name]
        described[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for tensor in tensors.values():
        for part in blocks(tensor):
            file.write(part)


def blocks(tensor: np.ndarray) -> Iterator[bytes]:
    """The tensor's bytes, little-endian, piece by piece."""
    step = max(1, (_BLOCK * len(tensor)) // max(1, tensor.nbytes))
    for begin in range(0, len(tensor), step):
        part = tensor[begin : begin + step]
        yield part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes()
