"""What computes: all that has arrived by the time the last batch is through is read as the next one."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from .limits import Refused
from .metrics import Metrics
from .rows import CHUNK, GeneratedRow, Row, StepRow, Tell, TextRow, read
from .sessions import Store, StoreFailed

WHOLE = 20_000
"""The most symbols of whole texts in one batch, one text at least."""

SHORT = 0.010
"""Seconds of computing, estimated, up to which a batch is read in the event loop."""

log = logging.getLogger("unrolled.serve")


class _Call(NamedTuple):
    """A function of the store, whom to tell what it returned, and whether it may wait for a disk."""

    function: Callable[[], Any]
    tell: Tell
    slow: bool


class Worker:
    """Reads rows in batches, and alone touches the store and the models.

    A turn takes every row that waits (one of a session at a time, in the order of arrival), reads up
    to CHUNK symbols of each, keeps the sessions that are through in one transaction, and only then
    tells. One turn at a time: a short one in the event loop itself, since handing it to a thread and
    back takes longer than many a batch; a long one, and all that waits for a network, in a thread, so
    that the loop goes on.
    """

    def __init__(self, store: Store, metrics: Metrics, most: int) -> None:
        self.store = store
        self._metrics, self._most = metrics, most
        self._texts: list[TextRow] = []
        self._arrived: deque[Row | TextRow | _Call] = deque()
        self._waiting: list[Row] = []
        self._active: list[Row] = []
        self._told: list[tuple[Tell, Any]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, "unrolled-worker")
        self._busy = False
        self.ended = False

    def start(self) -> None:
        """Begins; called in the event loop, which alone calls the other methods."""
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Ends the thread and closes the store."""
        self.ended = True
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """As `stop`, where no event loop runs (any more)."""
        self.ended = True
        self._thread.shutdown()
        self.store.close()

    def submit(self, row: Row | TextRow) -> None:
        """Gives a row to the next batch."""
        self._arrived.append(row)
        self._next()

    async def call(self, function: Callable[[], Any], *, slow: bool = False) -> Any:
        """Runs a function of the store between two batches; slow: one that may wait for a disk."""
        future, tell = promise()
        self._arrived.append(_Call(function, tell, slow))
        self._next()
        return await future

    def _next(self) -> None:
        """One turn more, after all that has arrived at the sockets with what began this one."""
        if self._loop is None or self.ended:
            raise Refused(503, "the server is ending", "try again in a moment")
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        assert self._loop is not None  # noqa: S101 -- for the type checker: _next has looked
        if self.ended:
            return
        if self._is_short():
            self._turn()
            self._end_turn()
        else:
            self._loop.run_in_executor(self._thread, self._turn).add_done_callback(self._end_turn)

    def _end_turn(self, turn: object = None) -> None:
        told, self._told = self._told, []
        for tell, result in told:
            tell(result)
        self._busy = False
        if self._arrived or self._active or self._waiting or self._texts:
            self._next()

    def _is_short(self) -> bool:
        if self.store.remote:
            return False
        left = SHORT
        for item in (*self._arrived, *self._active, *self._waiting, *self._texts):
            if isinstance(item, _Call):
                left -= SHORT if item.slow else 0.0
            elif isinstance(item, TextRow):
                left -= len(item.text) * item.reader.cost
            else:
                left -= min(item.left, CHUNK) * item.reader.cost
        return left > 0

    def _turn(self) -> None:
        try:
            self._take()
            if self._active:
                self._round()
            if self._texts:
                self._whole()
        except Exception as error:
            # Whatever it was, those who wait must hear of it and the next turn must come.
            log.exception("a batch failed")
            self._fail(self._active, error)
            self._active = []

    def _take(self) -> None:
        while self._arrived:
            item = self._arrived.popleft()
            if isinstance(item, Row):
                self._waiting.append(item)
                continue
            if isinstance(item, TextRow):
                self._texts.append(item)
                continue
            try:
                self._told.append((item.tell, item.function()))
            except Exception as error:
                self._told.append((item.tell, _refusal(error)))
        busy = {row.id for row in self._active if isinstance(row, StepRow)}
        waiting, begun = [], []
        for row in self._waiting:
            if row.dropped:
                continue
            if len(self._active) + len(begun) >= self._most:
                waiting.append(row)
            elif not isinstance(row, StepRow):
                begun.append(row)
            elif row.id in busy:
                waiting.append(row)
            else:
                busy.add(row.id)
                begun.append(row)
        self._waiting = waiting
        if begun:
            self._active += self._begin(begun)

    def _begin(self, rows: list[Row]) -> list[Row]:
        """Gives the rows of sessions their states; those without a session hear so."""
        steps = [row for row in rows if isinstance(row, StepRow)]
        if not steps:
            return rows
        try:
            sessions = self.store.get([row.id for row in steps])
        except Exception as error:
            self._fail(steps, error)
            return [row for row in rows if not isinstance(row, StepRow)]
        gone = set()
        for row, session in zip(steps, sessions, strict=True):
            if session is None or session.model != row.reader.fingerprint:
                gone.add(row)
                self._told.append((row.tell, no_session()))
            else:
                row.begin(session)
        return [row for row in rows if row not in gone]

    def _round(self) -> None:
        self._active = [row for row in self._active if not row.dropped]
        done: list[tuple[StepRow, Any]] = []
        on: list[Row] = []
        for reader in dict.fromkeys(row.reader for row in self._active):
            rows = [row for row in self._active if row.reader is reader]
            results, symbols = read(reader, rows)
            self._metrics.batch(len(rows), symbols)
            for row, result in zip(rows, results, strict=True):
                if isinstance(result, Refused):
                    self._told.append((row.tell, result))
                elif result is None:
                    on.append(row)
                elif isinstance(row, StepRow):
                    done.append((row, result))
                else:
                    self._told.append((row.tell, result))
                    if isinstance(row, GeneratedRow):
                        if row.length:
                            on.append(row)
                        else:
                            self._told.append((row.tell, None))
        self._active = on
        self._keep(done)

    def _whole(self) -> None:
        """Reads some whole texts of one model, of like lengths."""
        rows = [row for row in self._texts if not row.dropped]
        if not rows:
            self._texts = []
            return
        first, size, taken = rows[0], 0, []
        for row in rows:
            if row.reader is not first.reader or len(taken) == self._most:
                continue
            size += len(row.text)
            if taken and size > WHOLE:
                break
            taken.append(row)
        chosen = set(taken)
        self._texts = [row for row in rows if row not in chosen]
        try:
            answers = first.reader.whole([row.text for row in taken], [row.top for row in taken])
        except Exception as error:
            self._fail(taken, error)
            return
        self._metrics.batch(len(taken), size)
        self._told += [(row.tell, answer) for row, answer in zip(taken, answers, strict=True)]

    def _keep(self, done: Sequence[tuple[StepRow, Any]]) -> None:
        if not done:
            return
        try:
            kept = self.store.put([(row.id, row.before, row.after) for row, _ in done if row.before])
        except Exception as error:
            self._fail([row for row, _ in done], error)
            return
        for (row, answer), there in zip(done, kept, strict=True):
            if there:
                self._told.append((row.tell, answer))
            else:
                # Another server read on from it, or it ended: begin again from what is there now.
                self._waiting.insert(0, row)

    def _fail(self, rows: Sequence[Row | TextRow], error: Exception) -> None:
        refusal = _refusal(error)
        self._told += [(row.tell, refusal) for row in rows]


def promise() -> tuple[asyncio.Future[Any], Tell]:
    """A future, and what settles it."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def tell(result: Any) -> None:
        if future.done():
            return
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    return future, tell


def no_session() -> Refused:
    """What a client hears of a session that is not there."""
    return Refused(404, "there is no such session", "open one with POST /v1/sessions; idle ones end")


def _refusal(error: Exception) -> Exception:
    if isinstance(error, StoreFailed):
        log.error("%s", error)
        return Refused(503, "the sessions cannot be reached", "try again in a moment")
    return error
