"""What a run used of the machine, as far as the system tells."""

from __future__ import annotations

import sys
import time

import torch

_TAKEN, _SHARE = 100.0, 0.8
"""Times a second that cores were taken from the process, and the part of its threads' time that it has:
nearly all where nobody else is, for threads wait for each other without sleeping."""


def memory(device: torch.device) -> int:
    """The most bytes that the process held, on a GPU that the GPU did; 0 where it cannot be told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = _counted("ru_maxrss")
    return most if sys.platform == "darwin" else most * 1024


class Crowd:
    """Whether other programs want the same cores, since this was made."""

    def __init__(self) -> None:
        self._begin = _now()

    def there(self) -> bool:
        """Up to now; False where it cannot be told."""
        seconds, own, taken = (b - a for a, b in zip(self._begin, _now(), strict=True))
        return taken > _TAKEN * seconds and own < _SHARE * seconds * torch.get_num_threads()


def _now() -> tuple[float, float, float]:
    return time.perf_counter(), time.process_time(), _counted("ru_nivcsw")


def _counted(what: str) -> int:
    """What the system counts of this process; 0 where it does not."""
    if sys.platform == "win32":
        return 0
    import resource

    return getattr(resource.getrusage(resource.RUSAGE_SELF), what)
