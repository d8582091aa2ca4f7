"""POST /v1/predict, for each kind of model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from ..errors import Error
from ..models import Classifier, LanguageModel
from ..models.base import Model
from .batching import Worker, promise
from .limits import Refused
from .reader import Reader
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
            rows.append(Row(self._reader, self._reader.vocabulary.encode(text).numpy(), tell, top))
            futures.append(future)
        try:
            for row in rows:
                worker.submit(row)
            found = await asyncio.gather(*futures)
        finally:
            for row in rows:
                row.dropped = True
        return [f'{{"next":{following}}}' for following in found]


class Classes(Predictor):
    """A classifier: the probability of each class, for each text."""

    def __init__(self, name: str, model: Classifier) -> None:
        super().__init__(name, model)
        self._classifier = model
        self._labels = [json.dumps(label) for label in model.labels]

    @property
    def most(self) -> int:
        """How many labels it has."""
        return len(self._labels)

    def describe(self) -> dict[str, Any]:
        """What a client may know of it, its labels among that."""
        return {**super().describe(), "labels": list(self._classifier.labels)}

    async def predict(self, worker: Worker, texts: Sequence[str], top: int) -> list[str]:
        """The likeliest label, and the probabilities of the likeliest."""
        for text in texts:
            self.model.vocabulary.encode(text)  # so that this request alone is refused
        results = [promise() for _ in texts]
        rows = [TextRow(self, text, tell, top) for text, (_, tell) in zip(texts, results, strict=True)]
        try:
            for row in rows:
                worker.submit(row)
            return list(await asyncio.gather(*(future for future, _ in results)))
        finally:
            for row in rows:
                row.dropped = True

    def whole(self, texts: Sequence[str], tops: Sequence[int]) -> list[str]:
        """Reads whole texts as one batch, in the thread that computes."""
        probabilities = self._classifier.probabilities(texts)
        values, indices = probabilities.topk(max(tops))
        answers = []
        for value, index, top in zip(values.tolist(), indices.tolist(), tops, strict=True):
            pairs = list(zip(index, value, strict=True))[:top]
            found = ",".join([f"{self._labels[i]}:{p:.6g}" for i, p in pairs])
            answers.append(f'{{"label":{self._labels[index[0]]},"probabilities":{{{found}}}}}')
        return answers


def predictor(name: str, model: Model) -> Predictor:
    """How a model of this kind is asked."""
    if isinstance(model, LanguageModel):
        return NextSymbols(name, model)
    if isinstance(model, Classifier):
        return Classes(name, model)
    raise Error(f"{name} is a model for {model.task!r}, which is not served")
