"""What the server counts, in the text format of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)


class Metrics:
    """Counters since the server began."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.active = 0
        self.streams = 0
        self._seconds: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()
        self._batches = self._rows = self._symbols = 0

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts a request that was answered."""
        self.requests[route, status] += 1
        buckets = self._seconds.setdefault(route, [0] * (len(_SECONDS) + 1))
        buckets[bisect_left(_SECONDS, seconds)] += 1
        self._sums[route] += seconds  # type: ignore[assignment]

    def batch(self, rows: int, symbols: int) -> None:
        """Counts a batch."""
        self._batches += 1
        self._rows += rows
        self._symbols += symbols

    def text(self, gauges: dict[str, float]) -> str:
        """Everything as text, with some values of the moment."""
        lines = ["# TYPE unrolled_requests_total counter"]
        lines += [
            f'unrolled_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in sorted(self.requests.items())
        ]
        lines.append("# TYPE unrolled_request_seconds histogram")
        for route, buckets in sorted(self._seconds.items()):
            total = 0
            for bound, count in zip((*map(str, _SECONDS), "+Inf"), buckets, strict=True):
                total += count
                lines.append(f'unrolled_request_seconds_bucket{{route="{route}",le="{bound}"}} {total}')
            lines.append(f'unrolled_request_seconds_sum{{route="{route}"}} {self._sums[route]:.6f}')
            lines.append(f'unrolled_request_seconds_count{{route="{route}"}} {total}')
        counters = {"batches": self._batches, "rows": self._rows, "symbols": self._symbols}
        for name, value in counters.items():
            lines += [f"# TYPE unrolled_{name}_total counter", f"unrolled_{name}_total {value}"]
        now = {"requests_in_progress": self.active, "streams": self.streams, **gauges}
        for name, value in now.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# TYPE unrolled_{name} {kind}", f"unrolled_{name} {value:g}"]
        return "\n".join(lines) + "\n"
