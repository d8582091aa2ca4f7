"""Many rows read on by some symbols each, every one from its own state, as one batch.

Only arithmetic: nothing here knows of time, requests or sessions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models import LanguageModel
from ..models.base import Model
from ..scan import watch
from ..see import Layer
from ..see.record import layers_of
from ..text import Batch
from .head import Head

_SPEED = 20e9
"""Operations a second of one slow core in small batches."""


@dataclass(frozen=True)
class Reading:
    """What some rows' symbols did, the asked-for steps of all rows one under the other.

    hidden: (steps, units), the last layer's output.
    probabilities: (steps, vocabulary), of the next symbol.
    steps: how many of them are each row's.
    states: each row's state after its last symbol, as bytes.
    """

    hidden: Tensor
    probabilities: Tensor
    steps: list[int]
    states: list[bytes]


class Reader:
    """A language model that reads rows, each from a state of its own.

    A state is kept as the raw bytes of the numbers of every state of the cell, layer by layer, in the
    model's dtype; no bytes at all stand for the beginning of a text.
    """

    def __init__(self, name: str, model: LanguageModel) -> None:
        self.name = name
        self.model = model.eval()
        self.vocabulary = model.vocabulary
        self.json = [json.dumps(symbol) for symbol in model.vocabulary.symbols]
        """Each symbol as JSON, so that an answer is put together without a search."""
        stack = model.layers.stack
        self._sizes = [(stack.num_layers, stack.state_size(index)) for index in range(stack.cell.states)]
        self._dtype = next(model.parameters()).dtype
        self._width = sum(layers * size for layers, size in self._sizes)
        self.state_bytes = self._width * self._dtype.itemsize
        self.fingerprint = _fingerprint(model)
        self.cost = cost(model)
        self._head = Head(model)
        self._short = lru_cache(4096)(self._numbers)

    def encode(self, text: str) -> np.ndarray:
        """A text's numbers; raises Error for a symbol that the vocabulary does not have."""
        # Sessions are sent a few symbols at a time, and the same ones again and again.
        return self._short(text) if len(text) <= 4 else self._numbers(text)

    def _numbers(self, text: str) -> np.ndarray:
        return self.vocabulary.encode(text).numpy()

    @torch.inference_mode()
    def read(self, states: Sequence[bytes], pieces: Sequence[np.ndarray], each: Sequence[bool]) -> Reading:
        """Reads each row's piece (int64 numbers, at least one) from its state.

        each: whether every step of the row is asked for, or the last one alone.
        """
        lengths = [len(piece) for piece in pieces]
        longest = max(lengths)
        indices = np.zeros((len(pieces), longest), dtype=np.int64)
        for i, piece in enumerate(pieces):
            indices[i, : lengths[i]] = piece
        counts = None if min(lengths) == longest else torch.tensor(lengths)
        batch = Batch(torch.from_numpy(indices), counts, self.vocabulary)
        output, state = self.model.hidden(batch, self._unpack(states))
        hidden = output.flatten(0, 1)
        if longest > 1:
            wanted = [
                np.arange(i * longest + (0 if each[i] else length - 1), i * longest + length)
                for i, length in enumerate(lengths)
            ]
            hidden = hidden[torch.from_numpy(np.concatenate(wanted))]
        probabilities = self._head(hidden).float().softmax(-1)
        steps = [length if every else 1 for length, every in zip(lengths, each, strict=True)]
        return Reading(hidden, probabilities, steps, self._pack(state))

    @torch.inference_mode()
    def tracks(self, state: bytes, piece: np.ndarray) -> list[str]:
        """Every state and gate of every layer after each symbol of a piece, as JSON, read from a state.

        Computed by the reference loop, for those who look: many times slower than reading.
        """
        batch = Batch(torch.from_numpy(piece[None].astype(np.int64)), None, self.vocabulary)
        with watch() as watched:
            self.model.hidden(batch, self._unpack([state]))
        layers = layers_of(watched, 0)
        return ["[" + ",".join([_layer(layer, t) for layer in layers]) + "]" for t in range(len(piece))]

    def _unpack(self, states: Sequence[bytes]) -> Any:
        """Rows of bytes -> what a layer takes: (layers, batch, size) for each state of the cell."""
        zero = bytes(self.state_bytes)
        joined = bytearray().join([state or zero for state in states])
        rows = torch.frombuffer(joined, dtype=self._dtype).view(len(states), self._width)
        split = rows.split([layers * size for layers, size in self._sizes], dim=1)
        unpacked = [
            part.reshape(len(states), layers, size).transpose(0, 1).contiguous()
            for part, (layers, size) in zip(split, self._sizes, strict=True)
        ]
        return tuple(unpacked) if len(unpacked) > 1 else unpacked[0]

    def _pack(self, state: Tensor | tuple[Tensor, ...]) -> list[bytes]:
        parts = [state] if isinstance(state, Tensor) else list(state)
        rows = torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=1)
        whole = rows.contiguous().view(torch.uint8).numpy().tobytes()
        size = self.state_bytes
        return [whole[i : i + size] for i in range(0, len(whole), size)]


def cost(model: Model) -> float:
    """About how many seconds a model reads at one symbol: two operations a weight."""
    return 2 * sum(p.numel() for p in model.layers.parameters()) / _SPEED


def _layer(layer: Layer, t: int) -> str:
    kinds = [
        f'"{kind}":{{'
        + ",".join(
            [
                f'"{name}":[{",".join([f"{x:.4g}" for x in track[t].tolist()])}]'
                for name, track in of.items()
            ]
        )
        + "}"
        for kind, of in (("states", layer.states), ("gates", layer.gates))
    ]
    return f'{{"name":"{layer.name}",{",".join(kinds)}}}'


def _fingerprint(model: LanguageModel) -> str:
    """A short hash of the architecture and every weight: a state is of use to this model alone."""
    digest = hashlib.sha256(repr((sorted(model.config.items()), model.vocabulary.to_dict())).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
