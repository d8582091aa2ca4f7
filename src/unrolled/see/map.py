"""Vectors in two dimensions: a page to look around in, or a picture."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path

import numpy as np

from .. import files
from ..errors import Error
from ..vectors import WordVectors
from .document import script_json
from .picture import _matplotlib, fonts

SUFFIXES = (".html", ".png", ".svg", ".pdf")

LABELS = 250
"""The most words that a picture without hovering names."""


def check_map(path: str | Path) -> Path:
    """The path, if a map can be drawn there; raises Error if not."""
    place = Path(path)
    if place.suffix.lower() not in SUFFIXES:
        raise Error(f"{place}: maps are {', '.join(SUFFIXES)}; give the file one of these endings")
    if place.suffix.lower() != ".html":
        _matplotlib()
    return place


def flat(vectors: WordVectors, words: int) -> tuple[np.ndarray, float]:
    """((words, 2) float32, share): the first `words` vectors, brought to length 1, along the two directions
    in which they vary most (principal components), and the share of their variance that lies in these."""
    if not words >= 3:
        raise Error(f"a map of {words} words says nothing; wanted at least 3")
    rows = vectors.matrix[:words].astype(np.float64)
    if len(rows) < 3:
        raise Error(f"a map of {len(rows)} words says nothing; wanted at least 3")
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    rows -= rows.mean(0)
    variances, directions = np.linalg.eigh(rows.T @ rows)
    directions = directions[:, ::-1][:, :2]
    # A direction and its opposite are the same; the larger part is turned to the right and up.
    directions = directions * np.where(np.abs(directions.max(0)) >= np.abs(directions.min(0)), 1, -1)
    places = rows @ directions
    if places.shape[1] < 2:
        places = np.column_stack((places, np.zeros(len(places))))
    share = variances[::-1][:2].sum() / max(variances.sum(), 1e-30)
    return places.astype(np.float32), float(share)


def draw_map(vectors: WordVectors, path: str | Path, words: int = 1000, title: str = "") -> None:
    """Draws the first `words` words: an HTML page that names a word under the pointer, finds words and
    zooms, with nothing loaded from elsewhere; or a PNG, SVG or PDF that names as many as are legible."""
    place = check_map(path)
    places, share = flat(vectors, words)
    names = vectors.words[: len(places)]
    below = (
        f"{len(names):,} of {len(vectors):,} words; {100 * share:.0f} % of the variance of "
        f"{vectors.dimension} dimensions lies in these two"
    )
    if place.suffix.lower() == ".html":
        content = _page(names, places, title, below).encode("utf-8", "surrogatepass")
    else:
        content = _picture(names, places, title, below, place.suffix[1:].lower())
    files.write(place.parent, {place.name: content})


def _page(names: tuple[str, ...], places: np.ndarray, title: str, below: str) -> str:
    data = script_json([[w, *map(float, p.round(5))] for w, p in zip(names, places, strict=True)])
    text = (Path(__file__).parent / "assets" / "map.html").read_text("utf-8")
    filled = {"TITLE": html.escape(title), "BELOW": html.escape(below), "DATA": data}
    # In one pass: a word or a title may itself look like a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: filled[place[1]], text)


def _picture(names: tuple[str, ...], places: np.ndarray, title: str, below: str, format: str) -> bytes:
    named = _apart(places, LABELS)
    matplotlib = _matplotlib()
    families, label = fonts([*(names[i] for i in named), title])
    with matplotlib.rc_context({"font.family": families, "svg.fonttype": "path"}):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12, 10), layout="constrained")
        axes = figure.subplots()
        axes.scatter(*places.T, s=4, color="tab:blue", alpha=0.5, linewidths=0)
        for i in named:
            axes.annotate(
                label(names[i]), tuple(places[i]), xytext=(3, 2), textcoords="offset points", fontsize=8
            )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(below)
        if title:
            axes.set_title(title.replace("$", r"\$"))
        buffer = io.BytesIO()
        figure.savefig(buffer, format=format, dpi=110)
    return buffer.getvalue()


def _apart(places: np.ndarray, most: int) -> list[int]:
    """Rows to name, the first words first, none so near another that their names would meet."""
    span = np.maximum(np.ptp(places, axis=0), 1e-9)
    chosen: list[int] = []
    for i, place in enumerate(places):
        distance = np.abs(places[chosen] - place) / span
        if not ((distance[:, 0] < 0.075) & (distance[:, 1] < 0.018)).any():
            chosen.append(i)
        if len(chosen) == most:
            break
    return chosen
