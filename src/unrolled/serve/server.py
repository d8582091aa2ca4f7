"""The server: models, sessions and limits put together, and uvicorn around them."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

import torch
import uvicorn

from .. import models
from ..errors import Error
from .app import Api, routes, sweep
from .batching import Worker
from .guard import Guard
from .http import Http
from .limits import Limits
from .metrics import Metrics
from .predicting import Predictor, predictor
from .router import Router
from .sessions import Keeping, open_store


@dataclass(frozen=True)
class Settings:
    """Where to listen, what to keep sessions in, and what may be asked.

    token: wanted of every client; it must be there where host is not this machine's loopback.
    drain: seconds that requests in progress have to end after SIGTERM.
    threads: cores that compute one batch; more than one is of use to large models alone.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    sessions: str = "memory:"
    token: str | None = None
    drain: float = 20.0
    threads: int = 1
    keeping: Keeping = field(default_factory=Keeping)
    limits: Limits = field(default_factory=Limits)


def load(folders: Sequence[Path]) -> list[Predictor]:
    """The models in the folders, each named as its folder; raises Error for what cannot be served."""
    found: dict[str, Predictor] = {}
    for folder in folders:
        own = folder.resolve().name
        names = chain([own], (f"{own}-{number}" for number in count(2)))
        name = next(name for name in names if name not in found)
        found[name] = predictor(name, models.load(folder))
    return list(found.values())


def serve(
    folders: Sequence[Path], settings: Settings, started: Callable[[str], None] = lambda address: None
) -> None:
    """Serves the models until SIGTERM or SIGINT, then lets what is in progress end.

    started: called with the address once connections are accepted. Raises Error if it cannot be done.
    """
    local = _is_loopback(settings.host)
    if not local and not settings.token:
        raise Error(
            f"--host {settings.host} can be reached from other machines, so a token is required: put one "
            f"in the variable UNROLLED_TOKEN or in a file given with --token-file"
        )
    if settings.token is not None and not (settings.token.isascii() and settings.token.isprintable()):
        raise Error("the token has characters that a header cannot carry; use letters and digits")
    torch.set_num_threads(settings.threads)
    predictors = load(folders)
    for one in predictors:
        one.warm()
    listening = _listen(settings.host, settings.port)
    with listening:
        metrics = Metrics()
        store = open_store(settings.sessions, settings.keeping)
        worker = Worker(store, metrics, settings.limits.batch)
        api = Api(predictors, worker, settings.limits, metrics)
        guard = Guard(Router(routes(api)), api.steps, settings.limits, metrics, settings.token, local)
        config = uvicorn.Config(
            guard,
            http=Http,
            ws="none",
            lifespan="off",
            proxy_headers=False,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=int(max(5, settings.limits.patience)),
            timeout_graceful_shutdown=int(settings.drain),
        )
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        server = _Server(
            config, worker, settings.limits.patience, lambda: started(f"http://{shown}:{port}")
        )
        _end_quietly()
        # What is there by now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            pass
        finally:
            if not worker.ended:
                worker.close()


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and hangs up on those who connect and do not ask."""

    def __init__(
        self, config: uvicorn.Config, worker: Worker, patience: float, started: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._worker, self._patience, self._said = worker, patience, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._worker.start()
        await super().startup(sockets)
        if self.started:
            self._said()

    async def main_loop(self) -> None:
        async with _task(self._hang_up()), _task(sweep(self._worker)):
            await super().main_loop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await self._worker.stop()

    async def _hang_up(self) -> None:
        """uvicorn waits for ever for the first line of a request, or the rest of one; this does not."""
        waiting: dict[Any, tuple[object, float]] = {}
        while True:
            await asyncio.sleep(self._patience / 10)
            now, before, waiting = time.monotonic(), waiting, {}
            connections: list[Any] = list(self.server_state.connections)
            for connection in connections:
                cycle = connection.cycle
                if cycle is None or cycle.response_complete:
                    last, since = before.get(connection, (None, now))
                    waiting[connection] = cycle, (since if last is cycle else now)
                    if now - waiting[connection][1] >= self._patience:
                        connection.transport.close()


@asynccontextmanager
async def _task(coroutine: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _end_quietly() -> None:
    """uvicorn raises the signal that ended it anew once all is done; having drained is a good end."""
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    log = logging.getLogger("uvicorn.error")
    log.setLevel(logging.WARNING)
    log.addFilter(_worth_a_line)


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Whoever sends what is no HTTP hears of it; a line for each would fill the log."""
    return record.msg not in ("Invalid HTTP request received.", "Unsupported upgrade request.")


def _listen(host: str, port: int) -> socket.socket:
    listening = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        if listening is not None:
            listening.close()
        raise Error(f"cannot listen on {host}, port {port}: {error}; give another --port") from error
    return listening


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
