"""Compiled kernels on disk, so that only the first program that needs one compiles it.

A file is named by a digest of all that its code follows from: the package's version and source, the
graph, the processor and LLVM. It holds a digest of its own content too, and is made again when that
does not fit. A folder that cannot be written only costs the time. Of too many kernels (a search among
cells, a package long worked on) those that have not been read for longest go.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from ... import files
from ...errors import Error
from ...version import __version__
from .machine import Machine, assemble, link
from .shape import Shape

_DIGEST = 32
_NAME = re.compile(r"[0-9a-f]{64}\.o")
_MOST = 4096
"""Kernels that are kept, of some 32 KB each; of more, half so many."""


def folder() -> Path:
    """Where the kernels are kept: UNROLLED_CACHE, or the user's own folder for caches."""
    if chosen := os.environ.get("UNROLLED_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", "~"))
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    return base.expanduser() / "unrolled"


@cache
def _sources() -> str:
    """A digest of this package's own code, for whoever works on it between two versions."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def key(kind: str, host: Machine, shape: Shape | None) -> str:
    """The name of a kernel's file."""
    graph = "" if shape is None else shape.graph.key
    # What is kept for the backward follows from the graph.
    rest = "" if shape is None else f"{shape.vectors} {shape.projected} {shape.plan is not None}"
    llvm = importlib.metadata.version("llvmlite")
    text = "\n".join([__version__, _sources(), llvm, sys.platform, str(host), kind, graph, rest])
    return hashlib.sha256(text.encode()).hexdigest()


def library(
    emit: Callable[[], str],
    kind: str,
    names: tuple[str, ...],
    host: Machine,
    shape: Shape | None = None,
    level: int = 2,
) -> dict[str, int]:
    """The addresses of a kernel's functions for such a host, from the disk if it is there whole, else
    compiled; level: with which passes."""
    name = key(kind, host, shape) + ".o"
    code = _read(name)
    if code is None:
        code = assemble(emit(), level)
        _write(name, code)
    return link(code, names)


def _read(name: str) -> bytes | None:
    try:
        content = (folder() / name).read_bytes()
    except (OSError, RuntimeError):  # there may be no home to look in
        return None
    with suppress(OSError):  # another user's, or a disk that is only read
        os.utime(folder() / name)
    digest, code = content[:_DIGEST], content[_DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(name: str, code: bytes) -> None:
    try:
        files.write(folder(), {name: hashlib.sha256(code).digest() + code})
        _thin(folder())
    except (Error, OSError, RuntimeError):
        return  # Only the next program's time is lost.


def _thin(place: Path) -> None:
    """Removes the oldest of too many kernels, and nothing else that lies there."""
    kernels = [e for e in os.scandir(place) if _NAME.fullmatch(e.name) and e.is_file(follow_symlinks=False)]
    if len(kernels) > _MOST:
        kernels.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in kernels[_MOST // 2 :]:
            with suppress(OSError):  # another user's
                Path(entry.path).unlink()
