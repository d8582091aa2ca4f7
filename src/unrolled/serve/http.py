"""uvicorn's protocol, which sends an answer's head and body in one piece: half the system calls."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Http(HttpToolsProtocol):
    """HTTP/1.1 by httptools."""

    def connection_made(self, transport: Any) -> None:
        """As the base's."""
        super().connection_made(_Joined(transport))  # type: ignore[arg-type]


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

    def close(self) -> None:
        """Sends what there is, and hangs up."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))
