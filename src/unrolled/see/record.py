"""What a model's hidden state did while it read a text, or a layer's while it read a tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .. import cells
from ..errors import Error
from ..models import LanguageModel, Tagger
from ..models.base import Model, evaluating
from ..scan import Stack, Watched, scan, watch
from ..scanned import Scanned
from ..text import Batch
from ..text.units import Character, make_unit
from .trace import Layer, trace

_PLAIN = {
    "RNN_TANH": cells.rnn_tanh,
    "RNN_RELU": cells.rnn_relu,
    "GRU": cells.gru,
    "LSTM": cells.lstm,
}


@dataclass(frozen=True)
class Recording:
    """One reading of a text, or of one sequence of a tensor. All tensors are float32 on the CPU.

    symbols: the text, symbol by symbol; the numbers of the steps where there is no text.
    hidden: (time, units), the last layer's output after each symbol, both directions side by side.
    layers: every state and gate of every layer and direction.
    numbers: of the symbols in the model's vocabulary; empty where there is no text.
    probabilities: (time, vocabulary), of each symbol of the vocabulary to come next; None if the model
        predicts no symbols.
    vocabulary: the symbols that the probabilities are of.
    labels: the classes or tags of a model that has some.
    label_probabilities: (time, labels). Of a classifier: if the text ended after this symbol; of a
        tagger: of this symbol.
    """

    symbols: tuple[str, ...]
    hidden: Tensor
    layers: tuple[Layer, ...] = ()
    numbers: tuple[int, ...] = ()
    probabilities: Tensor | None = None
    vocabulary: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    label_probabilities: Tensor | None = None

    def check_finite(self) -> None:
        """Raises Error if any state or gate is not a finite number."""
        for layer in self.layers:
            for name, track in layer.tracks.items():
                if not track.isfinite().all():
                    step = int((~track.isfinite()).any(1).nonzero()[0])
                    raise Error(
                        f"{layer.name}: {name} is not a finite number from step {step} on, so it cannot be "
                        f"shown; the model has diverged: train it again with a lower learning rate"
                    )

    @property
    def surprise(self) -> Tensor | None:
        """(time,) -ln p(symbol | all before it) in nats; NaN for the first, which nothing predicted."""
        if self.probabilities is None:
            return None
        numbers = torch.tensor(self.numbers[1:], dtype=torch.int64)
        chosen = self.probabilities[:-1].gather(1, numbers[:, None])[:, 0]
        return torch.cat([chosen.new_tensor([torch.nan]), -chosen.log()])


@torch.inference_mode()
def record(model: nn.Module, input: str | Tensor, *, row: int | None = None) -> Recording:
    """Every state and gate of every layer along one sequence, read from the beginning.

    model: a model of this package with a text, or a layer (unrolled's, or torch.nn's RNN, GRU or LSTM)
        with a tensor in the layer's own layout.
    row: which sequence of a tensor that holds several; outputs and states are that row's.

    The states are computed by the reference loop from what the layers were called with, in the model's
    own precision. Raises Error or TypeError for what cannot be read.
    """
    if isinstance(model, Model):
        if not isinstance(input, str):
            raise TypeError(f"record: {type(model).__name__} reads a text, not a {type(input).__name__}")
        return _text(model, input)
    if not isinstance(model, (Scanned, nn.RNNBase)):
        raise TypeError(
            f"record: {type(model).__name__} is neither a model of unrolled nor a recurrent layer; "
            f"hand in the layer inside it (an RNN, GRU, LSTM or Recurrent) with its input tensor"
        )
    if not isinstance(input, Tensor):
        raise TypeError(f"record: a layer reads a tensor, not a {type(input).__name__}")
    return _tensor(model, input, row)


def _text(model: Model, text: str) -> Recording:
    with evaluating(model):
        if isinstance(model, Tagger):
            return _tagged(model, text)
        batch = encoded(model, text)
        if not batch.indices.numel():
            raise Error("the text has no symbols; give at least one")
        with watch() as watched:
            hidden, _ = model.hidden(batch)
        symbols, numbers = symbols_of(model, text), tuple(batch.indices[0].tolist())
        recording = Recording(symbols, _plain(hidden[0]), layers_of(watched, 0), numbers)
        if isinstance(model, LanguageModel):
            predicted = model.head(hidden[0]).float().softmax(-1).cpu()
            return replace(recording, probabilities=predicted, vocabulary=model.vocabulary.symbols)
        return replace(recording, labels=labels_of(model), label_probabilities=_labelled(model, batch))


def _tagged(model: Tagger, text: str) -> Recording:
    words = symbols_of(model, text)
    sentence = model.read([words])
    features = model.features(sentence)  # not within watch(): how words are spelled is no step of these
    with watch() as watched:
        hidden, _ = model.layers(features)
    return Recording(
        words,
        _plain(hidden[0]),
        layers_of(watched, 0),
        tuple(sentence.words.indices[0].tolist()),
        labels=model.tags,
        label_probabilities=_plain(model.head(hidden[0]).float().softmax(-1)),
    )


def encoded(model: Model, text: str) -> Batch:
    """What the model reads of a text, as a batch of one row on its device; raises Error if the text is
    empty or has something unknown."""
    if not text:
        raise Error("the text is empty; give at least one symbol")
    indices = model.vocabulary.encode(text)[: model.config.get("longest") or None]
    return Batch(indices[None], None, model.vocabulary).to(model.device)


def symbols_of(model: Model, text: str) -> tuple[str, ...]:
    """The text as the model reads it, symbol by symbol; an unknown character as it was written. A tagger
    reads the words that UAX #29 cuts."""
    if isinstance(model, Tagger):
        words = tuple(make_unit("word").cut(text))
        if not words:
            raise Error("the text has no words; give at least one")
        return words
    numbers = encoded(model, text).indices[0].tolist()
    if model.vocabulary.unit == Character.name:
        return tuple(model.vocabulary.normalized(text)[: len(numbers)])
    return tuple(model.vocabulary.symbols[i] for i in numbers)


def labels_of(model: Model) -> tuple[str, ...]:
    """The names of a classifier's classes; raises Error if the model has none."""
    labels = getattr(model, "labels", None)
    if not labels:
        raise Error(f"a model for {model.task!r} predicts neither symbols nor labels")
    return tuple(labels)


def _labelled(model: Model, batch: Batch, rows: int = 64) -> Tensor:
    """(time, labels): a classifier's for each beginning of the text."""
    time, parts = batch.indices.shape[1], []
    for begin in range(1, time + 1, rows):
        lengths = torch.arange(begin, min(begin + rows, time + 1))
        longest = batch.indices[:, : int(lengths[-1])].expand(len(lengths), -1)
        parts.append(_plain(model(Batch(longest, lengths, model.vocabulary)).softmax(-1)))
    return torch.cat(parts)


def _tensor(layer: nn.Module, input: Tensor, row: int | None) -> Recording:
    stack, parameters = _stack(layer)
    with evaluating(layer), watch() as watched:
        output, _ = scan(stack, input, parameters, batch_first=layer.batch_first)  # type: ignore[arg-type]
    if output.dim() == 2:
        output = output[:, None] if not layer.batch_first else output[None]
    if not layer.batch_first:
        output = output.transpose(0, 1)
    if row is None and len(output) != 1:
        raise Error(
            f"record: the input holds {len(output)} sequences (the layer has batch_first="
            f"{layer.batch_first}); say which one with row=0 to {len(output) - 1}"
        )
    row = row or 0
    if not -len(output) <= row < len(output):
        raise Error(f"record: row is {row}; the input holds {len(output)} sequences, numbered from 0")
    if not output.shape[1]:
        raise Error("record: the input has no steps; give at least one")
    return Recording(tuple(map(str, range(output.shape[1]))), _plain(output[row]), layers_of(watched, row))


def _stack(layer: nn.Module) -> tuple[Stack, list[Tensor]]:
    if isinstance(layer, Scanned):
        return layer.stack, layer._flat()
    if not isinstance(layer, nn.RNNBase) or layer.mode not in _PLAIN:
        raise TypeError(f"record: {type(layer).__name__} is not an RNN, a GRU or an LSTM")
    stack = Stack(
        _PLAIN[layer.mode],
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        layer.bias,
        layer.dropout,
        layer.bidirectional,
        layer.proj_size,
    )
    return stack, [getattr(layer, name) for name in stack.shapes]


def layers_of(watched: list[Watched], row: int) -> tuple[Layer, ...]:
    """Every state and gate of one row of the scans that were watched, of which the lengths are left out."""
    layers: list[Layer] = []
    first = 0
    for one in watched:
        call = replace(
            one.call,
            input=one.call.input[row, None],
            state=tuple(s[:, row, None] for s in one.call.state),
            lengths=None,
        )
        for layer in trace(call, first):
            states = {name: _plain(s) for name, s in layer.states.items()}
            layers.append(Layer(layer.name, states, {n: _plain(g) for n, g in layer.gates.items()}))
        first += call.stack.num_layers
    return tuple(layers)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu()
