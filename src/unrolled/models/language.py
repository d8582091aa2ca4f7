"""A model of text: symbols in, the probability of each next symbol out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..cells import CELLS
from ..errors import Error
from ..layers import Recurrent
from ..text import Batch, Vocabulary
from . import folder

_SIZES = {"hidden_size": 1, "num_layers": 1, "embedding_size": 0}
"""The sizes of a config with the least that each may be."""


class LanguageModel(nn.Module):
    """Symbols -> (embedding) -> recurrent layers -> linear head: p(next symbol | all before it).

    vocabulary: the symbols; the model reads and predicts their numbers.
    cell: the name of a cell in unrolled.cells.CELLS.
    embedding_size: width of a learned embedding; 0: one-hot (as indices, never built).
    dropout: between layers and before the head, in training.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        cell: str = "lstm",
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        embedding_size: int = 0,
    ) -> None:
        if cell not in CELLS:
            raise Error(f"LanguageModel: cell {cell!r} is not one of {', '.join(CELLS)}")
        if embedding_size < 0:
            raise Error(f"LanguageModel: embedding_size is {embedding_size}; wanted 0 (one-hot) or more")
        super().__init__()
        self.vocabulary = vocabulary
        self.config = {
            "cell": cell,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "dropout": dropout,
            "embedding_size": embedding_size,
        }
        size = len(vocabulary)
        self.embedding = nn.Embedding(size, embedding_size) if embedding_size else None
        self.layers = Recurrent(
            CELLS[cell], embedding_size or size, hidden_size, num_layers, batch_first=True, dropout=dropout
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, size)

    def forward(self, indices: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits (batch, time, vocabulary) for the symbol after each step, and the state after the last.

        indices: (batch, time) int64, numbers of the vocabulary.
        state: the state that an earlier call returned, to read on from there; None: the beginning.
        """
        output, state = self.hidden(indices, state)
        return self.head(self.dropout(output)), state

    def hidden(self, indices: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The last layer's output (batch, time, hidden), and the state after the last step."""
        batch = Batch(indices, None, self.vocabulary)
        return self.layers(batch if self.embedding is None else self.embedding(batch.indices), state)

    @torch.inference_mode()
    def generate(
        self,
        prompt: str,
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Yields `length` symbols that follow the prompt, one by one, from softmax(logits / temperature).

        temperature: 0 takes the likeliest symbol each time; 1 the model's own probabilities.
        top_k: draw among the k likeliest symbols only.
        seed: the same seed draws the same symbols.

        Raises Error for an empty prompt, a symbol outside the vocabulary, or an option out of range.
        """
        self._check_generation(prompt, length, temperature, top_k)
        device = self.head.weight.device
        generator = torch.Generator().manual_seed(torch.seed() if seed is None else seed)
        indices = self.vocabulary.encode(prompt).to(device)[None]
        state, training = None, self.training
        self.eval()
        try:
            for _ in range(length):
                logits, state = self(indices, state)
                chosen = _draw(logits[0, -1].float().cpu(), temperature, top_k, generator)
                yield self.vocabulary.symbols[chosen]
                indices = torch.tensor([[chosen]], device=device)
        finally:
            self.train(training)

    def _check_generation(self, prompt: str, length: int, temperature: float, top_k: int | None) -> None:
        if not prompt:
            raise Error("generate: the prompt is empty; give at least one symbol to start from")
        if length < 0:
            raise Error(f"generate: length is {length}; wanted 0 or more symbols")
        if not 0 <= temperature < float("inf"):
            raise Error(f"generate: temperature is {temperature}; wanted 0 (the likeliest) or more")
        if top_k is not None and top_k < 1:
            raise Error(f"generate: top_k is {top_k}; wanted at least 1")

    def save(self, path: str | Path, summary: dict[str, Any] | None = None) -> None:
        """Writes the model's folder: config.json, model.safetensors, summary.json (see models.folder)."""
        config = {"task": "language", **self.config, "vocabulary": self.vocabulary.to_dict()}
        weights = {name: tensor.cpu() for name, tensor in self.state_dict().items()}
        folder.write(Path(path), config, weights, summary or {})

    @classmethod
    def load(cls, path: str | Path) -> LanguageModel:
        """The model in a folder, on the CPU and in evaluation mode; raises Error if it is not one."""
        place = Path(path)
        config, weights = folder.read(place)
        if config.get("task") != "language":
            raise Error(f"{place} holds a model for {config.get('task')!r}; wanted a language model")
        vocabulary = Vocabulary.from_dict(config.get("vocabulary"))
        # On the meta device nothing is allocated on the config's word; the file's tensors are taken over.
        with torch.device("meta"):
            model = cls(vocabulary, **_options(place, config, weights))
        wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if wanted != got:
            wrong = sorted(name for name in wanted | got if wanted.get(name) != got.get(name))
            raise Error(
                f"{place}: the weights do not fit the config: {wrong[0]} has shape {got.get(wrong[0])}; "
                f"wanted {wanted.get(wrong[0])}"
            )
        model.load_state_dict(weights, assign=True)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return model.eval()


def _options(place: Path, config: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, Any]:
    options = {name: config.get(name) for name in (*_SIZES, "cell", "dropout")}
    for name, least in _SIZES.items():
        size = options[name]
        if not isinstance(size, int) or isinstance(size, bool) or size < least:
            raise Error(f"{place}: config.json has {name} {size!r}; wanted a whole number from {least}")
        if size > (most := sum(tensor.numel() for tensor in weights.values())):
            raise Error(f"{place}: config.json has {name} {size}; the weights are {most} numbers in all")
    if not isinstance(options["cell"], str):
        raise Error(f"{place}: config.json has cell {options['cell']!r}; wanted the name of a cell")
    return options


def _draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    if top_k is not None and top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], float("-inf"))
    # The largest logit is taken off first so that a small temperature cannot overflow.
    probabilities = ((logits - logits.max()) / temperature).softmax(-1)
    return int(torch.multinomial(probabilities, 1, generator=generator))
