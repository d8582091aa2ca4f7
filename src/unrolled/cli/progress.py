"""A run on the screen: a live bar where there is a terminal, a line for each validation everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from ..training import Progress

BITS = 1 / math.log(2)


@contextmanager
def shown(
    console: Console, metric: str = "nats_per_symbol", unit: str = "symbol"
) -> Iterator[Callable[[Progress], None]]:
    """Yields what a training reports to; metric: the name of its score; unit: what the text is read by."""
    columns = (
        BarColumn(bar_width=10),
        TextColumn("{task.percentage:3.0f} %"),
        _Figures(),
    )
    with Bar(*columns, console=console, refresh_per_second=4) as bar:
        task = bar.add_task("training", total=1.0, figures="")
        smooth = math.nan

        def report(progress: Progress) -> None:
            nonlocal smooth
            loss = progress.loss
            smooth = loss if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss
            if progress.validation is not None:
                score = progress.validation
                best = " (best)" if progress.best == score else ""
                console.print(
                    f"{clock(progress.seconds)}  step {progress.step:,}  loss {smooth:.3f}  "
                    f"validation {scored(score, metric, unit)}{best}",
                    highlight=False,
                )
            bar.update(task, completed=progress.fraction, figures=_figures(progress, smooth))

        yield report


def scored(score: float, metric: str, unit: str = "symbol") -> str:
    """A score with its name; nats with their bits, each for one `unit` of the text."""
    if metric == "nats_per_symbol":
        return f"{score:.4f} nats = {score * BITS:.3f} bits per {unit}"
    return f"{metric.replace('_', '-')} {score:.4f}"


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    if not math.isfinite(seconds):
        return "-:--"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"


def _figures(progress: Progress, loss: float) -> str:
    return (
        f"loss {loss:.3f} {progress.symbols_per_second:,.0f} symbols/s {clock(progress.seconds_left)} left"
    )


class _Figures(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.fields["figures"])
