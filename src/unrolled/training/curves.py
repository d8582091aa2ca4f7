"""A run's curves: curves.csv, written at each validation, and curves.png at the end."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

from .. import files

CSV, PNG = "curves.csv", "curves.png"


def write(folder: Path, curve: Sequence[Sequence[float]], metric: str) -> None:
    """Writes the points (step, seconds, learning rate, mean training loss since the one before, score)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "seconds", "learning_rate", "training_loss", f"validation_{metric}"])
    for step, *rest in curve:
        writer.writerow([int(step), *(f"{value:.6g}" for value in rest)])
    files.write(folder, {CSV: text.getvalue().encode()})


def draw(folder: Path, curve: Sequence[Sequence[float]], metric: str) -> bool:
    """Draws the same as a picture, if matplotlib is installed; returns whether it is."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    steps = [point[0] for point in curve]
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    losses = figure.subplots()
    losses.plot(steps, [p[3] for p in curve], color="tab:gray", marker=".", label="training loss (nats)")
    losses.set_xlabel("step")
    scores = losses if metric == "nats_per_symbol" else losses.twinx()
    losses.set_ylabel("nats" if scores is losses else "training loss (nats)")
    label = "validation " + metric.replace("_", " ")
    scores.plot(steps, [p[4] for p in curve], color="tab:blue", marker="o", label=label)
    if scores is not losses:
        scores.set_ylabel(label)
    lines = [*losses.get_lines(), *(scores.get_lines() if scores is not losses else [])]
    losses.legend(lines, [str(line.get_label()) for line in lines], frameon=False, loc="best")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    files.write(folder, {PNG: content.getvalue()})
    return True
