"""What was measured as a table to read and as data to keep."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from .measure import Row
from .run import Result


def table(result: Result) -> str:
    """The machine, a line a row (microseconds, ratios, fraction of the peak), summaries (Markdown)."""
    lines = [
        f"{cpu()}, {result.threads} threads, float32; unrolled {__version__}, "
        + ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        f"Peak: {result.peak / 1e9:.0f} GFLOP/s in registers; copying: {result.bandwidth / 1e9:.1f} GB/s.",
    ]
    for backward, title in ((False, "Forward (inference)"), (True, "Forward + backward")):
        rows = [row for row in result.rows if row.backward == backward]
        if rows:
            lines += ["", f"## {title}", "", *_rows(rows, result.peak), "", *_summary(rows)]
        features = [f for f in result.features if f.backward == backward]
        if features:
            lines += ["", f"### {title}: beyond the peers", ""]
            lines += [f"- {f.what}: {f.value:.3g} {f.unit}" for f in features]
    return "\n".join(lines)


def _rows(rows: Sequence[Row], peak: float) -> list[str]:
    names = [name for name in rows[0].seconds if name != "unrolled"]
    lines = [
        "| layer | batch, time, in→hidden | unrolled µs | "
        + "".join(f"{n} × | " for n in names)
        + "of peak |",
        "| --- | --- | ---: | " + "---: | " * len(names) + "---: |",
    ]
    for row in rows:
        own = row.seconds["unrolled"] * 1e6
        ratios = "".join(f"{row.ratio(name):.2f} | " for name in names)
        lines.append(f"| {row.layer} | {row.shape} | {own:.0f} | {ratios}{row.rate / peak:.0%} |")
    return lines


def _summary(rows: Sequence[Row]) -> list[str]:
    """Each layer's geometric mean and worst ratio, then those over all."""
    layers = list(dict.fromkeys(row.layer for row in rows))
    groups = {layer: [row for row in rows if row.layer == layer] for layer in layers} | {"all": list(rows)}
    lines = []
    for name, some in groups.items():
        line = f"- {name}: against torch.nn {_mean_and_worst([r.ratio('torch.nn') for r in some])}"
        if len(some[0].seconds) > 2:
            line += f"; against the fastest peer {_mean_and_worst([r.fastest for r in some])}"
        lines.append(line)
    return lines


def _mean_and_worst(ratios: Sequence[float]) -> str:
    return f"{float(np.exp(np.mean(np.log(ratios)))):.2f} × (worst {min(ratios):.2f})"


def cpu() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def data(result: Result) -> dict[str, Any]:
    """The same for a program: the machine, every row's medians in seconds, every figure."""
    return {
        "machine": {"cpu": cpu(), "system": platform.system(), "python": platform.python_version()},
        "versions": {"unrolled": __version__, "torch": torch.__version__, **result.versions},
        "threads": result.threads,
        "peak_flops": result.peak,
        "bandwidth_bytes": result.bandwidth,
        "rows": [
            {
                "layer": row.layer,
                **asdict(row.shape),
                "backward": row.backward,
                "seconds": row.seconds,
                "fraction_of_peak": row.rate / result.peak,
            }
            for row in result.rows
        ],
        "features": [asdict(feature) for feature in result.features],
    }
