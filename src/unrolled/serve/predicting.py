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
from . import fields
from .batching import Worker, promise
from .head import Head
from .limits import Refused, diverged
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
        rows, futures = [], []
        for index, text in enumerate(texts):
            symbols = self._reader.encode(text)
            if not len(symbols):
                raise Refused(422, f"texts[{index}] has no symbols", "give at least one")
            future, tell = promise()
            rows.append(Row(self._reader, symbols, tell, top))
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
    """What reads whole texts: it owns the labels, and asks for a prediction of each text, which is the
    same to the last bit whatever texts are read beside it."""

    _kind: str
    """What a label is called in an answer."""

    def __init__(self, name: str, model: Model, labels: Sequence[str]) -> None:
        super().__init__(name, model)
        self.labels = list(labels)
        self._names = [json.dumps(label) for label in labels]
        self._head = Head(model)
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

    def whole(self, texts: Sequence[str], tops: Sequence[int]) -> list[str | Refused]:
        """Reads whole texts as one batch; refuses those of which the model makes no numbers."""
        raise NotImplementedError

    def warm(self) -> None:
        """As the base's."""
        some = [symbol for symbol in self.model.vocabulary.symbols if symbol.strip()][:2]
        self.whole(["".join(some), *some], [1] * (1 + len(some)))

    def _likeliest(self, probabilities: Tensor, tops: Sequence[int]) -> list[str]:
        """For each row the likeliest label and the probabilities of the likeliest ones, as the fields of
        a JSON object; nothing where they are no numbers."""
        values, indices = probabilities.topk(max(tops))
        found = []
        for value, index, top in zip(values.tolist(), indices.tolist(), tops, strict=True):
            pairs = zip(index[:top], value, strict=False)
            some = ",".join([f"{self._names[i]}:{p:.6g}" for i, p in pairs])
            fields = f'"{self._kind}":{self._names[index[0]]},"probabilities":{{{some}}}'
            found.append("" if value[0] != value[0] else fields)
        return found


class Classes(_WholeTexts):
    """A classifier: the probability of each class, for each text."""

    _kind = "label"

    def __init__(self, name: str, model: Classifier) -> None:
        super().__init__(name, model, model.labels)
        self._classifier = model.eval()

    def check(self, text: str) -> None:
        """A symbol that the vocabulary does not have is refused."""
        self._classifier.read(text)

    @torch.inference_mode()
    def whole(self, texts: Sequence[str], tops: Sequence[int]) -> list[str | Refused]:
        """The likeliest label of each text."""
        model = self._classifier
        batch = model.batch([model.read(text) for text in texts])
        logits = self._head(self._pooled(model.hidden(batch)[0], batch.lengths))
        if model.votes is not None:
            rows = zip(batch.indices, batch.lengths, strict=True)
            logits = logits + torch.cat([model.votes(row[None, : int(n)], n[None]) for row, n in rows])
        found = self._likeliest(logits.float().softmax(-1), tops)
        return ["{" + one + "}" if one else diverged() for one in found]

    def _pooled(self, output: Tensor, lengths: Tensor) -> Tensor:
        """(texts, width), of each text the same bits whatever is beside it."""
        pool = self._classifier.pool
        if self._classifier.config["pooling"] in ("last", "max"):
            return pool(output, lengths)
        # A sum goes another way through its terms where there is padding beside them.
        rows = zip(output, lengths, strict=True)
        return torch.cat([pool(row[None, : int(n)], n[None]) for row, n in rows])


class Tags(_WholeTexts):
    """A tagger: the probability of each tag, for each word of each text, cut as UAX #29 does."""

    _kind = "tag"

    def __init__(self, name: str, model: Tagger) -> None:
        super().__init__(name, model, model.tags)
        self._tagger = model.eval()
        self._tagger.head = self._head
        self._words = make_unit("word")

    @torch.inference_mode()
    def whole(self, texts: Sequence[str], tops: Sequence[int]) -> list[str | Refused]:
        """Each text's words with their likeliest tags."""
        sentences = [self._words.cut(text) for text in texts]
        if not any(sentences):
            return ['{"tags":[]}'] * len(texts)
        probabilities = self._tagger(self._tagger.read(sentences)).float().softmax(-1)
        answers: list[str | Refused] = []
        for words, row, top in zip(sentences, probabilities, tops, strict=True):
            found = self._likeliest(row[: len(words)], [top] * len(words)) if words else []
            tags = [f'{{"word":{json.dumps(word)},{one}}}' for word, one in zip(words, found, strict=True)]
            answers.append('{"tags":[' + ",".join(tags) + "]}" if all(found) else diverged())
        return answers


class Predictors:
    """All that are served; the first answers where a request names none."""

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        self.by_name = {one.name: one for one in predictors}
        self.by_fingerprint = {
            one.reader.fingerprint: one.reader for one in predictors if one.reader is not None
        }

    def chosen(self, data: dict[str, Any]) -> Predictor:
        """The one that a request's field `model` names; refuses a name that is not served."""
        if "model" not in data:
            return next(iter(self.by_name.values()))
        name = fields.text(data, "model", 1000)
        if name not in self.by_name:
            raise Refused(422, "there is no such model", f"wanted one of {', '.join(self.by_name)}")
        return self.by_name[name]

    def reader(self, data: dict[str, Any]) -> Reader:
        """As `chosen`, of those that read symbol by symbol; refuses another."""
        chosen = self.chosen(data)
        if chosen.reader is None:
            raise Refused(
                422,
                f"the model {chosen.name} reads whole texts ({chosen.task})",
                "use /v1/predict, or a language model",
            )
        return chosen.reader


def predictor(name: str, model: Model) -> Predictor:
    """How a model of this kind is asked."""
    if isinstance(model, LanguageModel):
        return NextSymbols(name, model)
    if isinstance(model, Classifier):
        return Classes(name, model)
    if isinstance(model, Tagger):
        return Tags(name, model)
    raise Error(f"{name} is a model for {model.task!r}, which is not served")
