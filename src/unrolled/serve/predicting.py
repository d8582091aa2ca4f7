"""POST /v1/predict, for each kind of model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import Error
from ..models import Classifier, LanguageModel, Tagger
from ..models.base import Model
from ..text.units import make_unit
from .batching import Worker, promise
from .limits import Refused
from .reader import Reader, cost
from .rows import Row, TextRow


class Predictor:
    """One model that is served: its name, what it predicts, and how it is asked."""

    reader: Reader | None = None
    """For a model that reads symbol by symbol, so that it has sessions and generates."""

    def __init__(self, name: str, model: Model) -> None:
        self.name, self.model, self.task = name, model, model.task

    @property
    def most(self) -> int:
        """How many different things it may predict."""
        return len(self.model.vocabulary)

    async def predict(self, worker: Worker, texts: Sequence[str], top: int) -> list[str]:
        """A prediction for each text, as JSON."""
        raise NotImplementedError

    def warm(self) -> None:
        """Computes something, so that no client waits for what is made at the first call."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """What a client may know of it."""
        stack = self.model.layers.stack
        return {
            "name": self.name,
            "task": self.task,
            "cell": stack.cell.name,
            "layers": stack.num_layers,
            "units": stack.output_size,
            "symbols": list(self.model.vocabulary.symbols),
            "bytes": self.reader.state_bytes if self.reader else None,
        }


class NextSymbols(Predictor):
    """A language model: the likeliest next symbols after each text."""

    def __init__(self, name: str, model: LanguageModel) -> None:
        super().__init__(name, model)
        self._reader = self.reader = Reader(name, model)

    async def predict(self, worker: Worker, texts: Sequence[str], top: int) -> list[str]:
        """The likeliest next symbols."""
        if "" in texts:
            raise Refused(422, f"texts[{texts.index('')}] is empty", "give at least one symbol")
        rows, futures = [], []
        for text in texts:
            future, tell = promise()
            rows.append(Row(self._reader, self._reader.encode(text), tell, top))
            futures.append(future)
        try:
            for row in rows:
                worker.submit(row)
            found = await asyncio.gather(*futures)
        finally:
            for row in rows:
                row.dropped = True
        return [f'{{"next":{following}}}' for following in found]

    def warm(self) -> None:
        """As the base's."""
        self._reader.read([b""], [np.zeros(1, np.int64)], [True])
        self._reader.read([b"", b""], [np.zeros(1, np.int64), np.zeros(2, np.int64)], [True, False])


class _WholeTexts(Predictor):
    """What reads whole texts: it owns the labels, and asks for a prediction of each text."""

    def __init__(self, name: str, model: Model, labels: Sequence[str]) -> None:
        super().__init__(name, model)
        self.labels = list(labels)
        self._names = [json.dumps(label) for label in labels]
        self.cost = cost(model)

    @property
    def most(self) -> int:
        """How many labels it has."""
        return len(self.labels)

    def describe(self) -> dict[str, Any]:
        """What a client may know of it, its labels among that."""
        return {**super().describe(), "labels": self.labels}

    async def predict(self, worker: Worker, texts: Sequence[str], top: int) -> list[str]:
        """The likeliest labels, with their probabilities."""
        for text in texts:
            self.check(text)  # so that this request alone is refused
        results = [promise() for _ in texts]
        rows = [TextRow(self, text, tell, top) for text, (_, tell) in zip(texts, results, strict=True)]
        try:
            for row in rows:
                worker.submit(row)
            return list(await asyncio.gather(*(future for future, _ in results)))
        finally:
            for row in rows:
                row.dropped = True

    def check(self, text: str) -> None:
        """Raises Error for a text that cannot be read."""

    def whole(self, texts: Sequence[str], tops: Sequence[int]) -> list[str]:
        """Reads whole texts as one batch."""
        raise NotImplementedError

    def warm(self) -> None:
        """As the base's."""
        some = [symbol for symbol in self.model.vocabulary.symbols if symbol.strip()][:2]
        self.whole(["".join(some), *some], [1] * (1 + len(some)))

    def _likeliest(self, probabilities: Tensor, tops: Sequence[int]) -> list[tuple[str, str]]:
        """For each row the likeliest label and an object of the likeliest ones, both as JSON."""
        values, indices = probabilities.topk(max(tops))
        found = []
        for value, index, top in zip(values.tolist(), indices.tolist(), tops, strict=True):
            pairs = zip(index[:top], value, strict=False)
            some = ",".join([f"{self._names[i]}:{p:.6g}" for i, p in pairs])
            found.append((self._names[index[0]], "{" + some + "}"))
        return found


class Classes(_WholeTexts):
    """A classifier: the probability of each class, for each text."""

    def __init__(self, name: str, model: Classifier) -> None:
        super().__init__(name, model, model.labels)
        self._classifier = model

    def check(self, text: str) -> None:
        """A symbol that the vocabulary does not have is refused."""
        self.model.vocabulary.encode(text)

    def whole(self, texts: Sequence[str], tops: Sequence[int]) -> list[str]:
        """The likeliest label of each text."""
        found = self._likeliest(self._classifier.probabilities(texts), tops)
        return [f'{{"label":{label},"probabilities":{some}}}' for label, some in found]


class Tags(_WholeTexts):
    """A tagger: the probability of each tag, for each word of each text, cut as UAX #29 does."""

    def __init__(self, name: str, model: Tagger) -> None:
        super().__init__(name, model, model.tags)
        self._tagger = model.eval()
        self._words = make_unit("word")

    @torch.inference_mode()
    def whole(self, texts: Sequence[str], tops: Sequence[int]) -> list[str]:
        """Each text's words with their likeliest tags."""
        sentences = [self._words.cut(text) for text in texts]
        if not any(sentences):
            return ['{"tags":[]}'] * len(texts)
        probabilities = self._tagger(self._tagger.read(sentences)).float().softmax(-1)
        answers = []
        for words, row, top in zip(sentences, probabilities, tops, strict=True):
            found = self._likeliest(row[: len(words)], [top] * len(words)) if words else []
            tags = [
                f'{{"word":{json.dumps(word)},"tag":{tag},"probabilities":{some}}}'
                for word, (tag, some) in zip(words, found, strict=True)
            ]
            answers.append('{"tags":[' + ",".join(tags) + "]}")
        return answers


def predictor(name: str, model: Model) -> Predictor:
    """How a model of this kind is asked."""
    if isinstance(model, LanguageModel):
        return NextSymbols(name, model)
    if isinstance(model, Classifier):
        return Classes(name, model)
    if isinstance(model, Tagger):
        return Tags(name, model)
    raise Error(f"{name} is a model for {model.task!r}, which is not served")
