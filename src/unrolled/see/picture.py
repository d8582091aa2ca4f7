"""One recording as a picture: hidden units by symbols, and the next symbol's probabilities under it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import files
from ..errors import Error
from .record import Recording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Label = Callable[[str], str]
"""From a symbol to what stands for it in a picture."""

SUFFIXES = (".png", ".svg", ".pdf")
LONGEST = 400
"""The most symbols that one picture can show legibly."""

_SHOWN = {"\n": "↵", "\t": "⇥", " ": "␣", "\r": "␍"}
_NUMBERS = 12
"""Up to so many units, each cell carries its number."""


def check_picture(path: str | Path, symbols: int) -> Path:
    """The path, if a picture of so many symbols can be drawn there; raises Error if not."""
    place = Path(path)
    if place.suffix.lower() not in SUFFIXES:
        raise Error(f"{place}: pictures are {', '.join(SUFFIXES)}; give the file one of these endings")
    if symbols > LONGEST:
        raise Error(f"a picture shows at most {LONGEST} symbols legibly; the text has {symbols}: cut it")
    _matplotlib()
    return place


def draw(recording: Recording, path: str | Path, title: str = "", likeliest: int = 5) -> None:
    """Draws the recording into a PNG, SVG or PDF file.

    Above, one row a hidden unit and one column a symbol: the unit's value after it, blue below zero, red
    above. Units that rise and fall together stand side by side. Below, under each symbol, the `likeliest`
    symbols to follow it, shaded by their probability; the one that did follow is framed.
    """
    place = check_picture(path, len(recording.symbols))
    matplotlib = _matplotlib()
    likeliest = min(likeliest, len(recording.vocabulary))
    time, units = recording.hidden.shape
    width = max(6.0, 0.22 * time + 1.6)
    heights = (min(6.0, max(1.2, 0.28 * units)), 0.26 * likeliest + 0.1)
    families, label = _fonts(recording)
    with matplotlib.rc_context({"font.family": families, "svg.fonttype": "path"}):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, sum(heights) + 1.3), layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=heights, sharex=True)
        image = _heat_map(above, recording, label)
        _next_symbols(below, recording, likeliest, label)
        figure.colorbar(image, ax=above, label="value", pad=0.01, fraction=0.03)
        if title:
            figure.suptitle(title, fontsize=10)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=place.suffix[1:].lower(), dpi=150)
    files.write(place.parent, {place.name: buffer.getvalue()})


def _heat_map(axes: Axes, recording: Recording, label: Label) -> Any:
    hidden = recording.hidden
    order = _side_by_side(hidden)
    bound = max(float(hidden.abs().max()), 1e-6)
    image = axes.imshow(
        hidden[:, order].T.numpy(),
        aspect="auto",
        cmap="RdBu_r",
        vmin=-bound,
        vmax=bound,
        interpolation="none",
    )
    axes.set_xticks(range(len(recording.symbols)), [label(s) for s in recording.symbols], fontsize=8)
    axes.tick_params(axis="x", labelbottom=True, length=0)
    axes.set_ylabel(f"{hidden.shape[1]} hidden units")
    if hidden.shape[1] > _NUMBERS:
        axes.set_yticks([])
        return image
    axes.set_yticks(range(len(order)), [str(unit) for unit in order], fontsize=8)
    for row, unit in enumerate(order):
        for t, value in enumerate(hidden[:, unit].tolist()):
            colour = "white" if abs(value) > 0.6 * bound else "black"
            axes.text(t, row, f"{value:.2f}", ha="center", va="center", fontsize=5, color=colour)
    return image


def _next_symbols(axes: Axes, recording: Recording, likeliest: int, label: Label) -> None:
    top = recording.probabilities.topk(likeliest, dim=-1)
    axes.imshow(top.values.T.numpy(), aspect="auto", cmap="Greens", vmin=0, vmax=1, interpolation="none")
    following = [*recording.symbols[1:], None]
    for t, (values, indices) in enumerate(zip(top.values.tolist(), top.indices.tolist(), strict=True)):
        for row, (value, index) in enumerate(zip(values, indices, strict=True)):
            symbol = recording.vocabulary[index]
            axes.text(
                t,
                row,
                label(symbol),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if value > 0.6 else "black",
                bbox={"boxstyle": "square,pad=0.15", "fill": False, "edgecolor": "tab:orange"}
                if symbol == following[t]
                else None,
            )
    axes.set_yticks([])
    axes.set_ylabel("next", fontsize=8)
    axes.set_xlabel(
        "the likeliest symbols to follow, shaded by probability; framed: the one that did", fontsize=8
    )
    axes.tick_params(axis="x", labelbottom=False, length=0)


def _side_by_side(hidden: torch.Tensor) -> list[int]:
    """Units in the order of their angle in the plane of the two strongest directions of variation."""
    units = hidden.shape[1]
    if units <= _NUMBERS or len(hidden) < 3:
        return list(range(units))
    centred = (hidden - hidden.mean(0)).double()
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return torch.atan2(directions[1], directions[0]).argsort().tolist()


def _fonts(recording: Recording) -> tuple[list[str], Label]:
    """Font families that have the recording's symbols between them, and how to label each symbol.

    DejaVu, which matplotlib brings, comes first; a symbol that no installed font has is labelled with
    its code point.
    """
    from matplotlib.font_manager import fontManager, get_font

    wanted = {p for s in (*recording.symbols, *recording.vocabulary) for p in map(ord, s)}
    families: list[str] = []
    fonts = sorted(fontManager.ttflist, key=lambda font: (font.name != "DejaVu Sans", font.name))
    for font in fonts:
        if families and not wanted:
            break
        has = wanted & get_font(font.fname).get_charmap().keys()
        if has or not families:
            families.append(font.name)
            wanted -= has

    def label(symbol: str) -> str:
        if symbol in _SHOWN:
            return _SHOWN[symbol]
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
