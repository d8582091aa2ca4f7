"""Steps of sessions: what a request for one must say, and how many of a session may wait."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..errors import Error
from . import fields
from .batching import Worker
from .limits import Limits, Refused
from .predicting import Predictors
from .reader import Reader
from .rows import StepRow, Tell

_FIELDS = frozenset({"text", "top", "see", "model"})


class Steps:
    """Begins steps, each of which must be ended."""

    def __init__(self, predictors: Predictors, worker: Worker, limits: Limits) -> None:
        self._predictors, self._worker, self._limits = predictors, worker, limits
        self._waiting: Counter[str] = Counter()
        readers = list(predictors.by_fingerprint.values())
        self._only = readers[0] if len(readers) == 1 else None

    def parse(self, body: bytes) -> dict[str, Any]:
        """The fields of a request."""
        return fields.parse(body, _FIELDS)

    def reader(self, data: dict[str, Any]) -> Reader | None:
        """The model that reads, if it can be told without a look at the session."""
        return self._predictors.reader(data) if "model" in data else self._only

    def quick(self, id: str, body: bytes, tell: Tell) -> StepRow | None:
        """As `begin`; None where something must be waited for besides the step."""
        data = self.parse(body)
        reader = self.reader(data)
        if reader is None or "see" in data:
            return None
        return self.begin(id, data, reader, tell)

    def begin(self, id: str, data: dict[str, Any], reader: Reader, tell: Tell) -> StepRow:
        """Gives the step to the next batch; raises Refused for what is not served."""
        see, limits = fields.flag(data, "see"), self._limits
        text = fields.text(data, "text", min(limits.seen, limits.text) if see else limits.text)
        most = len(reader.vocabulary)
        top = fields.whole(data, "top", 0, most, min(5, most))
        with explained():
            symbols = reader.encode(text)
        if self._waiting[id] >= limits.waiting:
            raise Refused(429, f"{limits.waiting} steps of this session wait already", "wait for answers")
        row = StepRow(reader, symbols, tell, top, id, see)
        self._worker.submit(row)
        self._waiting[id] += 1
        return row

    def end(self, row: StepRow) -> None:
        """Counts it no more."""
        self._waiting[row.id] -= 1
        if not self._waiting[row.id]:
            del self._waiting[row.id]


class explained:  # noqa: N801 -- reads as a word where it is used
    """A symbol outside the vocabulary, and the like, is the client's to mend."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Error):
            raise Refused(422, str(error), "send what the model knows: /v1/models lists it") from error
