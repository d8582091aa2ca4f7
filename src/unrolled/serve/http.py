"""uvicorn's protocol, with a short way for what is asked most: a request that came in one piece may be
answered from the connection itself, with no task, no coroutine and no application in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from .limits import Refused

HEAD = 1 << 16
"""Bytes of a first line and headers that are read; and of what a chunked body has beside its content."""
_PIECE = HEAD // 4
"""Bytes that are parsed at once, after which it is seen whether they were of a head."""

Headers = tuple[tuple[bytes, bytes], ...]
Answer = Callable[[int, Headers, bytes], None]
"""Sends a status, headers and a body; to be called once."""


class Http(HttpToolsProtocol):
    """HTTP/1.1 by httptools. Where the application has a method `quick(scope, body, answer)`, it is asked
    first; if it returns False nothing has happened, and the request takes the long way."""

    _feeding = False
    _head = 0
    """Bytes read since the last that were a body's, or ended a request or its headers."""
    _held: tuple[RequestResponseCycle, Any] | None = None

    def connection_made(self, transport: Any) -> None:
        """As the base's."""
        self._joined = _Joined(transport)
        super().connection_made(self._joined)  # type: ignore[arg-type]
        self._quick = getattr(self.app, "quick", None)

    def data_received(self, data: bytes) -> None:
        """As the base's."""
        self._feeding = self._quick is not None
        for begin in range(0, len(data), _PIECE):
            piece = data[begin : begin + _PIECE]
            self._head += len(piece)
            super().data_received(piece)
            if self.transport.is_closing():
                break
            if self._head > HEAD:
                self._turn_away(Refused(431, f"the headers have more than {HEAD:,} bytes", "send fewer"))
                break
        self._feeding = False
        if self._held is not None:
            (cycle, app), self._held = self._held, None
            if not self._answered(cycle):
                super()._start_asgi_task(cycle, app)

    def on_headers_complete(self) -> None:
        """As the base's."""
        self._head = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """As the base's."""
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """As the base's."""
        self._head = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused as all else is."""
        self._turn_away(Refused(400, "this is no request of HTTP/1.1", "send one, and no TLS"))

    def _turn_away(self, refused: Refused) -> None:
        body = refused.body()
        size = b"content-length: %d\r\n" % len(body)
        kind, end = b"content-type: application/json\r\n", b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[refused.status], kind, size, end, body)))
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._feeding and self._held is None and cycle.scope["method"] == "POST":
            self._held = cycle, app  # until it is seen whether its body came with it
        else:
            super()._start_asgi_task(cycle, app)

    def _answered(self, cycle: RequestResponseCycle) -> bool:
        """Whether it is answered on the short way, now or later."""
        if cycle.more_body or cycle.waiting_for_100_continue or self._quick is None:
            return False
        if self.flow.write_paused or self.transport.is_closing():
            return False

        def answer(status: int, headers: Headers, body: bytes) -> None:
            if cycle.disconnected or cycle.response_complete:
                return
            cycle.response_started = cycle.response_complete = True
            cycle.message_event.set()
            cycle.keep_alive = cycle.keep_alive and not _closes(headers)
            lines = [_lines(tuple(self.server_state.default_headers)), _lines(headers)]
            if not cycle.keep_alive and not _closes(headers):
                lines.append(b"connection: close\r\n")
            size = b"content-length: %d\r\n\r\n" % len(body)
            self._joined.send(b"".join((STATUS_LINE[status], *lines, size, body)))
            if not cycle.keep_alive:
                self.transport.close()
            self.on_response_complete()

        return self._quick(cycle.scope, bytes(cycle.body), answer)


@lru_cache(64)
def _lines(headers: Headers) -> bytes:
    return b"".join(b"".join((name, b": ", value, b"\r\n")) for name, value in headers)


@lru_cache(64)
def _closes(headers: Headers) -> bool:
    return (b"connection", b"close") in headers


class _Joined:
    """A transport whose writes of one moment leave together."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._parts = transport, []
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends soon, with what is written until then."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def send(self, data: bytes) -> None:
        """Sends at once, after what is there."""
        if self._parts:
            self._parts.append(data)
            self._flush()
        elif not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Sends what there is, and hangs up."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))
