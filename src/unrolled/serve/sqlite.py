"""Sessions in one SQLite file, written through from memory."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..errors import Error
from .sessions import Keeping, Session, StoreFailed

_APPLICATION, _FORMAT = 0x756E726C, 1
_SCHEMA = """
CREATE TABLE session (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, model TEXT NOT NULL,
    symbols INTEGER NOT NULL, used REAL NOT NULL, state BLOB NOT NULL)
"""


class _Kept(NamedTuple):
    key: int
    used: float
    session: Session


class SQLiteStore:
    """Keeps every session in memory, the one idle longest first, and each change in the file.

    The file is in WAL mode with synchronous=NORMAL: what `put` returned from survives the end of the
    process however it ends; a power cut may take the last moments, never the file. One process at a
    time uses a file, and holds FILE-lock to show it. file None: memory alone.
    """

    remote = False

    def __init__(self, file: str | None, keeping: Keeping) -> None:
        self._keeping = keeping
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._models: dict[str, str] = {}
        self.evicted = self.expired = 0
        self._settling = threading.Lock()
        self._unsettled = False
        self._database = self._beside = self._lock = None
        self._next = 1
        if file is not None:
            try:
                self._begin(Path(file))
            except BaseException:
                self.close()
                raise

    def _begin(self, path: Path) -> None:
        """Reads the file; raises Error if it is damaged, or something else."""
        self._lock = _hold(path)
        try:
            self._database = _open(path)
            self._beside = _connect(path)
            rows = self._database.execute(
                "SELECT id, key, used, model, symbols, state FROM session ORDER BY used"
            )
            for id, key, used, model, symbols, state in rows:
                session = Session(self._models.setdefault(model, model), symbols, state)
                self._kept[id] = _Kept(key, used, session)
            self._next = 1 + max((kept.key for kept in self._kept.values()), default=0)
            self._end_overdue()
        except (sqlite3.DatabaseError, StoreFailed, OSError) as error:
            raise _unusable(path, error) from error

    def create(self, new: Sequence[tuple[str, Session]]) -> None:
        """Keeps new sessions."""
        now, rows, kept = time.time(), [], {}
        for key, (id, session) in enumerate(new, self._next):
            kept[id] = _Kept(key, now, session)
            rows.append((key, id, session.model, session.symbols, now, session.state))
        self._many("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._kept |= kept
        self._next += len(rows)
        self._end_overdue()

    def get(self, ids: Sequence[str]) -> list[Session | None]:
        """The sessions, None where there is none."""
        oldest = time.time() - self._keeping.idle
        found = []
        for id in ids:
            kept = self._kept.get(id)
            found.append(kept.session if kept is not None and kept.used >= oldest else None)
        return found

    def put(self, changes: Sequence[tuple[str, Session, Session]]) -> list[bool]:
        """Replaces those that are as they were read."""
        now, rows, new, done = time.time(), [], {}, []
        for id, before, after in changes:
            kept = self._kept.get(id)
            fits = kept is not None and kept.session.symbols == before.symbols
            done.append(fits)
            if kept is not None and fits:
                rows.append((after.symbols, now, after.state, kept.key))
                new[id] = _Kept(kept.key, now, after)
        # The file first: where it cannot be written, memory must not be ahead of it.
        self._many("UPDATE session SET symbols = ?, used = ?, state = ? WHERE key = ?", rows)
        for id, kept in new.items():
            self._kept[id] = kept
            self._kept.move_to_end(id)
        return done

    def delete(self, ids: Sequence[str]) -> list[bool]:
        """Ends sessions."""
        gone = [self._kept.get(id) for id in ids]
        self._drop(kept.key for kept in gone if kept is not None)
        for id in ids:
            self._kept.pop(id, None)
        return [kept is not None for kept in gone]

    def settle(self) -> None:
        """Moves what the write-ahead log holds into the file, by a connection of its own: a disk takes its
        time to keep it, and changes go on meanwhile."""
        with self._settling, _explained():
            if self._beside is not None and self._unsettled:
                self._beside.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def sweep(self) -> None:
        """Ends the overdue, and moves the rest of the log, which has grown little since `settle`: only one
        that is moved to its end begins anew, and so does not grow for ever."""
        self._end_overdue()
        if self._database is not None and self._unsettled:
            self._unsettled = False
            with _explained():
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def count(self) -> int:
        """How many there are."""
        return len(self._kept)

    def close(self) -> None:
        """Closes the file."""
        with self._settling:
            for one in (self._beside, self._database, self._lock):
                if one is not None:
                    one.close()
            self._beside = None

    def _end_overdue(self) -> None:
        oldest, keys = time.time() - self._keeping.idle, []
        while self._kept:
            id, kept = next(iter(self._kept.items()))
            too_many = len(self._kept) > self._keeping.most
            if not too_many and kept.used >= oldest:
                break
            if kept.used < oldest:
                self.expired += 1
            else:
                self.evicted += 1
            del self._kept[id]
            keys.append(kept.key)
        self._drop(keys)

    def _drop(self, keys: Iterable[int]) -> None:
        self._many("DELETE FROM session WHERE key = ?", [(key,) for key in keys])

    def _many(self, statement: str, rows: Sequence[tuple]) -> None:
        if self._database is None or not rows:
            return
        self._unsettled = True
        with _explained():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(statement, rows)
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreFailed(f"the sessions' file: {error}") from error


def _hold(path: Path) -> sqlite3.Connection:
    """The right to use the file, until it is closed or the process ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(f"{path}-lock", timeout=0, isolation_level=None, check_same_thread=False)
        lock.execute("PRAGMA journal_mode = MEMORY")
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise Error(
                f"{path} is in use by another server; give this one another file, or share sessions "
                f"between servers with --sessions redis://…"
            ) from error
        raise _unusable(path, error) from error
    except (sqlite3.DatabaseError, OSError) as error:
        raise _unusable(path, error) from error
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA synchronous = NORMAL")
    # The log is moved by `settle`; at a commit only where that has failed for long.
    database.execute("PRAGMA wal_autocheckpoint = 200000")
    return database


def _open(path: Path) -> sqlite3.Connection:
    # Made by hand so that only its owner reads it: a state tells something of what was typed.
    path.touch(mode=0o600)
    database = _connect(path)
    try:
        database.execute("PRAGMA page_size = 1024")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")
        _check(database)
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _unusable(path: Path, error: Exception) -> Error:
    return Error(f"cannot open {path} for sessions: {error}; give another --sessions, or take it away")


def _check(database: sqlite3.Connection) -> None:
    application = database.execute("PRAGMA application_id").fetchone()[0]
    version = database.execute("PRAGMA user_version").fetchone()[0]
    tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if (application, version, tables) == (0, 0, 0):
        database.execute(_SCHEMA)
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {_FORMAT}")
    elif (application, version) != (_APPLICATION, _FORMAT):
        raise sqlite3.DatabaseError("it is a database of something else, or of a newer unrolled")
