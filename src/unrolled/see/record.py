"""What a model's hidden state did while it read a text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import Error
from ..models import LanguageModel


@dataclass(frozen=True)
class Recording:
    """One reading of a text.

    symbols: the text, symbol by symbol.
    hidden: (time, units), the last layer's output after each symbol.
    probabilities: (time, vocabulary), of each symbol of the vocabulary to come next.
    """

    symbols: tuple[str, ...]
    hidden: Tensor
    probabilities: Tensor
    vocabulary: tuple[str, ...]


@torch.inference_mode()
def record(model: LanguageModel, text: str) -> Recording:
    """The recording of one text, read from the beginning; raises Error if it is empty."""
    if not text:
        raise Error("show: the text is empty; give at least one symbol")
    indices = model.vocabulary.encode(text).to(model.head.weight.device)
    training = model.training
    model.eval()
    hidden, _ = model.hidden(indices[None])
    probabilities = model.head(hidden[0]).float().softmax(-1)
    model.train(training)
    return Recording(tuple(text), hidden[0].float().cpu(), probabilities.cpu(), model.vocabulary.symbols)
