"""Files written beside their place and renamed into it, so that a failure leaves what was there.

What a killed process leaves beside is removed by `sweep`. Nobody can ask it, so each file is locked while
it is written: the system takes the lock away with the process.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import Error

if os.name == "posix":
    import fcntl

PREFIX, SUFFIX = ".unrolled-", ".partial"
"""How the name of a file that is not in its place yet begins and ends."""


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))
        raise Error(
            f"cannot write {place}: {error.strerror or error}; nothing there was changed: "
            f"{'free some space or ' if full else ''}choose another place"
        ) from error


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files into the folder (made if it is missing): all of them to the disk first, then
    each renamed into its place. Raises Error, with the old files whole, when they do not fit."""
    with _explained(folder), ExitStack() as held:
        folder.mkdir(parents=True, exist_ok=True)
        written: list[tuple[Path, Path]] = []
        for name, content in files.items():
            temporary = held.enter_context(_beside(folder))
            with _filling(temporary) as file:
                file.write(content)
            written.append((temporary, folder / name))
        for temporary, place in written:
            temporary.replace(place)
        _sync(folder)


@contextmanager
def writing(place: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece, for what should not be in memory at once; it is in its place when
    the block ends. Raises Error, with the old file whole, when it does not fit or the block fails."""
    with _explained(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with _beside(place.parent) as temporary:
            with _filling(temporary) as file:
                yield file
            temporary.replace(place)
        _sync(place.parent)


def check_writable(folder: Path) -> None:
    """Raises Error if files cannot be made in the folder; makes the folder if it is missing, and removes
    what killed processes left in it."""
    if folder.is_file():
        raise Error(f"cannot write {folder}: it is a file; wanted a folder")
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _beside(folder) as temporary, _filling(temporary) as file:
            file.write(b" ")
    sweep(folder)


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Within the block nobody else holds the folder, which is there; raises Error, with `what` they are at,
    if another process does. The system ends it with the process. Where there are no locks (on Windows, and
    on some disks of other machines) nobody is kept out."""
    if os.name != "posix":
        yield
        return
    with _explained(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Error(f"{what} in {folder}; wait for its end, or choose another folder") from error
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EINVAL, errno.ENOLCK):
                raise
        yield
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Removes the files in the folder whose writer was killed; those that are still written stay, and all
    of them where the system has no locks (on Windows, and on some disks of other machines)."""
    if os.name != "posix":
        return
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        # Locked by its writer, in its place by now, or of another user: none of these is left over.
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A new file in the folder, which no sweep takes until the block ends; then it is gone, if it was not
    renamed."""
    handle, temporary = _locked(folder)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def _locked(folder: Path) -> tuple[int | None, Path]:
    """A new file, and what its lock ends with when it is closed."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=PREFIX, suffix=SUFFIX)
        if os.name != "posix":
            os.close(handle)  # an open file could not be renamed there
            return None, Path(name)
        with suppress(OSError):  # a disk without locks, where nothing is swept
            fcntl.flock(handle, fcntl.LOCK_EX)
        if Path(name).exists():
            return handle, Path(name)
        os.close(handle)  # swept away before it was locked


@contextmanager
def _filling(path: Path) -> Iterator[BinaryIO]:
    """The file to write to, on the disk when the block ends."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    # mkstemp makes a file for its owner alone; a model is for whom the umask lets read it.
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def _sync(folder: Path) -> None:
    """Makes the renames last through a power cut, where the system can (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
