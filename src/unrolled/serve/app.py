"""The routes."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..version import __version__
from . import fields
from .batching import Worker, no_session, promise
from .events import Events
from .lesson import lesson
from .limits import Limits, Refused, encode
from .metrics import Metrics
from .openapi import description
from .predicting import Predictor, Predictors
from .reader import Reader
from .router import Route
from .rows import GeneratedRow
from .sessions import Session, StoreFailed, new_id
from .steps import Steps, explained

log = logging.getLogger("unrolled.serve")

_PAGE = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_SWEEP = 2.0
"""Seconds between looks for sessions that were idle for too long."""


class Api:
    """What the routes share: the models, what computes, the limits."""

    def __init__(
        self, predictors: Sequence[Predictor], worker: Worker, limits: Limits, metrics: Metrics
    ) -> None:
        self.predictors = Predictors(predictors)
        self.worker, self.limits, self.metrics = worker, limits, metrics
        self.steps = Steps(self.predictors, worker, limits)
        # Seeing runs the reference loop, which is slow: neither the event loop nor a batch waits for it.
        self._looking = ThreadPoolExecutor(1, "unrolled-looking")
        self._lesson = encode(lesson())

    async def health(self, request: Request) -> Response:
        """Whether it serves."""
        return _json({"status": "ok", "version": __version__})

    async def models(self, request: Request) -> Response:
        """What is served, and the limits."""
        limits = {name: getattr(self.limits, name) for name in ("body", "text", "seen", "texts", "length")}
        models = [predictor.describe() for predictor in self.predictors.by_name.values()]
        return _json({"models": models, "limits": limits})

    async def lesson(self, request: Request) -> Response:
        """Both readings of the lesson's tensor."""
        return Response(self._lesson, media_type="application/json")

    async def openapi(self, request: Request) -> Response:
        """The description of all this."""
        return _json(description(self.limits))

    async def prometheus(self, request: Request) -> Response:
        """The counters."""
        store = self.worker.store
        gauges = {
            "sessions": await self.worker.call(store.count),
            "sessions_evicted_total": store.evicted,
            "sessions_expired_total": store.expired,
        }
        return Response(self.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    async def predict(self, request: Request) -> Response:
        """A prediction for each text."""
        data = fields.parse(request.scope["body"], frozenset({"texts", "model", "top"}))
        texts = fields.texts(data, "texts", self.limits.texts, self.limits.text)
        predictor = self.predictors.chosen(data)
        top = fields.whole(data, "top", 1, predictor.most, min(5, predictor.most))
        with explained():
            predictions = await predictor.predict(self.worker, texts, top)
        return _text('{"predictions":[' + ",".join(predictions) + "]}")

    async def open(self, request: Request) -> Response:
        """A new session."""
        data = fields.parse(request.scope["body"], frozenset({"model"}))
        reader = self.predictors.reader(data)
        id, store = new_id(), self.worker.store
        session = Session(reader.fingerprint, 0, bytes(reader.state_bytes))
        await self.worker.call(lambda: store.create([(id, session)]))
        return _json({"id": id, "model": reader.name, "bytes": reader.state_bytes}, 201)

    async def session(self, request: Request) -> Response:
        """How far a session has read."""
        session, reader = await self._session(request.path_params["id"])
        return _json({"model": reader.name, "symbols": session.symbols, "bytes": len(session.state)})

    async def close(self, request: Request) -> Response:
        """Ends a session."""
        id, store = request.path_params["id"], self.worker.store
        [there] = await self.worker.call(lambda: store.delete([id]))
        if not there:
            raise no_session()
        return Response(status_code=204)

    async def step(self, request: Request) -> Response:
        """Reads symbols on from a session's state; the prediction after each."""
        id = request.path_params["id"]
        data = self.steps.parse(request.scope["body"])
        reader = self.steps.reader(data)
        if reader is None:
            _, reader = await self._session(id)
        future, tell = promise()
        row = self.steps.begin(id, data, reader, tell)
        try:
            answer = await future
        finally:
            self.steps.end(row)
            row.dropped = not future.done() or future.cancelled()
        if row.see and row.before is not None:
            look = partial(reader.tracks, row.before.state, row.symbols)
            with explained():
                answer = row.answer(await asyncio.get_running_loop().run_in_executor(self._looking, look))
        return _text(answer)

    async def generate(self, request: Request) -> Response:
        """A text, symbol by symbol as it is drawn."""
        known = frozenset({"prompt", "length", "temperature", "top_k", "seed", "model"})
        data = fields.parse(request.scope["body"], known)
        reader = self.predictors.reader(data)
        prompt = fields.text(data, "prompt", self.limits.text, "") or reader.model.beginning
        length = fields.whole(data, "length", 1, self.limits.length, min(200, self.limits.length))
        temperature = fields.number(data, "temperature", 0, 100, 0.8)
        top_k = fields.whole(data, "top_k", 1, 1_000_000, None)
        seed = fields.whole(data, "seed", 0, 2**63 - 1, None)
        with explained():
            symbols = reader.encode(prompt)
        if not len(symbols):
            raise Refused(422, "prompt has no symbols", "give at least one, or no prompt at all")
        if self.metrics.streams >= self.limits.streams:
            raise Refused(429, f"{self.limits.streams} texts are being generated", "try again in a second")
        drawn: asyncio.Queue[Any] = asyncio.Queue()
        seed = secrets.randbits(63) if seed is None else seed
        row = GeneratedRow(reader, symbols, drawn.put_nowait, length, temperature, top_k, seed)
        spell = partial(reader.vocabulary.continued, prompt)
        return Events(self.worker, row, drawn, self.limits, self.metrics, spell)

    async def page(self, request: Request) -> Response:
        """The lab page and its files."""
        name = request.path_params.get("name", "index.html")
        place = _PAGE / name
        if place.name != name or place.suffix not in _TYPES or not place.is_file():
            raise Refused(404, "there is no such page", "the page is at /")
        return Response(place.read_bytes(), media_type=_TYPES[place.suffix])

    async def _session(self, id: str) -> tuple[Session, Reader]:
        store = self.worker.store
        [session] = await self.worker.call(lambda: store.get([id]))
        if session is None or session.model not in self.predictors.by_fingerprint:
            raise no_session()
        return session, self.predictors.by_fingerprint[session.model]


def routes(api: Api) -> list[Route]:
    """Every route; its name is what the metrics call it."""
    table = [
        ("/", "page", api.page, "GET"),
        ("/page/{name}", "page", api.page, "GET"),
        ("/health", "health", api.health, "GET"),
        ("/metrics", "metrics", api.prometheus, "GET"),
        ("/openapi.json", "openapi", api.openapi, "GET"),
        ("/v1/models", "models", api.models, "GET"),
        ("/v1/lesson", "lesson", api.lesson, "GET"),
        ("/v1/predict", "predict", api.predict, "POST"),
        ("/v1/generate", "generate", api.generate, "POST"),
        ("/v1/sessions", "open", api.open, "POST"),
        ("/v1/sessions/{id}/step", "step", api.step, "POST"),
        ("/v1/sessions/{id}", "session", api.session, "GET"),
        ("/v1/sessions/{id}", "close", api.close, "DELETE"),
    ]
    return [Route(*line) for line in table]


async def sweep(worker: Worker) -> None:
    """Looks again and again for sessions that were idle for too long."""
    while True:
        await asyncio.sleep(_SWEEP)
        try:
            await asyncio.to_thread(worker.store.settle)
            await worker.call(worker.store.sweep, slow=True)
        except StoreFailed as error:
            log.error("%s", error)
        except Refused:
            continue  # the worker has logged why, and the next look may succeed


def _json(data: Any, status: int = 200) -> Response:
    return Response(encode(data), status, media_type="application/json")


def _text(body: str) -> Response:
    return Response(body.encode("ascii"), media_type="application/json")
