"""Sessions: what is kept between two symbols, and what any place that keeps them must do."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..errors import Error


class Session(NamedTuple):
    """model: the fingerprint of the one that reads; symbols: how many it read; state: after the last."""

    model: str
    symbols: int
    state: bytes


@dataclass(frozen=True)
class Keeping:
    """most: how many sessions live at once; idle: seconds without a symbol after which one ends."""

    most: int = 10_000
    idle: float = 86_400.0


class StoreFailed(Exception):  # noqa: N818
    """The place of the sessions could not be read or written just now."""


class Store(Protocol):
    """Where sessions live. Every call is one transaction, kept when it returns; one call at a time, but for
    `settle`."""

    remote: bool
    """Whether a call waits for a network."""
    evicted: int
    """How many gave way to newer ones."""
    expired: int
    """How many were idle for too long."""

    def create(self, new: Sequence[tuple[str, Session]]) -> None:
        """Keeps new sessions; where there are too many the ones that were idle longest end."""
        ...

    def get(self, ids: Sequence[str]) -> list[Session | None]:
        """The sessions; None for one that is not there."""
        ...

    def put(self, changes: Sequence[tuple[str, Session, Session]]) -> list[bool]:
        """Replaces (id, before, after); False where the session is gone or no longer as before."""
        ...

    def delete(self, ids: Sequence[str]) -> list[bool]:
        """Ends sessions; False for one that was not there."""
        ...

    def settle(self) -> None:
        """Does what may take long, in a thread beside the other calls; a sweep comes after it."""
        ...

    def sweep(self) -> None:
        """Ends those that were idle for too long."""
        ...

    def count(self) -> int:
        """How many there are."""
        ...

    def close(self) -> None:
        """Lets go of the place."""
        ...


def new_id() -> str:
    """A name that nobody can guess: 128 random bits."""
    return secrets.token_urlsafe(16)


def open_store(place: str, keeping: Keeping) -> Store:
    """The store at sqlite:///FILE, redis://HOST[:PORT][/NUMBER] or memory: (gone with the process)."""
    from .sqlite import SQLiteStore

    if keeping.most < 1 or keeping.idle <= 0:
        raise Error(f"sessions: at most {keeping.most}, idle for {keeping.idle} s; wanted both above 0")
    if place == "memory:":
        return SQLiteStore(None, keeping)
    if place.startswith("sqlite:///") and len(place) > len("sqlite:///"):
        return SQLiteStore(place.removeprefix("sqlite:///"), keeping)
    if place.startswith(("redis://", "rediss://", "unix://")):
        from .redis import RedisStore

        return RedisStore(place, keeping)
    raise Error(
        f"sessions {place!r}: wanted sqlite:///FILE (sqlite:////FILE for a path from the root), "
        f"redis://HOST:PORT/NUMBER, or memory:"
    )
