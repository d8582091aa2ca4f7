"""What was measured as tables to read (Markdown) and as data to keep, to join and to read again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import Error
from .figure import Figure
from .measure import Row
from .run import Result
from .targets import mean, targets
from .work import Shape


def table(result: Result) -> str:
    """The machine; a line a row (µs, ratios, fraction of the peak); what is wanted, and what was got."""
    elsewhere = "unknown" if result.elsewhere is None else f"{result.elsewhere:.2f} cores"
    lines = [
        f"Machine: {', '.join(result.machine.values())}; {result.threads} threads, float32; "
        + ", ".join(f"{name} {version}" for name, version in result.versions.items())
        + ".",
        f"Peak: {result.peak / 1e9:.0f} GFLOP/s in registers; copying: {result.bandwidth / 1e9:.1f} GB/s; "
        f"used by other processes meanwhile: {elsewhere}. Medians of {result.rounds} turns; "
        f"{result.again} turns were had again, because not all cores were there before or after them, and "
        f"{result.anyway} counted all the same.",
    ]
    for backward, title in ((False, "Forward (inference)"), (True, "Forward + backward")):
        rows = [row for row in result.rows if row.backward == backward]
        if rows:
            lines += ["", f"## {title}", "", *_rows(rows), "", *_summary(rows)]
    figures = [*targets(result.rows), *result.figures]
    if figures:
        missed = sum(not figure.met for figure in figures)
        lines += ["", f"## Targets ({len(figures) - missed} met, {missed} not)", "", *_targets(figures)]
    return "\n".join(lines)


def _rows(rows: Sequence[Row]) -> list[str]:
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
        lines.append(f"| {row.layer} | {row.shape} | {own:.0f} | {ratios}{row.fraction:.0%} |")
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
    return f"{mean(ratios):.2f} × (worst {min(ratios):.2f})"


def _targets(figures: Sequence[Figure]) -> list[str]:
    lines = [
        "| what | with gradients | wanted | got | met | limit |",
        "| --- | --- | ---: | ---: | --- | ---: |",
    ]
    for f in figures:
        sign = "≤" if f.at_most else "≥"
        passes, met = "yes" if f.backward else "", "yes" if f.met else "**no**"
        limit = "" if f.limit is None else f"{f.limit:.3g} {f.unit}"
        wanted, got = f"{sign} {f.target:g} {f.unit}", f"{f.got:.3g} {f.unit}"
        lines.append(f"| {f.what} | {passes} | {wanted} | {got} | {met} | {limit} |")
    return lines


def data(result: Result) -> dict[str, Any]:
    """The same for a program; `read` takes it back, the rest (fraction_of_peak, met, targets) follows."""
    rows = [
        asdict(row.shape)
        | {
            "layer": row.layer,
            "backward": row.backward,
            "seconds": row.seconds,
            "peak": row.peak,
            "call": row.call,
            "reads": row.reads,
            "least": row.least,
            "fraction_of_peak": row.fraction,
        }
        for row in result.rows
    ]
    return asdict(result) | {
        "rows": rows,
        "figures": [_figure(f) for f in result.figures],
        "targets": [_figure(f) for f in targets(result.rows)],
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return asdict(figure) | {"met": figure.met}


def read(place: Path) -> Result:
    """What a run wrote with --json. Raises Error for a file that is not there or is something else."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        rows = [_row_of(row) for row in found["rows"]]
        figures = [Figure(**{k: v for k, v in f.items() if k != "met"}) for f in found["figures"]]
        kept = {k: v for k, v in found.items() if k != "targets"}
        return Result(**kept | {"rows": rows, "figures": figures})
    except OSError as error:
        raise Error(f"bench: {place}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Error(f"bench: {place} is not what `unrolled bench --json` writes: {error}") from error


def _row_of(row: dict[str, Any]) -> Row:
    shape = Shape(row["batch"], row["time"], row["input_size"], row["hidden_size"])
    limits = [row[name] for name in ("peak", "call", "reads")]
    return Row(row["layer"], shape, row["backward"], row["seconds"], *limits)


def join(results: Sequence[Result]) -> Result:
    """Parts of one run as one result, forward first; raises Error if they are not of one machine and code.

    The peak and the bandwidth are the highest, what other processes used the most of any part.
    """
    first = results[0]
    for other in results[1:]:
        for name in ("machine", "versions", "threads", "rounds"):
            if (got := getattr(other, name)) != (wanted := getattr(first, name)):
                raise Error(f"bench: these runs cannot be joined: {name} {got} is not {wanted}")
    rows = {(r.backward, r.layer, r.shape): r for result in results for r in result.rows}
    figures = {(f.what, f.backward): f for result in results for f in result.figures}
    known = [r.elsewhere for r in results if r.elsewhere is not None]
    order = list(dict.fromkeys((r.layer) for r in rows.values()))
    return Result(
        machine=first.machine,
        versions=first.versions,
        threads=first.threads,
        rounds=first.rounds,
        peak=max(r.peak for r in results),
        bandwidth=max(r.bandwidth for r in results),
        elsewhere=max(known) if known else None,
        again=sum(r.again for r in results),
        anyway=sum(r.anyway for r in results),
        rows=sorted(rows.values(), key=lambda r: (r.backward, order.index(r.layer))),
        figures=list(figures.values()),
    )
