"""A model of text: symbols in, the probability of each next symbol out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import Error
from ..seeds import generator
from ..text import Batch, Vocabulary
from .base import Model, evaluating, shared_options
from .deep import Extras


class LanguageModel(Model):
    """Symbols -> (embedding) -> recurrent layers -> linear head: p(next symbol | all before it).

    vocabulary: the symbols; the model reads and predicts their numbers.
    cell: the name of a cell in unrolled.cells.CELLS.
    embedding_size: width of a learned embedding; 0: one-hot (as indices, never built).
    dropout: between layers and before the head, in training.
    tied: the head's weights are the embedding's (Press & Wolf 2017), after a linear map to its width
        where the layers' output is wider or narrower.
    members: so many networks side by side, whose probabilities are averaged; each has layers and a head
        of its own, and they share the embedding. States are the members' one after another.
    extras: residual, layer_norm, proj_size, bfloat16 and kinds of dropout, described in models.deep.
    """

    task = "language"

    def __init__(
        self,
        vocabulary: Vocabulary,
        cell: str = "lstm",
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        embedding_size: int = 0,
        tied: bool = False,
        members: int = 1,
        **extras: Unpack[Extras],
    ) -> None:
        if not isinstance(members, int) or isinstance(members, bool) or members < 1:
            raise Error(f"LanguageModel: members is {members!r}; wanted a whole number from 1")
        if tied and members > 1:
            raise Error("LanguageModel: tied and members are both given; members have heads of their own")
        super().__init__(
            vocabulary,
            len(vocabulary),
            cell=cell,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            embedding_size=embedding_size,
            members=members,
            **extras,
        )
        if not isinstance(tied, bool) or (tied and self.embedding is None):
            raise Error(f"LanguageModel: tied is {tied!r}; it needs an embedding_size, and True or False")
        if tied and isinstance(self.embedding, nn.Embedding):
            self.head = _TiedHead(self.embedding, self.width)
        self.config |= {"tied": tied, "members": members}

    def forward(self, indices: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits (batch, time, vocabulary) for the symbol after each step, and the state after the last.

        In training a model of several members gives each one's, (batch, time, members, vocabulary).

        indices: (batch, time) int64, numbers of the vocabulary.
        state: the state that an earlier call returned, to read on from there; None: the beginning.
        """
        output, state = self.hidden(Batch(indices, None, self.vocabulary), state)
        return self.head(self.dropout(output)), state

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

        Raises Error for a prompt without symbols or with one outside the vocabulary, or an option out of
        range.
        """
        self._check_generation(length, temperature, top_k)
        indices = self.vocabulary.encode(prompt).to(self.device)[None]
        if not indices.numel():
            raise Error("generate: the prompt has no symbols; give at least one to start from")
        random = generator("generate", seed)
        state = None
        for _ in range(length):
            with evaluating(self):  # not while it is suspended: who reads may train meanwhile
                logits, state = self(indices, state)
            chosen = draw_symbol(logits[0, -1].float().cpu(), temperature, top_k, random)
            yield self.vocabulary.symbols[chosen]
            indices = torch.tensor([[chosen]], device=self.device)

    @property
    def beginning(self) -> str:
        """What to write on from where there is no prompt: a new line, or else the first symbol known."""
        return "\n" if "\n" in self.vocabulary else self.vocabulary.symbols[0]

    def _check_generation(self, length: int, temperature: float, top_k: int | None) -> None:
        if length < 0:
            raise Error(f"generate: length is {length}; wanted 0 or more symbols")
        if not 0 <= temperature < float("inf"):
            raise Error(f"generate: temperature is {temperature}; wanted 0 (the likeliest) or more")
        if top_k is not None and top_k < 1:
            raise Error(f"generate: top_k is {top_k}; wanted at least 1")

    @classmethod
    def _from_config(cls, place: Path, vocabulary: Vocabulary, config: dict[str, Any]) -> Self:
        members = config.get("members", 1)
        return cls(vocabulary, tied=config.get("tied", False), members=members, **shared_options(config))


class _TiedHead(nn.Module):
    """logits = E (P h) + b, with E the embedding's weights; P only where the widths differ."""

    def __init__(self, embedding: nn.Embedding, width: int) -> None:
        super().__init__()
        narrow = embedding.embedding_dim
        self.map = nn.Linear(width, narrow, bias=False) if width != narrow else nn.Identity()
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))
        # In a tuple, so that it is not a second child: the weights belong to the embedding.
        self._of = (embedding,)
        nn.init.normal_(embedding.weight, std=narrow**-0.5)  # unit-wide rows would make huge logits

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.linear(self.map(hidden), self._of[0].weight, self.bias)


def draw_symbol(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """The number of a symbol drawn from softmax(logits / temperature); logits: (vocabulary,)."""
    if temperature < torch.finfo(logits.dtype).tiny:  # where it would be 0, or not exact, in this dtype
        return int(logits.argmax())
    if top_k is not None and top_k < len(logits):
        likeliest = logits.topk(top_k)
        logits = torch.full_like(logits, float("-inf")).scatter(0, likeliest.indices, likeliest.values)
    # The largest logit is taken off first so that a small temperature cannot overflow; a huge one may be
    # more than this dtype holds.
    scaled = (logits - logits.max()).double() / temperature
    probabilities = scaled.to(logits.dtype).softmax(-1)
    return int(torch.multinomial(probabilities, 1, generator=generator))
