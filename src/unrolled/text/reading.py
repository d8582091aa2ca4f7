"""The text of a file, block by block or line by line, unpacked and checked on the way."""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import Error

Report = Callable[[int, int], None]
"""Called with how many bytes were read so far (of a .gz: packed ones) and how many there are."""

BLOCK = 1 << 20
BYTE_ORDER_MARK = codecs.BOM_UTF8
GZIP = b"\x1f\x8b"
"""How a packed file begins."""


def read_blocks(path: str | Path, report: Report | None = None) -> Iterator[str]:
    """The text of a UTF-8 file, or of one packed with gzip, in blocks of about a million characters.

    The blocks joined are the text, to the character: no line end is translated; only a byte order mark
    at the beginning is left out. Raises Error if the file cannot be read or is not text.
    """
    place = Path(path)
    decoder = codecs.getincrementaldecoder("utf-8")()
    read, characters = 0, 0
    for content in _content(place, report):
        mark = len(BYTE_ORDER_MARK) if not read and content.startswith(BYTE_ORDER_MARK) else 0
        begin = read + mark - len(decoder.getstate()[0])
        read += len(content)
        text = _decoded(place, decoder, content[mark:], begin)
        if "\0" in text:
            position = characters + text.index("\0")
            raise Error(f"{place} is not text: it has a NUL character at position {position}")
        characters += len(text)
        if text:
            yield text
    _decoded(place, decoder, b"", read - len(decoder.getstate()[0]), final=True)


def read_lines(path: str | Path, report: Report | None = None) -> Iterator[str]:
    """The lines of a text file, each with the line feed that ends it; see `read_blocks`."""
    begun: list[str] = []
    for block in read_blocks(path, report):
        lines = block.split("\n")
        begun.append(lines[0])
        if len(lines) == 1:
            continue
        yield "".join(begun) + "\n"
        for line in lines[1:-1]:
            yield line + "\n"
        begun = [lines[-1]]
    if last := "".join(begun):
        yield last


def kind(path: str | Path) -> str:
    """The ending that says what a file holds: of `a.tsv` and of `a.tsv.gz` it is `.tsv`."""
    place = Path(path)
    return (place.with_suffix("") if place.suffix == ".gz" else place).suffix.lower()


def _content(place: Path, report: Report | None) -> Iterator[bytes]:
    try:
        with place.open("rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            packed = place.suffix == ".gz" or raw.peek(2)[:2] == GZIP
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
            while content := file.read(BLOCK):
                yield content
                if report is not None:
                    report(raw.tell(), size)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise Error(f"cannot read {place}: {reason}; wanted a text file") from error


def _decoded(
    place: Path, decoder: codecs.IncrementalDecoder, content: bytes, begin: int, final: bool = False
) -> str:
    try:
        return decoder.decode(content, final)
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        raise Error(
            f"{place} is not UTF-8 text (byte {begin + error.start} is 0x{wrong:02x}); "
            f"convert it, for instance with iconv -t utf-8"
        ) from error
