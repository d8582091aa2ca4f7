"""The server: models, sessions and limits put together, and uvicorn around them."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from ..errors import Error
from ..models import Classifier, LanguageModel
from ..models.base import Model
from ..models.folder import CONFIG
from .app import Api, application
from .batching import Worker
from .guard import Guard
from .limits import Limits
from .metrics import Metrics
from .predicting import Predictor, predictor
from .sessions import Keeping, open_store

TASKS: dict[str, type[Model]] = {model.task: model for model in (LanguageModel, Classifier)}
"""The models that can be served, by the task in their config."""


@dataclass(frozen=True)
class Settings:
    """Where to listen, what to keep sessions in, and what may be asked.

    token: wanted of every client; it must be there where host is not this machine's loopback.
    drain: seconds that requests in progress have to end after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    sessions: str = "memory:"
    token: str | None = None
    drain: float = 20.0
    keeping: Keeping = field(default_factory=Keeping)
    limits: Limits = field(default_factory=Limits)


def load(folders: Sequence[Path]) -> list[Predictor]:
    """The models in the folders, each named as its folder; raises Error for what cannot be served."""
    found: dict[str, Predictor] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in found:
            name = f"{name}-{len(found) + 1}"
        found[name] = predictor(name, _model(folder))
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
    predictors = load(folders)
    listening = _listen(settings.host, settings.port)
    with listening:
        metrics = Metrics()
        store = open_store(settings.sessions, settings.keeping)
        worker = Worker(store, metrics, settings.limits.batch)
        api = Api(predictors, worker, settings.limits, metrics)
        guard = Guard(application(api), settings.limits, metrics, settings.token, local)
        config = uvicorn.Config(
            guard,
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=int(max(5, settings.limits.patience)),
            timeout_graceful_shutdown=int(settings.drain),
        )
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        server = _Server(config, settings.limits.patience, lambda: started(f"http://{shown}:{port}"))
        _end_quietly()
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            pass
        finally:
            if not worker.ended:
                worker.stop()


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and hangs up on those who connect and do not ask."""

    def __init__(self, config: uvicorn.Config, patience: float, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._patience, self._said = patience, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._said()

    async def main_loop(self) -> None:
        async with _task(self._hang_up()):
            await super().main_loop()

    async def _hang_up(self) -> None:
        """uvicorn waits for ever for the first line of a request, or the rest of one; this does not."""
        before: dict[Any, object] = {}
        while True:
            await asyncio.sleep(self._patience)
            connections: list[Any] = list(self.server_state.connections)
            idle: dict[Any, object] = {
                connection: connection.cycle
                for connection in connections
                if connection.cycle is None or connection.cycle.response_complete
            }
            for connection, cycle in idle.items():
                if connection in before and before[connection] is cycle:
                    connection.transport.close()
            before = idle


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
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _model(folder: Path) -> Any:
    try:
        task = json.loads((folder / CONFIG).read_bytes()).get("task")
    except (OSError, ValueError, AttributeError):
        task = None  # the loading below says better what is wrong
    if task is not None and task not in TASKS:
        raise Error(f"{folder} holds a model for {task!r}; wanted one of {', '.join(TASKS)}")
    return TASKS[task or LanguageModel.task].load(folder)


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
