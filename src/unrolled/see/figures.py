"""The figures of a recording, one function each, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import Error
from .planes import path_in_two_dimensions, side_by_side
from .record import Recording
from .trace import Layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Label = Callable[[str], str]
"""From a symbol to what stands for it in a picture."""

SHOWN = {"\n": "↵", "\t": "⇥", " ": "␣", "\r": "␍"}
_NUMBERS = 12
"""Up to so many units, each cell carries its number."""
_LINE = 64
"""Symbols in a line of the coloured text."""

# Blue, through nothing, to orange: colours that the colour-blind can tell apart.
_DIVERGING = ["#0b4f9e", "#7fb2e5", "#f4f4f6", "#f3b26b", "#a84c00"]
_CATEGORIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6fd1", "#808080"]
_STYLES = ["-", "--", ":", "-."]
_MARKS = "os^D"


@dataclass(frozen=True)
class View:
    """What a figure is of: a recording, the layer and unit chosen, and how to label symbols."""

    recording: Recording
    layer: int
    unit: int | None
    likeliest: int
    label: Label

    @property
    def chosen(self) -> Layer:
        """The layer; raises Error if there is no such one."""
        layers = self.recording.layers
        if not -len(layers) <= self.layer < len(layers):
            raise Error(f"layer is {self.layer}; the recording has {len(layers)}, numbered from 0")
        return layers[self.layer]

    @property
    def states(self) -> Tensor:
        """(time, units), the layer's output."""
        return next(iter(self.chosen.states.values()))

    @property
    def number(self) -> int:
        """The unit chosen, or the one that varies most; raises Error if there is no such one."""
        units = self.states.shape[1]
        if self.unit is None:
            return int(self.states.var(0, correction=0).argmax())
        if not 0 <= self.unit < units:
            raise Error(f"unit is {self.unit}; {self.chosen.name} has {units}, numbered from 0")
        return self.unit


def overview(view: View) -> Figure:
    """Above, one row a hidden unit and one column a symbol; below, the symbols expected after each."""
    if view.recording.probabilities is None:
        return states(view)
    hidden = view.recording.hidden if view.layer == -1 else view.states
    tall = (_tall(hidden), 0.26 * view.likeliest + 0.1)
    figure = _figure(_wide(view), sum(tall) + 1.3)
    above, below = figure.subplots(2, 1, height_ratios=tall, sharex=True)
    figure.colorbar(_heat_map(above, hidden, view), ax=above, label="value", pad=0.01, fraction=0.03)
    _next_symbols(below, view)
    return figure


def states(view: View) -> Figure:
    """One row a unit of the layer and one column a symbol: the unit's value after it."""
    figure = _figure(_wide(view), _tall(view.states) + 1.4)
    axes = figure.subplots()
    axes.set_title(view.chosen.name, fontsize=9)
    figure.colorbar(_heat_map(axes, view.states, view), ax=axes, label="value", pad=0.01, fraction=0.03)
    return figure


def text(view: View) -> Figure:
    """The text, each symbol on the colour of the unit's value after it."""
    values, symbols = view.states[:, view.number], view.recording.symbols
    lines: list[list[int]] = [[]]
    for t, symbol in enumerate(symbols):
        if len(lines[-1]) == _LINE:
            lines.append([])
        lines[-1].append(t)
        if symbol == "\n" and t + 1 < len(symbols):
            lines.append([])
    columns = max(map(len, lines))
    grid = torch.full((len(lines), columns), torch.nan)
    for row, line in enumerate(lines):
        grid[row, : len(line)] = values[line]
    longest = max(len(view.label(symbol)) for symbol in symbols)
    figure = _figure(max(4.0, columns * (0.1 + 0.06 * longest) + 1.5), 0.3 * len(lines) + 0.9)
    axes = figure.subplots()
    bound = max(float(values.abs().max()), 1e-6)
    image = _image(axes, grid, bound)
    for row, line in enumerate(lines):
        for column, t in enumerate(line):
            _write(axes, column, row, view.label(symbols[t]), abs(float(values[t])) > 0.6 * bound, 9)
    axes.set_axis_off()
    axes.set_title(f"{view.chosen.name}, unit {view.number}", fontsize=9)
    figure.colorbar(image, ax=axes, label="value", pad=0.01, fraction=0.03)
    return figure


def next_symbols(view: View) -> Figure:
    """Above, the surprise at each symbol in bits; below, the likeliest symbols to follow it."""
    surprise = view.recording.surprise
    if surprise is None:
        raise Error('the model predicts no symbols, so there is no figure "next"; wanted a language model')
    figure = _figure(_wide(view), 0.26 * view.likeliest + 2.6)
    above, below = figure.subplots(2, 1, height_ratios=(1.3, 0.26 * view.likeliest + 0.1), sharex=True)
    bits = (surprise / torch.log(torch.tensor(2.0))).nan_to_num(0.0)
    above.bar(range(len(bits)), bits.tolist(), color=_CATEGORIES[0], width=0.6)
    above.set_ylabel("surprise, bits", fontsize=8)
    _name_symbols(above, view)
    _next_symbols(below, view)
    return figure


def gates(view: View) -> Figure:
    """The unit's states and gates over time."""
    figure = _figure(_wide(view), 3.4)
    axes = figure.subplots()
    for number, (name, track) in enumerate(view.chosen.tracks.items()):
        kind = "gate" if name in view.chosen.gates else "state"
        values = track[:, min(view.number, track.shape[1] - 1)].tolist()
        style: Any = {"color": _CATEGORIES[number % 8], "linestyle": _STYLES[number % 4]}
        axes.plot(values, label=f"{name} ({kind})", marker=".", markersize=3, linewidth=1.3, **style)
    axes.axhline(0, color="lightgray", linewidth=0.8, zorder=0)
    axes.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    axes.set_title(f"{view.chosen.name}, unit {view.number}", fontsize=9)
    _name_symbols(axes, view)
    return figure


def path(view: View) -> Figure:
    """The state after each symbol in the plane in which it varies most; with labels, in their colours."""
    points, names = path_in_two_dimensions(view.states)
    across, up = points.T.tolist()
    figure = _figure(6.4, 5.4)
    axes = figure.subplots()
    axes.plot(across, up, color="lightgray", linewidth=0.8, zorder=1)
    recording = view.recording
    if recording.label_probabilities is None:
        dots = axes.scatter(across, up, c=range(len(across)), cmap="viridis", s=22, zorder=2)
        figure.colorbar(dots, ax=axes, label="step", pad=0.01, fraction=0.04)
    else:
        best = recording.label_probabilities.argmax(-1)
        for label in best.unique().tolist():
            at = (best == label).nonzero()[:, 0].tolist()
            style = {"color": _CATEGORIES[label % 8], "marker": _MARKS[label % 4]}
            some = ([across[t] for t in at], [up[t] for t in at])
            axes.scatter(*some, s=24, zorder=2, label=view.label(recording.labels[label]), **style)
        axes.legend(fontsize=7)
    for t, symbol in enumerate(recording.symbols[:120]):
        offset = {"xytext": (3, 3), "textcoords": "offset points"}
        axes.annotate(view.label(symbol), (across[t], up[t]), fontsize=7, **offset)
    axes.set_xlabel(names[0], fontsize=8)
    axes.set_ylabel(names[1], fontsize=8)
    return figure


FIGURES: dict[str, Callable[[View], Figure]] = {
    "overview": overview,
    "text": text,
    "next": next_symbols,
    "states": states,
    "gates": gates,
    "path": path,
}
"""Every figure, by name."""


def _figure(wide: float, tall: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(wide, tall), layout="constrained")


def _wide(view: View) -> float:
    longest = max(len(view.label(symbol)) for symbol in view.recording.symbols)
    return max(6.0, (0.16 + 0.06 * longest) * len(view.recording.symbols) + 1.6)


def _tall(hidden: Tensor) -> float:
    return min(6.0, max(1.2, 0.28 * hidden.shape[1]))


def _image(axes: Axes, values: Tensor, bound: float) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("blue-orange", _DIVERGING)
    options = {"aspect": "auto", "interpolation": "none", "cmap": colours}
    return axes.imshow(values.numpy(), vmin=-bound, vmax=bound, **options)


def _write(axes: Axes, x: float, y: float, text: str, light: bool, size: int, box: Any = None) -> None:
    colour = "white" if light else "black"
    axes.text(x, y, text, ha="center", va="center", fontsize=size, color=colour, bbox=box)


def _name_symbols(axes: Axes, view: View) -> None:
    labels = [view.label(symbol) for symbol in view.recording.symbols]
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.tick_params(axis="x", labelbottom=True, length=0)


def _heat_map(axes: Axes, hidden: Tensor, view: View) -> Any:
    few = hidden.shape[1] <= _NUMBERS
    order = list(range(hidden.shape[1])) if few else side_by_side(hidden)
    bound = max(float(hidden.abs().max()), 1e-6)
    image = _image(axes, hidden[:, order].T, bound)
    _name_symbols(axes, view)
    axes.set_ylabel(f"{hidden.shape[1]} hidden units")
    if not few:
        axes.set_yticks([])
        return image
    axes.set_yticks(range(len(order)), [str(unit) for unit in order], fontsize=8)
    # In points, a number of five characters being about three times as wide as it is high.
    size = min(9, max(5, int((_wide(view) - 1.6) * 72 / len(hidden) / 3.4)))
    for row, unit in enumerate(order):
        for t, value in enumerate(hidden[:, unit].tolist()):
            _write(axes, t, row, f"{value:.2f}", abs(value) > 0.6 * bound, size)
    return image


def _next_symbols(axes: Axes, view: View) -> None:
    recording = view.recording
    if recording.probabilities is None:
        raise Error("the model predicts no symbols; wanted a language model")
    top = recording.probabilities.topk(view.likeliest, dim=-1)
    axes.imshow(top.values.T.numpy(), aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="none")
    following = [*recording.numbers[1:], None]
    frame = {"boxstyle": "square,pad=0.15", "fill": False, "edgecolor": "tab:orange"}
    for t, (values, indices) in enumerate(zip(top.values.tolist(), top.indices.tolist(), strict=True)):
        for row, (value, index) in enumerate(zip(values, indices, strict=True)):
            came = frame if index == following[t] else None
            _write(axes, t, row, view.label(recording.vocabulary[index]), value > 0.6, 8, came)
    axes.set_yticks([])
    axes.set_ylabel("next", fontsize=8)
    axes.set_xlabel(
        "the likeliest symbols to follow, shaded by probability; framed: the one that did", fontsize=8
    )
    axes.tick_params(axis="x", labelbottom=False, length=0)
