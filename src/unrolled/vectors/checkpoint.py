"""A training's state in one file, so that one that was cut off goes on as if it had not been.

The file is safetensors: the matrices, and as metadata a JSON text of the settings and of the position
reached, with a checksum over all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors

from .. import files
from ..errors import Error
from . import packed
from .workers import Report

_DAMAGE = (safetensors.SafetensorError, OSError, ValueError, TypeError, AttributeError, RecursionError)


class Run(Protocol):
    """What can be cut off and go on: its matrices, where it is, and how it is run."""

    position: dict[str, Any]

    def state(self) -> dict[str, np.ndarray]:
        """The arrays that change, by name."""
        ...

    def go(self, tell: Report, every: float = ..., save: Callable[[], None] = ...) -> None:
        """Goes on from the position to the end, or to Ctrl-C, and calls save every so many seconds."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """Where a training keeps its state while it runs.

    place: the file; it stays when the training ends, until `remove` (when the vectors are safe).
    every: seconds between two writings. resume: go on from the state in the file.
    """

    place: Path
    every: float = 300.0
    resume: bool = False

    def check(self) -> None:
        """Raises Error if there is nothing to resume, or what would be lost, or no room to write."""
        if not 0 < self.every < float("inf"):
            raise Error(f"checkpoints every {self.every} seconds; wanted a finite number above 0")
        if self.resume and not self.place.exists():
            raise Error(f"{self.place} is not there, so there is nothing to resume; train without --resume")
        if not self.resume and self.place.exists():
            raise Error(
                f"{self.place} holds an unfinished training; say --resume to go on, or remove the file "
                f"(--overwrite)"
            )
        files.check_writable(self.place.parent)

    def run(self, run: Run, settings: Mapping[str, Any], tell: Report) -> None:
        """Runs to the end or to Ctrl-C, from the state in the file if that is to be resumed.

        settings: what the result depends on. Raises Error if the file is damaged or of other settings.
        """
        if self.resume:
            run.position = self._read(run.state(), settings)

        def save() -> None:
            self._write(run.state(), {"settings": dict(settings), "position": run.position})

        run.go(tell, self.every, save)

    def remove(self) -> None:
        """Removes the file."""
        self.place.unlink(missing_ok=True)

    def _write(self, arrays: dict[str, np.ndarray], data: dict[str, Any]) -> None:
        text = json.dumps(data)
        metadata = {"run": text, "sha256": _checksum(arrays, text)}
        with files.writing(self.place) as file:
            packed.write_tensors(file, arrays, metadata)

    def _read(self, arrays: dict[str, np.ndarray], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Fills the arrays and returns the position."""
        damaged = f"{self.place} is truncated or damaged; remove it and train again"
        try:
            with safetensors.safe_open(self.place, framework="numpy") as opened:
                metadata = opened.metadata() or {}
                data = json.loads(metadata.get("run", "{}"))
                self._compare(data.get("settings", {}), settings)
                for name, array in arrays.items():
                    np.copyto(array, opened.get_tensor(name), casting="no")
        except Error:
            raise
        except _DAMAGE as error:
            raise Error(f"{damaged} ({error})") from error
        if metadata.get("sha256") != _checksum(arrays, metadata["run"]):
            raise Error(f"{damaged}: its checksum does not fit")
        return data["position"]

    def _compare(self, found: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        for name, value in settings.items():
            # Through JSON, as the file's are: a tuple is a list there.
            if found.get(name) != json.loads(json.dumps(value)):
                what = "another text" if name == "corpus" else f"{name} {found.get(name)!r}, not {value!r}"
                raise Error(
                    f"{self.place} is a training with {what}; "
                    f"give what it began with, or remove it and train again"
                )


def _checksum(arrays: Mapping[str, np.ndarray], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        for part in packed.blocks(arrays[name]):
            total.update(part)
    return total.hexdigest()
