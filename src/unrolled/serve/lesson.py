"""The lesson's numbers, computed when the server starts: one tensor, read along each of two axes."""

from __future__ import annotations

from typing import Any

import torch

from ..layers import RNN
from ..text import Vocabulary

WORDS = ("hello", "eolll", "lleel")


def lesson() -> dict[str, Any]:
    """Words, one-hot rows (batch, time, feature) and the outputs (batch, time, 2) of both readings."""
    vocabulary = Vocabulary("helo")
    batch = vocabulary.encode(WORDS)
    one_hot = batch.one_hot()
    # A generator of its own would draw other numbers than the lesson prints.
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        rnn = RNN(input_size=4, hidden_size=2)
        across, _ = rnn(one_hot)
        along, _ = rnn(one_hot.transpose(0, 1))  # as rnn(batch) reads it: time is the letters' axis
    return {
        "words": list(WORDS),
        "symbols": list(vocabulary.symbols),
        "one_hot": one_hot.int().tolist(),
        "across": [[[round(x, 4) for x in step] for step in row] for row in across.tolist()],
        "along": [[[round(x, 4) for x in step] for step in row] for row in along.transpose(0, 1).tolist()],
    }
