"""The outermost layer: who may ask, how much at once, how large, how long; and every answer's headers."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import re
import time
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .http import Answer, Headers
from .limits import Limits, Refused
from .metrics import Metrics
from .quick import Quick, too_long
from .steps import Steps

log = logging.getLogger("unrolled.serve")

HEADERS = (
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; "
     b"img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (b"cache-control", b"no-store"),
)  # fmt: skip
"""On every answer; nothing of it is for a cache, and a page may load from this server alone."""

_JSON = ((b"content-type", b"application/json"), *HEADERS)
_STEP = re.compile("/v1/sessions/([^/]+)/step")

_OPEN = ("/health", "/", "/page/", "/openapi.json")
"""What needs no token: nothing there tells of a model or of what was typed."""


class Guard:
    """Wraps the application; see the module."""

    def __init__(
        self,
        app: ASGIApp,
        steps: Steps,
        limits: Limits,
        metrics: Metrics,
        token: str | None,
        local: bool,
    ) -> None:
        self._app, self._steps, self._limits, self._metrics = app, steps, limits, metrics
        self._token = token.encode() if token else None
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        self._metrics.active += 1
        try:
            self._admit(scope)
            scope["body"] = await self._body(scope, receive)
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, receive, answer)
        except Refused as refused:
            if not status:
                await _refuse(answer, refused)
        except TimeoutError:
            if not status:
                await _refuse(answer, too_long(self._limits.seconds))
        except ClientGone:
            status = status or 499
        except Exception as error:
            refused = _explained(error)
            if not status:
                await _refuse(answer, refused)
        finally:
            self._metrics.active -= 1
            route = scope.get("route_name", "other")
            self._metrics.request(route, status, time.perf_counter() - begin)

    def quick(self, scope: Scope, body: bytes, answer: Answer) -> bool:
        """A step of a session, answered when it is told, without a task; False: it goes the long way."""
        found = _STEP.fullmatch(scope["path"])
        if found is None:
            return False
        self._metrics.active += 1
        step = Quick(self._steps, self._finish, answer, self._limits.seconds)
        try:
            self._admit(scope)
            if len(body) > self._limits.body:
                raise self._too_large()
            if step.begin(found[1], body):
                return True
        except Exception as error:
            step.tell(error)
            return True
        self._metrics.active -= 1
        return False

    def _finish(self, answer: Answer, result: str | Exception, seconds: float) -> None:
        """Answers a quick request, and counts it."""
        status = 200
        if isinstance(result, str):
            answer(200, _JSON, result.encode("ascii"))
        else:
            refused = _explained(result)
            status = refused.status
            answer(status, (*_headers(refused), *HEADERS), refused.body())
        self._metrics.active -= 1
        self._metrics.request("step", status, seconds)

    def _admit(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        path: str = scope["path"]
        host = headers.get(b"host", b"").decode("latin-1")
        if self._local and not _is_local(host):
            raise Refused(
                421, "the Host header names another machine", "use http://127.0.0.1, or start with --host"
            )
        origin = headers.get(b"origin")
        if origin is not None and _split(origin.decode("latin-1")).netloc != host:
            raise Refused(403, "a page of another origin asked", "use this server's own page")
        if self._metrics.active > self._limits.requests and path != "/health":
            raise Refused(503, "the server is busy", "try again in a second")
        is_open = path in _OPEN or path.startswith("/page/")
        if self._token is not None and not is_open:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self._token):
                raise Refused(
                    401, "no token, or a wrong one", "send the header Authorization: Bearer TOKEN"
                )

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._limits.body:
                raise self._too_large()
        message = await self._next(receive)
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body = await self._rest(body, receive)
        if len(body) > self._limits.body:
            raise self._too_large()
        return body

    async def _rest(self, body: bytes, receive: Receive) -> bytes:
        parts, size, message = [body], len(body), {"more_body": True}
        try:
            async with asyncio.timeout(self._limits.patience):
                while message.get("more_body"):
                    message = await self._next(receive)
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self._limits.body:
                        raise self._too_large()
        except TimeoutError:
            raise Refused(
                408, f"the body did not come within {self._limits.patience:g} s", "send it at once"
            ) from None
        return b"".join(parts)

    async def _next(self, receive: Receive) -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message

    def _too_large(self) -> Refused:
        return Refused(
            413, f"the body is larger than {self._limits.body} bytes", "send less in one request"
        )


class ClientGone(Exception):  # noqa: N818
    """The client hung up before it was answered."""


def _explained(error: Exception) -> Refused:
    """Whatever it was, the client gets an answer, the log the reason, and others are served on."""
    if isinstance(error, Refused):
        return error
    log.error("a request failed", exc_info=error)
    return Refused(500, "the server failed at this", "its log says why; tell its keeper")


async def _refuse(send: Send, refused: Refused) -> None:
    body = refused.body()
    headers = [*_headers(refused), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(refused: Refused) -> Headers:
    headers = [(b"content-type", b"application/json")]
    headers += [(name.encode(), value.encode("latin-1")) for name, value in refused.headers.items()]
    if refused.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not waited for
    if refused.status in (429, 503):
        headers.append((b"retry-after", b"1"))
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return tuple(headers)


@lru_cache(1000)
def _is_local(host: str) -> bool:
    """Whether a Host header names this machine's loopback: a page elsewhere, whose name is made to lead
    here, has another."""
    name: Any = _split("//" + host).hostname
    if name is None or name == "localhost":
        return name is not None
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    """The parts of a URL; of what is none, such as "//[", nothing."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")
