"""A file of text, read whole and checked."""

from __future__ import annotations

from pathlib import Path

from ..errors import Error


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file (a byte order mark at its beginning is left out).

    Raises Error if the file cannot be read, is empty, or is not text.
    """
    place = Path(path)
    try:
        content = place.read_bytes()
    except OSError as error:
        raise Error(f"cannot read {place}: {error.strerror or error}; wanted a text file") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Error(
            f"{place} is not UTF-8 text (byte {error.start} is 0x{content[error.start]:02x}); "
            f"convert it, for instance with iconv -t utf-8"
        ) from error
    if "\0" in text:
        raise Error(f"{place} is not text: it has a NUL character at position {text.index(chr(0))}")
    if not text:
        raise Error(f"{place} is empty; wanted a text to learn from")
    return text
