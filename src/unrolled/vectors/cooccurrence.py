"""How often words stand near each other, counted within a limit of memory; beyond it runs on disk."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import IO

import numpy as np

from .corpus import SEPARATOR, Encoded, temporary

RECORD = np.dtype([("word", np.int32), ("context", np.int32), ("count", np.float32)])
"""A pair of words and how often they stand near each other; what trains on it."""

_RUN = np.dtype([("key", np.uint64), ("count", np.float64)])
_PIECE = 100_000


def count(
    corpus: Encoded, window: int, memory: int, threads: int, seed: int, report: Callable[[float], None]
) -> np.ndarray:
    """(pairs,) RECORD, mapped from a temporary file, in random order: X_ij = Σ 1/distance over the
    occurrences of j within `window` of i, in a sentence, to either side (so X is symmetric; both X_ij and
    X_ji are there).

    memory: bytes for the tables of counts and for merging them; what does not fit is sorted, written to
    a temporary file and merged at the end.
    """
    with ExitStack() as stack:
        spill = stack.enter_context(temporary())
        runs = _Runs(spill)
        ends = np.linspace(0, len(corpus.tokens), threads + 1).astype(np.int64)
        done = [0] * threads

        stop = threading.Event()

        def work(part: int) -> None:
            tables = memory // threads
            for position in _count_part(corpus.tokens, ends[part], ends[part + 1], window, tables, runs):
                done[part] = position
                if stop.is_set():
                    return

        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(work, part) for part in range(threads)]
            try:
                while wait(futures, 0.2).not_done:
                    report(sum(done) / len(corpus.tokens))
            finally:
                stop.set()
        for future in futures:
            future.result()
        report(1.0)
        return _shuffled(runs.merged(memory), 2 * runs.total, memory, seed, stack)


class _Runs:
    """Sorted runs of (key, count), one after another in a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.lengths: list[int] = []
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """Entries of all runs."""
        return sum(self.lengths)

    def add(self, keys: np.ndarray, counts: np.ndarray) -> None:
        run = np.empty(len(keys), dtype=_RUN)
        order = np.argsort(keys)
        run["key"], run["count"] = keys[order], counts[order]
        with self._lock:
            self.file.write(run.tobytes())
            self.lengths.append(len(run))

    def merged(self, memory: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(keys, counts) in the order of the keys, each key once, piece by piece."""
        self.file.flush()
        if not self.total:
            return
        whole = np.memmap(self.file, dtype=_RUN, mode="r")
        ends = np.cumsum(self.lengths)
        places = ends - self.lengths
        step = max(1, memory // (64 * len(self.lengths)))
        while (places < ends).any():
            open_runs = [(p, min(p + step, e), e) for p, e in zip(places, ends, strict=True) if p < e]
            # Below the smallest key that ends an unfinished piece, all that there is lies in the pieces.
            bound = min((whole["key"][stop - 1] for _, stop, end in open_runs if stop < end), default=None)
            parts = []
            for r in np.flatnonzero(places < ends):
                piece = whole[places[r] : min(places[r] + step, ends[r])]
                if bound is not None:
                    piece = piece[: np.searchsorted(piece["key"], bound, side="right")]
                places[r] += len(piece)
                parts.append(piece)
            together = np.concatenate(parts)
            together = together[np.argsort(together["key"], kind="stable")]
            keys = together["key"]
            firsts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
            yield keys[firsts], np.add.reduceat(together["count"], firsts)


def _count_part(
    tokens: np.ndarray, begin: int, end: int, window: int, memory: int, runs: _Runs
) -> Iterator[int]:
    """Counts the pairs whose second word is in tokens[begin:end]; yields how many tokens are done."""
    from .weighted_least_squares import count_pairs

    # Half for the table of 16 bytes a slot, half for sorting what is in it.
    most = 3 * ((end - begin) * window + window) // 2
    slots = 1 << max(12, min(int(math.log2(max(1, memory // 32))), math.ceil(math.log2(max(1, most)))))
    keys, counts = np.zeros(slots, dtype=np.uint64), np.zeros(slots)
    limit, filled, position = slots * 2 // 3, 0, begin
    while position < end:
        stop = min(position + _PIECE, end)
        # A window that began in the part before is read again; its pairs belong to its second word.
        back = max(0, position - window)
        reached, filled = count_pairs(
            tokens[back:stop], position - back, window, keys, counts, filled, limit
        )
        position = back + reached
        if position < stop or (position == end and filled):
            used = np.flatnonzero(keys)
            runs.add(keys[used] - np.uint64(1), counts[used])
            keys[:], counts[:], filled = 0, 0, 0
        yield position - begin


def _shuffled(
    pieces: Iterator[tuple[np.ndarray, np.ndarray]], most: int, memory: int, seed: int, stack: ExitStack
) -> np.ndarray:
    """The pairs in both orders, in random order: dealt to files that fit into memory, each then mixed."""
    random = np.random.default_rng(seed)
    hands = max(1, -(-most * RECORD.itemsize * 3 // memory))
    dealt = [stack.enter_context(temporary()) for _ in range(hands)]
    for keys, counts in pieces:
        first, second = (
            (keys >> np.uint64(32)).astype(np.int32),
            (keys & np.uint64(0xFFFFFFFF)).astype(np.int32),
        )
        mirrored = first != second
        records = np.empty(len(keys) + int(mirrored.sum()), dtype=RECORD)
        records["word"] = np.concatenate((first, second[mirrored]))
        records["context"] = np.concatenate((second, first[mirrored]))
        # A word near itself is so to the left of one and to the right of the other.
        records["count"] = np.concatenate((np.where(mirrored, counts, 2 * counts), counts[mirrored]))
        hand = random.integers(hands, size=len(records))
        for number, file in enumerate(dealt):
            file.write(records[hand == number].tobytes())
    with temporary() as file:
        for hand in dealt:
            hand.seek(0)
            records = np.frombuffer(hand.read(), dtype=RECORD)
            file.write(records[random.permutation(len(records))].tobytes())
            hand.truncate(0)
        file.flush()
        return np.memmap(file, dtype=RECORD, mode="r") if file.tell() else np.empty(0, dtype=RECORD)


def plain_counts(corpus: Encoded, window: int) -> dict[tuple[int, int], float]:
    """The same in a dictionary, {(word, context): count}: what the tests hold it against."""
    found: dict[tuple[int, int], float] = {}
    tokens = corpus.tokens.tolist()
    for i, word in enumerate(tokens):
        for distance in range(1, window + 1):
            if word == SEPARATOR or i < distance or tokens[i - distance] == SEPARATOR:
                break
            for pair in ((word, tokens[i - distance]), (tokens[i - distance], word)):
                found[pair] = found.get(pair, 0.0) + 1 / distance
    return found
