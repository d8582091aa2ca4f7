"""A recording as a picture in a file: PNG, SVG or PDF."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import files
from ..errors import Error
from .figures import FIGURES, SHOWN, Label, View
from .record import Recording

SUFFIXES = (".png", ".svg", ".pdf")
LONGEST = 400
"""The most symbols that one picture can show legibly."""


def check_picture(path: str | Path, symbols: int = 0, figure: str = "overview") -> Path:
    """The path, if this figure of so many symbols can be drawn there; raises Error if not."""
    place = Path(path)
    if place.suffix.lower() not in SUFFIXES:
        raise Error(f"{place}: pictures are {', '.join(SUFFIXES)}; give the file one of these endings")
    if figure not in FIGURES:
        raise Error(f"figure {figure!r} is not one of {', '.join(FIGURES)}")
    if symbols > LONGEST:
        raise Error(f"a picture shows at most {LONGEST} symbols legibly; the text has {symbols}: cut it")
    _matplotlib()
    return place


def draw(
    recording: Recording,
    path: str | Path,
    title: str = "",
    likeliest: int = 5,
    *,
    figure: str = "overview",
    layer: int = -1,
    unit: int | None = None,
) -> None:
    """Draws one figure of the recording into a PNG, SVG or PDF file.

    figure: "overview" (the hidden units by symbols, and what the model expects after each), "text" (the
        text in the colours of a unit), "next" (surprise, and the `likeliest` next symbols), "states" (the
        units of a layer by symbols), "gates" (a unit's states and gates over time) or "path" (the state in
        two dimensions).
    layer: which of `recording.layers`. unit: which of its units; None: the one that varies most.

    Raises Error for a figure that the recording has no numbers for.
    """
    place = check_picture(path, len(recording.symbols), figure)
    recording.check_finite()
    matplotlib = _matplotlib()
    families, label = _fonts(recording)
    view = View(recording, layer, unit, min(likeliest, len(recording.vocabulary)), label)
    with matplotlib.rc_context({"font.family": families, "svg.fonttype": "path"}):
        drawn = FIGURES[figure](view)
        if title:
            drawn.suptitle(title.replace("$", r"\$"), fontsize=10)
        buffer = io.BytesIO()
        drawn.savefig(buffer, format=place.suffix[1:].lower(), dpi=150)
    files.write(place.parent, {place.name: buffer.getvalue()})


def _fonts(recording: Recording) -> tuple[list[str], Label]:
    return fonts((*recording.symbols, *recording.vocabulary, *recording.labels))


def fonts(symbols: Iterable[str]) -> tuple[list[str], Label]:
    """Font families that have the symbols between them, and how to label each symbol.

    DejaVu, which matplotlib brings, comes first; a symbol that no installed font has is labelled with
    its code point.
    """
    from matplotlib.font_manager import fontManager, get_font

    wanted = {p for s in symbols for p in map(ord, s)}
    families: list[str] = []
    # The last resort has a glyph for everything: a box that says of what kind it is.
    there = [font for font in fontManager.ttflist if not font.name.startswith("Last Resort")]
    fonts = sorted(there, key=lambda font: (font.name != "DejaVu Sans", font.name))
    for font in fonts:
        if families and not wanted:
            break
        has = wanted & get_font(font.fname).get_charmap().keys()
        if has or not families:
            families.append(font.name)
            wanted -= has

    def label(symbol: str) -> str:
        if symbol in SHOWN:
            return SHOWN[symbol]
        if any(ord(c) in wanted or not c.isprintable() for c in symbol):
            return " ".join(f"{ord(c):X}" for c in symbol)
        return symbol.replace("$", r"\$")  # a bare one would begin a formula

    return families, label


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise Error("pictures need matplotlib; install it with: pip install 'unrolled[plot]'") from error
    return matplotlib
