"""The machine that a run is on, and what else it was doing."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from ..scan.cpu.machine import machine

_STAT = Path("/proc/stat")


def cpu() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe() -> dict[str, str]:
    """The machine's name, cores, vectors and system."""
    return {
        "cpu": cpu(),
        "cores": f"{os.cpu_count()} cores",
        "vectors": f"vectors of {32 * machine().width} bits",
        "system": platform.system(),
        "python": f"Python {platform.python_version()}",
    }


class Elsewhere:
    """How many cores other processes used, on average, since this was made; None where unknown."""

    def __init__(self) -> None:
        self._begin = _used()

    def cores(self) -> float | None:
        """Up to now."""
        if self._begin is None or (now := _used()) is None:
            return None
        seconds, busy, own = (b - a for a, b in zip(self._begin, now, strict=True))
        return max(0.0, busy - own) / seconds


def _used() -> tuple[float, float, float] | None:
    """Seconds passed, seconds that cores were busy, seconds that this process and its children used."""
    try:
        fields = [int(n) for n in _STAT.read_text().partition("\n")[0].split()[1:9]]
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    busy = (sum(fields) - fields[3] - fields[4]) / tick  # the fourth is idle, the fifth waits for disks
    return time.perf_counter(), busy, sum(os.times()[:4])
