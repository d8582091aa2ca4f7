"""A long text as parallel streams, read window by window with the hidden state carried over."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..errors import Error
from ..models import LanguageModel
from ..models.base import evaluating
from ..text import Batch
from .parallel import Group

LOGITS = 1 << 22
"""Logits that are held at a time while a text is judged, however large the vocabulary."""


class Streams:
    """Cuts a text into `batch` streams side by side and reads them window by window, again and again.

    Each pass starts at a random offset below one window, so that the cuts fall elsewhere; the state is
    carried from window to window and starts anew with each pass.

    text: (symbols,) int64, or a smaller integer type to save memory.
    window: steps a call, the reach of back-propagation through time.
    group: the processes that read together, each its part of the streams.
    device: where each window goes when it is read; None: the text's own.
    """

    def __init__(
        self,
        text: Tensor,
        batch: int,
        window: int,
        generator: torch.Generator,
        group: Group | None = None,
        device: torch.device | None = None,
    ) -> None:
        # Two windows of each stream: less would leave no room for the offset.
        if len(text) < batch * 2 * window + 1:
            batch = max(1, (len(text) - 1) // (2 * window))
        if len(text) < window + 1:
            raise Error(
                f"the text to train on has {len(text)} symbols, fewer than one window of {window} and the "
                f"symbol after it; give a longer text or a smaller window"
            )
        group = group or Group()
        if batch < group.size:
            raise Error(
                f"the text to train on has {len(text)} symbols, too few for {group.size} processes; "
                f"train on one"
            )
        self.batch = batch
        self._mine = group.part(batch)
        # The mean over processes of a part's mean times its share is the mean over all streams.
        self._share = (self._mine.stop - self._mine.start) * group.size / batch
        self.window = window
        self._text = text
        self._device = device or text.device
        self._generator = generator
        self._state: Any = None
        self._begin_pass()

    @property
    def windows(self) -> int:
        """Windows of each stream in one pass."""
        return self._streams.shape[1] // self.window

    def loss(self, model: nn.Module) -> Tensor:
        """The mean nats a symbol on the next window of this process's streams, times their share."""
        begin = self._position
        inputs = self._streams[:, begin : begin + self.window].to(self._device, torch.int64)
        targets = self._targets[:, begin : begin + self.window].to(self._device, torch.int64)
        logits, state = model(inputs, self._state)
        self._state = _detached(state)
        self._position += self.window
        if self._position + self.window > self._streams.shape[1]:
            self._begin_pass()
        return surprise(logits, targets) * self._share

    def position(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Where the reading stands: the carried state and the random generator, and the place."""
        tensors = {"generator": self._generator.get_state()}
        states = self._state if isinstance(self._state, tuple) else (self._state,)
        if self._state is not None:
            tensors |= {f"state.{i}": state for i, state in enumerate(states)}
        return tensors, {"offset": self._offset, "position": self._position}

    def restore(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Goes back to such a position."""
        self._generator.set_state(tensors["generator"])
        self._cut(data["offset"])
        self._position = data["position"]
        count = sum(name.startswith("state.") for name in tensors)
        states = [tensors[f"state.{i}"].to(self._device) for i in range(count)]
        self._state = tuple(states) if count > 1 else states[0] if count else None

    def _begin_pass(self) -> None:
        room = len(self._text) - 1 - self.batch * self.window
        highest = min(self.window - 1, room)
        self._cut(int(torch.randint(highest + 1, (), generator=self._generator)))
        self._position = 0
        self._state = None

    def _cut(self, offset: int) -> None:
        length = (len(self._text) - 1 - offset) // self.batch
        span = self.batch * length
        self._offset = offset
        self._streams = self._text[offset : offset + span].view(self.batch, length)[self._mine]
        self._targets = self._text[offset + 1 : offset + 1 + span].view(self.batch, length)[self._mine]


def surprise(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean nats a symbol of targets (batch, time) under logits (batch, time, symbols), or under those
    of several members (batch, time, members, symbols), each by itself."""
    if logits.dim() == 4:
        targets = targets[..., None].expand(logits.shape[:-1])
    return cross_entropy(logits.flatten(0, -2), targets.flatten())


def nats_per_symbol(model: LanguageModel, text: Tensor, pieces: int = 16, chunk: int = 512) -> float:
    """The mean of `symbol_nats`."""
    return float(symbol_nats(model, text, pieces, chunk).mean())


@torch.inference_mode()
def symbol_nats(model: LanguageModel, text: Tensor, pieces: int = 16, chunk: int = 512) -> Tensor:
    """-ln p(symbol | all before it) of a text's symbols but the first, (symbols - 1,) float64.

    The text is read as `pieces` rows at once, each but the first after the `chunk` symbols before it,
    which are counted in the row before: close to one read from beginning to end, and much faster.
    """
    device = model.device
    total = len(text) - 1
    if total < 1:
        raise Error(f"evaluation: the text has {len(text)} symbols; wanted at least 2")
    length = -(-total // pieces)
    if length < chunk:
        pieces, length = 1, total
    starts = torch.arange(pieces)[:, None] * length
    state, nats = None, torch.zeros(total, dtype=torch.float64)
    with evaluating(model):
        if pieces > 1:
            before = text[starts[1:] + torch.arange(-chunk, 0)].to(device, torch.int64)
            state = _with_beginning(model.hidden(Batch(before, None, model.vocabulary))[1])
        most = max(1, LOGITS // (pieces * len(model.vocabulary)))
        for steps in torch.arange(length).split(min(chunk, most)):
            places = starts + steps
            inputs = text[places.clamp(max=total - 1)].to(device, torch.int64)
            targets = text[(places + 1).clamp(max=total)].to(device, torch.int64)
            logits, state = model(inputs, state)
            flat = logits.flatten(0, 1).float()
            losses = cross_entropy(flat, targets.flatten(), reduction="none").view_as(targets)
            inside = places < total
            nats[places[inside]] = losses.double().cpu()[inside]
    return nats


@torch.inference_mode()
def window_nats(model: LanguageModel, text: Tensor, window: int = 256, rows: int = 64) -> float:
    """The mean nats a symbol when the text is cut into windows, each read as if nothing were before it.

    How models with a fixed context are judged: the first symbols of each window are guessed blindly.
    """
    count = (len(text) - 1) // window
    if count < 1:
        raise Error(
            f"evaluation: the text has {len(text)} symbols, fewer than one window of {window} and the "
            f"symbol after it"
        )
    inputs = text[: count * window].view(count, window)
    targets = text[1 : count * window + 1].view(count, window)
    nats = 0.0
    with evaluating(model):
        for some, after in zip(inputs.split(rows), targets.split(rows), strict=True):
            logits, _ = model(some.to(model.device, torch.int64))
            wanted = after.to(model.device, torch.int64)
            nats += float(cross_entropy(logits.transpose(1, 2).float(), wanted, reduction="sum"))
    return nats / (count * window)


def _detached(state: Any) -> Any:
    return state.detach() if isinstance(state, Tensor) else tuple(s.detach() for s in state)


def _with_beginning(state: Any) -> Any:
    """The state (layers, batch, size) with a row of zeros before the others."""
    if isinstance(state, Tensor):
        return torch.cat([torch.zeros_like(state[:, :1]), state], dim=1)
    return tuple(_with_beginning(s) for s in state)
