"""Many rows read on by some symbols each, every one from its own state, as one batch.

Only arithmetic: nothing here knows of time, requests or sessions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..errors import Error
from ..layers import Recurrent
from ..models import LanguageModel
from ..models.base import Model
from ..scan import watch
from ..see import Layer
from ..see.record import layers_of
from ..text import Batch
from .head import Head, Runner

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
        # What these layers would check at every call is so by construction here.
        layers, self._run = model.layers, None
        if model.kinds == ("one-hot",) and isinstance(layers, Recurrent) and type(layers) is Recurrent:
            self._run = Runner(stack, layers._flat())
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
        if min(lengths) == longest:
            indices, counts = np.concatenate(pieces).reshape(len(pieces), longest), None
        else:
            indices, counts = np.zeros((len(pieces), longest), dtype=np.int64), torch.tensor(lengths)
            for i, piece in enumerate(pieces):
                indices[i, : lengths[i]] = piece
        output, after = self._layers(torch.from_numpy(indices), counts, self._unpack(states))
        hidden = output.flatten(0, 1)
        if longest > 1:
            wanted = [
                np.arange(i * longest + (0 if each[i] else length - 1), i * longest + length)
                for i, length in enumerate(lengths)
            ]
            hidden = hidden[torch.from_numpy(np.concatenate(wanted))]
        probabilities = self._head(hidden).float().softmax(-1)
        steps = [length if every else 1 for length, every in zip(lengths, each, strict=True)]
        return Reading(hidden, probabilities, steps, self._pack(after))

    @torch.inference_mode()
    def tracks(self, state: bytes, piece: np.ndarray) -> list[str]:
        """Every state and gate of every layer after each symbol of a piece, as JSON, read from a state.

        Computed by the reference loop, for those who look: many times slower than reading. Raises Error
        where a number is not finite, which JSON cannot say.
        """
        if not len(piece):
            return []
        batch = Batch(torch.from_numpy(piece[None].astype(np.int64)), None, self.vocabulary)
        before = self._unpack([state])
        with watch() as watched:
            self.model.hidden(batch, before[0] if len(before) == 1 else before)
        layers = layers_of(watched, 0)
        for layer in layers:
            for name, track in layer.tracks.items():
                if not track.isfinite().all():
                    raise Error(f"{layer.name}: {name} is not a finite number; the model has diverged")
        return ["[" + ",".join([_layer(layer, t) for layer in layers]) + "]" for t in range(len(piece))]

    def _layers(
        self, indices: Tensor, lengths: Tensor | None, states: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(batch, time) -> the last layer's output (batch, time, units) and the states."""
        if self._run is not None:
            return self._run(indices, states, lengths)
        batch = Batch(indices, lengths, self.vocabulary)
        output, after = self.model.hidden(batch, states[0] if len(states) == 1 else states)
        return output, (after,) if isinstance(after, Tensor) else after

    def _unpack(self, states: Sequence[bytes]) -> tuple[Tensor, ...]:
        """Rows of bytes -> (layers, batch, size) for each state of the cell."""
        zero = bytes(self.state_bytes)
        joined = bytearray().join([state or zero for state in states])
        rows = torch.frombuffer(joined, dtype=self._dtype).view(len(states), self._width)
        if self._sizes == [(1, self._width)]:
            return (rows[None],)
        split = rows.split([layers * size for layers, size in self._sizes], dim=1)
        return tuple(
            part.reshape(len(states), layers, size).transpose(0, 1).contiguous()
            for part, (layers, size) in zip(split, self._sizes, strict=True)
        )

    def _pack(self, states: Sequence[Tensor]) -> list[bytes]:
        parts = [part[0] if len(part) == 1 else part.transpose(0, 1).flatten(1) for part in states]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if self._dtype == torch.bfloat16:  # which NumPy does not know
            rows = rows.contiguous().view(torch.int16)
        whole = rows.numpy().tobytes()
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
