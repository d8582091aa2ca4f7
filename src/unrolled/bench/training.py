"""`python -m unrolled.bench.training TEXT`: training a language model with our layers and with torch.nn's.

Both loops are the same, and so is the model but for its recurrent layer: an embedding, the layer, a linear
head; windows of a text with the state carried, AdamW (fused), clipped gradients. They have turns in one
process, of which the median counts (`measure.medians`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Error
from ..models import LanguageModel
from ..text import Vocabulary, read_text
from ..training.streams import Streams
from .measure import medians
from .work import LAYERS


class Plain(nn.Module):
    """The model as one writes it in PyTorch."""

    def __init__(self, kind: str, symbols: int, embedding_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding_size)
        self.layers = getattr(nn, kind)(embedding_size, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, symbols)

    def forward(self, indices: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits (batch, time, symbols) and the state after the last step."""
        output, state = self.layers(self.embedding(indices), state)
        return self.head(output), state


def training_step(model: nn.Module, streams: Streams) -> Callable[[], None]:
    """One step of the loop."""
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, (0.9, 0.99), fused=True)

    def step() -> None:
        loss = streams.loss(model)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        float(loss.detach())

    return step


def measure(text: str, hidden_size: int, batch: int, window: int, rounds: int) -> dict[str, list[float]]:
    """Symbols a second by layer, ours and torch.nn's."""
    vocabulary, found = Vocabulary(text), {}
    numbers = vocabulary.encode(text)
    for kind, cell in LAYERS.items():
        ours = LanguageModel(vocabulary, cell, hidden_size, embedding_size=128)
        models = (ours, Plain(kind.upper(), len(vocabulary), 128, hidden_size))
        steps = [
            training_step(m, Streams(numbers, batch, window, torch.Generator().manual_seed(0)))
            for m in models
        ]
        found[kind.upper()] = [batch * window / seconds for seconds in medians(steps, rounds)]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m unrolled.bench.training", description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    text = read_text(given.text)
    found = measure(text, given.hidden_size, given.batch, given.window, given.rounds)
    print(f"{given.hidden_size} units, batches of {given.batch} x {given.window}, symbols a second")
    for kind, (ours, theirs) in found.items():
        print(f"{kind:5}unrolled {ours:9,.0f}   torch.nn {theirs:9,.0f}   {ours / theirs:5.2f} x")


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(f"unrolled.bench.training: {error}")
