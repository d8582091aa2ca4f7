"""A text that is sent symbol by symbol as it is drawn: server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .batching import Worker
from .limits import Limits, Refused, encode
from .metrics import Metrics
from .rows import GeneratedRow


class Events(Response):
    """{"symbol"} for each symbol; then the event `end` with {"text"}, in which bytes are characters and
    jamo syllables, or `error` with what is wrong and what to do."""

    media_type = "text/event-stream"

    def __init__(
        self,
        worker: Worker,
        row: GeneratedRow,
        drawn: asyncio.Queue[Any],
        limits: Limits,
        metrics: Metrics,
        spell: Callable[[Sequence[str]], str],
    ) -> None:
        super().__init__()
        self._spell, self._symbols = spell, []
        self._worker, self._row, self._drawn = worker, row, drawn
        self._seconds, self._metrics = 0.9 * limits.seconds, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the text or the time is over or the client is gone."""
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        self._metrics.streams += 1
        watching = asyncio.create_task(self._watch(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send(send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            watching.cancel()
            self._row.dropped = True
            self._metrics.streams -= 1

    async def _send(self, send: Send) -> None:
        end = time.monotonic() + self._seconds
        self._worker.submit(self._row)
        while True:
            items = await _drawn(self._drawn, end)
            body = b"".join(map(self._event, items))
            await send({"type": "http.response.body", "body": body, "more_body": True})
            if not isinstance(items[-1], str) or self._row.dropped:
                return

    def _event(self, item: str | Exception | None) -> bytes:
        if isinstance(item, str):
            self._symbols.append(item)
            return b"data: " + encode({"symbol": item}) + b"\n\n"
        if item is None:
            return b"event: end\ndata: " + encode({"text": self._spell(self._symbols)}) + b"\n\n"
        refused = item if isinstance(item, Refused) else Refused(500, "the server failed", "see its log")
        return b"event: error\ndata: " + refused.body() + b"\n\n"

    async def _watch(self, receive: Receive) -> None:
        """Ends the text where its client goes."""
        # Through the queue and not by a cancellation, which a busy queue would always be ahead of.
        while (await receive())["type"] != "http.disconnect":
            pass
        self._row.dropped = True
        self._drawn.put_nowait(None)


async def _drawn(drawn: asyncio.Queue[Any], end: float) -> list[Any]:
    """The symbols drawn by now, at least one; a refusal where the time is over."""
    try:
        async with asyncio.timeout(end - time.monotonic()):
            items = [await drawn.get()]
    except TimeoutError:
        return [Refused(503, "this took too long", "ask for a shorter text, or try again")]
    while not drawn.empty():
        items.append(drawn.get_nowait())
    return items
