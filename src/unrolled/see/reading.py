"""A long text read in windows, so that the memory it takes does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..models import Tagger
from ..models.base import Model, evaluating
from ..scan import Call, Watched, watch
from ..scan.engines import run
from ..text import Batch
from .record import encoded, symbols_of

WINDOW = 4096
"""Symbols that are read at a time."""


def carries_state(model: Model) -> bool:
    """Whether the state goes on from one window to the next: not if the model also reads backwards."""
    return not model.layers.stack.bidirectional


def windows(model: Model, text: str, window: int | None = WINDOW) -> Iterator[tuple[int, list[Tensor]]]:
    """Where each window (of so many symbols; None: of all) begins, and the output (time, units) of every
    layer in it, both directions side by side, on the CPU.

    The state is carried from window to window; a bidirectional model reads each from the beginning.
    """
    if isinstance(model, Tagger):
        words = symbols_of(model, text)
        yield from _words(model, [words], window or len(words))
        return
    indices, state = encoded(model, text).indices, None
    window = window or max(1, indices.shape[1])
    for begin in range(0, indices.shape[1], window):
        batch = Batch(indices[:, begin : begin + window], None, model.vocabulary)
        with torch.inference_mode(), evaluating(model):
            with watch() as watched:
                _, state = model.hidden(batch, state)
            # Not within watch(): what runs again here is no layer of its own.
            outputs = _plain(watched)
        if not carries_state(model):
            state = None
        yield begin, outputs


def rows(
    model: Model, texts: Sequence[str] | Sequence[Sequence[str]]
) -> Iterator[tuple[int, list[Tensor]]]:
    """As `windows` for many texts, each read from its beginning: one window a text, the symbols counted
    through all of them. For a tagger a text is a list of words."""
    if isinstance(model, Tagger):
        yield from _words(model, texts)
        return
    begin = 0
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{type(model).__name__} reads a text, not a {type(text).__name__}")
        for _, outputs in windows(model, text, None):
            yield begin, outputs
            begin += len(outputs[0])


def _words(
    model: Tagger, sentences: Sequence[Sequence[str]], window: int = WINDOW
) -> Iterator[tuple[int, list[Tensor]]]:
    place = 0
    for words in sentences:
        for begin in range(0, len(words), window):
            some = model.read([words[begin : begin + window]])
            with torch.inference_mode(), evaluating(model):
                features = model.features(some)
                with watch() as watched:
                    model.layers(features)
                outputs = _plain(watched)
            yield place, outputs
            place += len(outputs[0])


def _plain(watched: Sequence[Watched]) -> list[Tensor]:
    return [output[0].float().cpu() for one in watched for output in _outputs(one)]


def _outputs(one: Watched) -> list[Tensor]:
    """(batch, time, units) of every layer of a call; those below the last are run again by themselves."""
    call, outputs = one.call, []
    for layer in range(call.stack.num_layers - 1):
        outputs.append(run(_alone(call, layer, outputs[-1] if outputs else call.input))[0])
    return [*outputs, one.output]


def _alone(call: Call, layer: int, input: Tensor) -> Call:
    """The call of one layer of a stack."""
    whole = call.stack
    stack = replace(whole, input_size=whole.layer_input_size(layer), num_layers=1)
    names = list(whole.shapes)
    begin = sum(1 for name in names if int(name.removesuffix("_reverse").rpartition("_l")[2]) < layer)
    slots = slice(layer * whole.directions, (layer + 1) * whole.directions)
    return replace(
        call,
        stack=stack,
        input=input,
        parameters=call.parameters[begin : begin + len(stack.shapes)],
        state=tuple(s[slots] for s in call.state),
    )
