"""A model that gives each word of a sentence a tag."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, Unpack

import torch
from torch import Tensor, nn

from ..cells import CELLS
from ..errors import Error
from ..layers import Recurrent
from ..text import Batch, Vocabulary
from .base import Model, evaluating, shared_options
from .deep import Extras


class Sentences(NamedTuple):
    """Sentences as a Tagger reads them.

    words: their words' numbers. spelled: each distinct word, by character. which: (batch, time), the row
    of `spelled` that each word is.
    """

    words: Batch
    spelled: Batch
    which: Tensor


class Tagger(Model):
    """Words -> embedding ++ the two last states of a bidirectional layer over the word's characters
    -> bidirectional recurrent layers -> linear head: p(tag | word, sentence), Plank et al. (2016).

    vocabulary: the words, with an unknown one; characters: the symbols that words are spelled with, with
        an unknown one.
    tags: their names, at least two.
    character_size: width of a character's embedding and of each direction of its layer.

    The other arguments are those of LanguageModel; word_dropout leaves a word to its spelling alone.
    """

    task = "tag"

    def __init__(
        self,
        vocabulary: Vocabulary,
        characters: Vocabulary,
        tags: Sequence[str],
        cell: str = "lstm",
        hidden_size: int = 128,
        num_layers: int = 1,
        dropout: float = 0.0,
        embedding_size: int = 128,
        character_size: int = 64,
        **extras: Unpack[Extras],
    ) -> None:
        if len(tags) < 2 or len(set(tags)) != len(tags):
            raise Error(f"Tagger: tags are {list(tags)}; wanted at least two different ones")
        if not isinstance(character_size, int) or isinstance(character_size, bool) or character_size < 1:
            raise Error(f"Tagger: character_size is {character_size!r}; wanted at least 1")
        if not embedding_size and not extras.get("vectors_size"):
            raise Error("Tagger: embedding_size is 0; wanted a width for the words")
        super().__init__(
            vocabulary,
            len(tags),
            cell=cell,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            embedding_size=embedding_size,
            bidirectional=True,
            features=2 * character_size,
            **extras,
        )
        self.characters = characters
        self.tags = tuple(tags)
        self.config |= {
            "characters": characters.to_dict(),
            "tags": list(tags),
            "character_size": character_size,
        }
        self.character_embedding = nn.Embedding(len(characters), character_size)
        self.spelling = Recurrent(
            CELLS[cell], character_size, character_size, batch_first=True, bidirectional=True
        )

    def forward(self, sentences: Sentences) -> Tensor:
        """Logits (batch, time, tags)."""
        words = sentences.words
        lengths = None if words.full else words.lengths
        output, _ = self.run(self.layers, self.dropout(self.features(sentences)), lengths=lengths)
        return self.head(self.dropout(output))

    def features(self, sentences: Sentences) -> Tensor:
        """What the layers read of each word (batch, time, feature): its embedding and its spelling."""
        words, spelled, which = sentences
        lengths = None if spelled.full else spelled.lengths
        letters = self.character_embedding(spelled.indices)
        _, state = self.run(self.spelling, letters, lengths=lengths)
        h = state if isinstance(state, Tensor) else state[0]
        spelling = h.transpose(0, 1).flatten(1)[which]
        return torch.cat([self.embedded(words), self.dropout(spelling)], dim=-1)

    def read(self, sentences: Sequence[Sequence[str]]) -> Sentences:
        """Sentences (lists of words) as numbers, on the model's device; words are read in the form of
        Unicode that the vocabulary has."""
        if any(isinstance(sentence, str) for sentence in sentences):
            raise TypeError("Tagger: a sentence is one str; wanted a list of words")
        distinct: dict[str, int] = {}
        normal = self.vocabulary.normalized
        rows = [[distinct.setdefault(normal(word), len(distinct)) for word in words] for words in sentences]
        longest = max(1, *(len(row) for row in rows)) if rows else 1
        which = torch.tensor([row + [0] * (longest - len(row)) for row in rows]).view(len(rows), longest)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        known = torch.tensor([self.vocabulary.index(word) for word in distinct] or [0])
        spelled = self.characters.encode([list(word) for word in distinct or ["?"]])
        words = Batch(known[which], lengths, self.vocabulary)
        return Sentences(words.to(self.device), spelled.to(self.device), which.to(self.device))

    @torch.inference_mode()
    def predict(self, sentences: Sequence[Sequence[str]], batch: int = 64) -> list[list[str]]:
        """The likeliest tag of each word."""
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        found: dict[int, list[str]] = {}
        with evaluating(self):
            for begin in range(0, len(order), batch):
                some = order[begin : begin + batch]
                best = self(self.read([sentences[i] for i in some])).argmax(-1).tolist()
                for i, row in zip(some, best, strict=True):
                    found[i] = [self.tags[tag] for tag in row[: len(sentences[i])]]
        return [found[i] for i in range(len(sentences))]

    @classmethod
    def _from_config(cls, place: Path, vocabulary: Vocabulary, config: dict[str, Any]) -> Self:
        tags = config.get("tags")
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise Error(f"{place}: config.json has tags {tags!r}; wanted a list of names")
        characters = Vocabulary.from_dict(config.get("characters"))
        size: Any = config.get("character_size")
        return cls(vocabulary, characters, tags, character_size=size, **shared_options(config))
