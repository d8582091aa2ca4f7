"""Sessions in Redis, shared by every server that is given the same address and model."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import Error
from .sessions import Keeping, Session, StoreFailed

_PREFIX = b"unrolled:session:"
_USED = b"unrolled:used"
_HEAD = struct.Struct("<16sQ")
_PUT = """
local value = redis.call('GET', KEYS[1])
if not value or string.sub(value, 1, 24) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[5])
return 1
"""
"""Replaces a session only if it is still as it was read: another server may have read on from it."""


class RedisStore:
    """One key a session (16 bytes of model, 8 of count, then the state), which Redis lets expire, and
    one sorted set of when each was last used. Redis' own settings say what survives its end."""

    remote = True

    def __init__(self, address: str, keeping: Keeping) -> None:
        try:
            import redis
        except ImportError as missing:
            raise Error(
                "sessions in Redis need the package redis: pip install 'unrolled[redis]'"
            ) from missing
        self._failure = redis.RedisError
        self._keeping = keeping
        self.evicted = self.expired = 0
        try:
            self._redis: Any = redis.Redis.from_url(
                address, socket_timeout=5, socket_connect_timeout=5, protocol=2
            )
            self._put = self._redis.register_script(_PUT)
            self._redis.ping()
        except (redis.RedisError, ValueError) as error:
            # Not the address itself: it may hold a password.
            raise Error(f"cannot reach Redis for sessions: {error}; start it or mend --sessions") from error

    def create(self, new: Sequence[tuple[str, Session]]) -> None:
        """Keeps new sessions."""
        now, life = time.time(), int(self._keeping.idle * 1000)
        with self._explained(), self._redis.pipeline() as pipe:
            for id, session in new:
                pipe.set(_PREFIX + id.encode(), _pack(session), px=life)
                pipe.zadd(_USED, {id: now})
            pipe.execute()
        self.sweep()

    def get(self, ids: Sequence[str]) -> list[Session | None]:
        """The sessions, None where there is none."""
        with self._explained():
            return [_unpack(v) for v in self._redis.mget([_PREFIX + id.encode() for id in ids])]

    def put(self, changes: Sequence[tuple[str, Session, Session]]) -> list[bool]:
        """Replaces those that are as they were read."""
        now, life = time.time(), int(self._keeping.idle * 1000)
        with self._explained(), self._redis.pipeline() as pipe:
            for id, before, after in changes:
                keys = [_PREFIX + id.encode(), _USED]
                self._put(keys, [_head(before), _pack(after), life, now, id], client=pipe)
            return [bool(done) for done in pipe.execute()]

    def delete(self, ids: Sequence[str]) -> list[bool]:
        """Ends sessions."""
        with self._explained(), self._redis.pipeline() as pipe:
            for id in ids:
                pipe.delete(_PREFIX + id.encode())
                pipe.zrem(_USED, id)
            return [bool(done) for done in pipe.execute()[::2]]

    def settle(self) -> None:
        """Nothing: Redis sees to its own disk."""

    def sweep(self) -> None:
        """Forgets the names of those that expired, ends those that are too many."""
        with self._explained():
            self.expired += self._redis.zremrangebyscore(_USED, "-inf", time.time() - self._keeping.idle)
            surplus = self._redis.zcard(_USED) - self._keeping.most
            if surplus > 0:
                oldest = [id.decode() for id, _ in self._redis.zpopmin(_USED, surplus)]
                self.evicted += sum(self.delete(oldest))

    def count(self) -> int:
        """How many there are, give or take those that expired since the last sweep."""
        with self._explained():
            return self._redis.zcard(_USED)

    def close(self) -> None:
        """Hangs up."""
        self._redis.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._failure as error:
            raise StoreFailed(f"Redis: {error}") from error


def _head(session: Session) -> bytes:
    return _HEAD.pack(session.model.encode(), session.symbols)


def _pack(session: Session) -> bytes:
    return _head(session) + session.state


def _unpack(value: bytes | None) -> Session | None:
    if value is None or len(value) < _HEAD.size:
        return None
    model, symbols = _HEAD.unpack_from(value)
    return Session(model.decode("ascii", "replace"), symbols, value[_HEAD.size :])
