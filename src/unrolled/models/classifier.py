"""A model that gives a text one of several labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..errors import Error
from ..text import Batch, Vocabulary
from .base import Model, evaluating, shared_options
from .deep import Extras
from .grams import MOST, GramEmbedding, GramVotes

POOLINGS = ("last", "mean", "max", "attention")
"""How the outputs of all steps become one vector."""


@dataclass(frozen=True)
class Prediction:
    """A label and how probable the model holds it to be."""

    label: str
    probability: float


class Classifier(Model):
    """Symbols -> (embedding) -> recurrent layers -> pooling over time -> linear head: p(label | text).

    vocabulary: the symbols, with an unknown one if texts may have others.
    labels: their names, at least two.
    longest: a text is read up to so many symbols; 0: to its end.
    grams: each symbol is read together with the n-grams up to so many symbols that end at it, and these
        vote for labels beside the head, as in models.grams; 1: neither. More need an embedding_size.
    pooling: "last" (the output at each direction's last step), "mean", "max", or "attention"
        (a weighted mean, the weights softmax over time of a learned score of each output).

    The other arguments are those of LanguageModel.
    """

    task = "classify"

    def __init__(
        self,
        vocabulary: Vocabulary,
        labels: Sequence[str],
        cell: str = "gru",
        hidden_size: int = 128,
        num_layers: int = 1,
        dropout: float = 0.0,
        embedding_size: int = 0,
        bidirectional: bool = True,
        pooling: str = "max",
        longest: int = 1000,
        grams: int = 1,
        **extras: Unpack[Extras],
    ) -> None:
        if not all(isinstance(label, str) for label in labels):
            raise Error(f"Classifier: labels are {list(labels)}; wanted names (str)")
        if len(labels) < 2 or len(set(labels)) != len(labels):
            raise Error(f"Classifier: labels are {list(labels)}; wanted at least two different ones")
        if pooling not in POOLINGS:
            raise Error(f"Classifier: pooling {pooling!r} is not one of {', '.join(POOLINGS)}")
        if not isinstance(longest, int) or longest < 0:
            raise Error(f"Classifier: longest is {longest!r}; wanted 0 (all) or a number of symbols")
        if not isinstance(grams, int) or isinstance(grams, bool) or not 1 <= grams <= MOST:
            raise Error(f"Classifier: grams is {grams!r}; wanted a number of symbols from 1 to {MOST}")
        if grams > 1 and not embedding_size:
            raise Error(
                f"Classifier: grams up to {grams} symbols are of the embedding; give an embedding_size"
            )
        super().__init__(
            vocabulary,
            len(labels),
            cell=cell,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            embedding_size=embedding_size,
            bidirectional=bidirectional,
            **extras,
        )
        self.votes: GramVotes | None = None
        if grams > 1:
            self.embedding = GramEmbedding(len(vocabulary), embedding_size, grams)
            self.votes = GramVotes(len(labels), grams)
        self.labels = tuple(labels)
        self.config |= {"labels": list(labels), "bidirectional": bidirectional}
        self.config |= {"pooling": pooling, "longest": longest, "grams": grams, "pooled": "output"}
        self.score = nn.Linear(self.width, 1) if pooling == "attention" else None

    def forward(self, batch: Batch) -> Tensor:
        """Logits (batch, labels)."""
        output, _ = self.hidden(batch)
        logits = self.head(self.dropout(self.pool(output, batch.lengths)))
        return logits if self.votes is None else logits + self.votes(batch.indices, batch.lengths)

    def read(self, text: str) -> Tensor:
        """The text's symbols as numbers (time,), as many as the model reads."""
        return self.vocabulary.encode(text)[: self.config["longest"] or None]

    def batch(self, rows: Sequence[Tensor]) -> Batch:
        """Rows that were read as one Batch of at least one step, on the model's device."""
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        indices = pad_sequence(list(rows), batch_first=True)
        if not indices.shape[1]:
            indices = indices.new_zeros(len(rows), 1)
        return Batch(indices, lengths, self.vocabulary).to(self.device)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The likeliest label of each text."""
        best, which = self.probabilities(texts).max(-1)
        pairs = zip(which.tolist(), best.tolist(), strict=True)
        return [Prediction(self.labels[i], p) for i, p in pairs]

    @torch.inference_mode()
    def probabilities(self, texts: Sequence[str]) -> Tensor:
        """p(label | text), (texts, labels) float32 on the CPU."""
        if isinstance(texts, str):
            raise TypeError("Classifier: texts are one str; wanted a list of texts")
        rows = [row[: self.config["longest"] or None] for row in self.vocabulary.rows(texts)]
        result = torch.empty(len(rows), len(self.labels))
        with evaluating(self):
            for some in _alike(np.array([len(row) for row in rows], dtype=np.int64)):
                batch = self.batch([torch.from_numpy(rows[i].astype(np.int64)) for i in some])
                result[torch.from_numpy(some)] = self(batch).float().softmax(-1).cpu()
        return result

    def pool(self, output: Tensor, lengths: Tensor) -> Tensor:
        """The output (batch, time, width) and the rows' lengths -> one vector a row (batch, width)."""
        pooling = self.config["pooling"]
        full = bool((lengths == output.shape[1]).all())
        lengths = lengths.to(output.device)
        if pooling == "mean":  # the output is zero past a row's end
            return output.sum(1) / lengths.clamp(min=1)[:, None]
        if output.shape[1] == 0:
            return output.sum(1)
        if pooling == "last":
            each = self.width // (2 if self.config["bidirectional"] else 1)
            rows = torch.arange(len(lengths), device=output.device)
            ends = output[rows, (lengths - 1).clamp(min=0), :each]
            # The backward direction ends at the first step.
            pooled = torch.cat((ends, output[:, 0, each:]), 1)
            return pooled.masked_fill(lengths[:, None] == 0, 0.0)
        inside = (torch.arange(output.shape[1], device=output.device) < lengths[:, None])[..., None]
        if self.score is None and full:
            return output.amax(1)
        if self.score is None:
            pooled = output.masked_fill(~inside, float("-inf")).amax(1)
        else:
            weights = self.score(output).masked_fill(~inside, float("-inf")).softmax(1)
            pooled = (output * weights.masked_fill(~inside, 0.0)).sum(1)
        return pooled.masked_fill(lengths[:, None] == 0, 0.0)  # a row without steps

    @classmethod
    def _from_config(cls, place: Path, vocabulary: Vocabulary, config: dict[str, Any]) -> Self:
        labels = config.get("labels")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise Error(f"{place}: config.json has labels {labels!r}; wanted a list of names")
        if not isinstance(config.get("bidirectional"), bool):
            raise Error(f"{place}: config.json has bidirectional {config.get('bidirectional')!r}")
        after = [name for name in ("residual", "layer_norm") if config.get(name)]
        if config.get("pooling") == "last" and after and config.get("pooled") != "output":
            raise Error(
                f"{place}: in this model the pooling 'last' left out {' and '.join(after)}, as an older "
                f"unrolled had it; train it again"
            )
        extra: dict[str, Any] = {n: config.get(n) for n in ("bidirectional", "pooling", "longest")}
        extra["grams"] = config.get("grams", 1)  # a model saved before has none
        return cls(vocabulary, labels, **shared_options(config), **extra)


def _alike(lengths: np.ndarray, places: int = 1 << 12) -> Iterator[np.ndarray]:
    """The rows' numbers in groups of about so many symbols, padding included, that stay in the cache; where
    there are enough rows of one length, without padding."""
    order = np.argsort(lengths, kind="stable")
    ascending, begin = lengths[order].tolist(), 0
    for i, length in enumerate(ascending):
        rows, least = i - begin, ascending[begin]
        enough = length > least and 4 * rows * least >= places
        if rows and (enough or (rows + 1) * length > places):
            yield order[begin:i]
            begin = i
    if len(order):
        yield order[begin:]
