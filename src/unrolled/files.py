"""Files written beside their place and renamed into it, so that a failure leaves what was there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import Error


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Error(
            f"cannot write {place}: {error.strerror or error}; nothing there was changed: "
            f"free some space or choose another place"
        ) from error


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files into the folder (made if it is missing): all of them to the disk first, then
    each renamed into its place. Raises Error, with the old files whole, when they do not fit."""
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        written: list[tuple[str, Path]] = []
        try:
            for name, content in files.items():
                written.append((_beside(folder, content), folder / name))
            for temporary, place in written:
                Path(temporary).replace(place)
            _sync(folder)
        finally:
            for temporary, _ in written:
                Path(temporary).unlink(missing_ok=True)


@contextmanager
def writing(place: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece, for what should not be in memory at once; it is in its place when
    the block ends. Raises Error, with the old file whole, when it does not fit or the block fails."""
    with _explained(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with _new_beside(place.parent) as (file, name):
            yield file
        try:
            Path(name).replace(place)
        finally:
            Path(name).unlink(missing_ok=True)
        _sync(place.parent)


def check_writable(folder: Path) -> None:
    """Raises Error if files cannot be made in the folder; makes the folder if it is missing."""
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        Path(_beside(folder, b" ")).unlink()


def _beside(folder: Path, content: bytes) -> str:
    with _new_beside(folder) as (file, name):
        file.write(content)
    return name


@contextmanager
def _new_beside(folder: Path) -> Iterator[tuple[BinaryIO, str]]:
    """A new file in the folder to write to, on the disk when the block ends, gone if it fails."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, name
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes a file for its owner alone; a model is for whom the umask lets read it.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    """Makes the renames last through a power cut, where the system can (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
