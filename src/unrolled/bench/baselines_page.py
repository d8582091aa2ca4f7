"""docs/baselines.md from the results of scripts/baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

HEAD = """# Baselines

Made by `scripts/baselines`, which runs what is not here yet and writes this page; edit neither. Every score
is on data that was not trained on: the last tenth of tiny Shakespeare, the test sets of the others. The
command of each figure stands under its table; `$DATA` is the folder of texts.
"""


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The whole page: a table for each group of rows, its commands under it."""
    parts = [HEAD]
    machines = {f"{r['cpu']}, {r['threads']} threads, torch {r['torch']}" for r in results}
    if machines:
        parts.append("Machine: " + "; ".join(sorted(machines)) + ".\n")
    for group in dict.fromkeys(result["group"] for result in results):
        parts.append(_group(group, [r for r in results if r["group"] == group]))
    return "\n".join(parts)


def _group(group: str, results: Sequence[Mapping[str, Any]]) -> str:
    language = results[0]["score"]["task"] == "language"
    heads = (
        "nats a character | seeds | 95 % interval (seed of the middle) | over windows of 256 | 5-grams"
        if language
        else "accuracy | macro-F1 | seeds | 95 % interval of accuracy | of macro-F1 | simple model"
    )
    lines = [
        f"## {group}",
        "",
        f"| model | minutes | {heads} | units | parameters | symbols a second |",
        "|" + " --- |" * (5 + heads.count("|") + 1),
    ]
    rows: dict[tuple[float, str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        rows.setdefault((result["minutes"], result["name"], _without_seed(result)), []).append(result)
    lines += [_row(*key[:2], rows[key], language) for key in sorted(rows)]
    lines += ["", "Commands, each with the seeds of its row:", "", "```sh"]
    for key in sorted(rows):
        train, judge = key[2].replace("{data}", "$DATA").split(" | ")
        seeds = "|".join(str(r["seed"]) for r in rows[key])
        lines += [f"unrolled train {train} --seed {seeds} --out DIR", f"unrolled evaluate DIR {judge}"]
    return "\n".join([*lines, "```", ""])


def _without_seed(result: Mapping[str, Any]) -> str:
    return result["key"].replace(f" --seed {result['seed']} |", " |")


def _row(minutes: float, name: str, results: Sequence[Mapping[str, Any]], language: bool) -> str:
    scores = [r["score"] for r in results]
    metric = "nats_per_symbol" if language else "accuracy"
    middle = sorted(scores, key=lambda s: s[metric])[len(scores) // 2]
    if language:
        cells = [
            _values(scores, metric),
            str(len(scores)),
            _interval(middle[f"{metric}_interval"]),
            f"{fmean(s['windows_of_256'][metric] for s in scores):.4f}",
            f"{middle['baseline'][metric]:.4f}",
        ]
    else:
        simple = middle["baseline"]
        cells = [
            _values(scores, "accuracy"),
            _values(scores, "macro_f1"),
            str(len(scores)),
            _interval(middle["accuracy_interval"]),
            _interval(middle["macro_f1_interval"]),
            f"{simple['accuracy']:.4f}, {simple['macro_f1']:.4f} ({simple['name']})",
        ]
    units = " to ".join(
        _units(*n) for n in sorted({(r.get("members", 1), r["hidden_size"]) for r in results})
    )
    speed = fmean(r["symbols_per_second"] for r in results)
    parameters = " to ".join(f"{n:,}" for n in sorted({r["parameters"] for r in results}))
    return f"| {name} | {minutes:g} | {' | '.join(cells)} | {units} | {parameters} | {speed:,.0f} |"


def _values(scores: Sequence[Mapping[str, Any]], metric: str) -> str:
    """The mean, and the lowest and highest where there is more than one."""
    values = [score[metric] for score in scores]
    mean = f"{fmean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.4f} to {max(values):.4f})"


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _units(members: int, hidden: int) -> str:
    """Those of one network, or of several side by side."""
    return f"{members} × {hidden}" if members > 1 else str(hidden)
