"""One recording as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import files
from ..errors import Error
from .nearest import Passage
from .planes import path_in_two_dimensions, side_by_side
from .record import Recording
from .trace import Layer

LONGEST_PAGE = 2000
"""The most symbols that one page holds."""
MOST_NUMBERS = 12_000_000
"""The most values of states and gates that one page holds (about 32 MB)."""

_SCRIPTS = ("data", "colours", "text", "next", "heat", "charts", "table", "main")
_LIKELIEST = 5


def write_page(recording: Recording, path: str | Path, **options: Any) -> None:
    """Writes the page of a recording into an .html file; the options are those of `page`."""
    place = check_page(path, len(recording.symbols))
    files.write(place.parent, {place.name: page(recording, **options).encode()})


def check_page(path: str | Path, symbols: int = 0) -> Path:
    """The path, if a page of so many symbols can be written there; raises Error if not."""
    place = Path(path)
    if place.suffix.lower() not in (".html", ".htm"):
        raise Error(f"{place}: a page is .html; give the file this ending")
    if symbols > LONGEST_PAGE:
        raise Error(f"a page shows at most {LONGEST_PAGE:,} symbols; the text has {symbols:,}: cut it")
    return place


def page(
    recording: Recording,
    *,
    title: str = "a recording",
    description: str = "",
    unit: int | None = None,
    passages: Sequence[Sequence[Passage]] = (),
    reference: str = "",
) -> str:
    """The HTML of a recording: the text in the colours of a unit, what the model expected, every state and
    gate, the state's path, and the passages of a reference text where the state was most like here.

    unit: the one to begin with; None: the one that varies most.
    passages: for each symbol those that `nearest_passages` found; reference: where they come from.

    Nothing is loaded from anywhere: a content security policy forbids it. Values are rounded to 1/32767 of
    each matrix's largest.
    """
    recording.check_finite()
    units = next(iter(recording.layers[-1].states.values())).shape[1]
    if unit is not None and not 0 <= unit < units:
        raise Error(f"unit is {unit}; {recording.layers[-1].name} has {units}, numbered from 0")
    values = sum(t.numel() for layer in recording.layers for t in layer.tracks.values())
    if values > MOST_NUMBERS:
        most = len(recording.symbols) * MOST_NUMBERS // values
        raise Error(
            f"the page would hold {values:,} values of states and gates, more than {MOST_NUMBERS:,}: "
            f"cut the text to {most:,} symbols"
        )
    data = {
        "symbols": recording.symbols,
        "text": bool(recording.numbers),
        "layers": [_layer(layer) for layer in recording.layers],
        "unit": unit,
        **_predictions(recording),
        "passages": [[asdict(p) for p in row] for row in passages],
        "reference": reference,
    }
    style = _asset("page.css")
    script = '"use strict";\n(() => {\n' + "".join(_asset(f"{name}.js") for name in _SCRIPTS) + "})();\n"
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        f"base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "style": style,
        "title": html.escape(title),
        "description": html.escape(description),
        "data": script_json(data),
        "script": script,
    }
    head, *rest = _asset("page.html").split("{{")
    pieces = [piece.split("}}", 1) for piece in rest]
    return head + "".join(parts[name] + after for name, after in pieces)


def _layer(layer: Layer) -> dict[str, Any]:
    states = next(iter(layer.states.values()))
    points, axes = path_in_two_dimensions(states)
    return {
        "name": layer.name,
        "tracks": [
            {"name": name, "gate": name in layer.gates, **_packed(track)}
            for name, track in layer.tracks.items()
        ],
        "order": side_by_side(states),
        "varies": int(states.var(0, correction=0).argmax()),
        "path": [[round(x, 5), round(y, 5)] for x, y in points.tolist()],
        "axes": axes,
    }


def _packed(track: Tensor) -> dict[str, Any]:
    """(time, units) as little-endian 16-bit whole numbers in base64, with what one of them is worth."""
    scale = float(track.abs().max()) / 32767 or 1.0
    rounded = (track / scale).round().to(torch.int16).numpy().astype("<i2")
    data = base64.b64encode(rounded.tobytes()).decode()
    return {"units": track.shape[1], "scale": scale, "least": float(track.min()), "data": data}


def _predictions(recording: Recording) -> dict[str, Any]:
    found: dict[str, Any] = {"vocabulary": [], "next": [], "surprise": [], "labels": [], "classes": []}
    if recording.probabilities is not None and recording.surprise is not None:
        found["vocabulary"] = recording.vocabulary
        found["next"] = _likeliest(recording.probabilities)
        surprise = recording.surprise.tolist()
        found["surprise"] = [None] + [round(min(s, 1e3), 4) for s in surprise[1:]]
    if recording.label_probabilities is not None:
        found["labels"] = recording.labels
        found["classes"] = _likeliest(recording.label_probabilities)
    return found


def _likeliest(probabilities: Tensor) -> list[list[tuple[int, float]]]:
    top = probabilities.topk(min(_LIKELIEST, probabilities.shape[1]), dim=-1)
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return [[(i, round(p, 4)) for i, p in zip(*row, strict=True)] for row in pairs]


def script_json(data: Any) -> str:
    """JSON that can stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _asset(name: str) -> str:
    return (resources(__name__.rpartition(".")[0]) / "assets" / name).read_text("utf-8")
