"""The table of baselines: each row a training and a judgement by the commands that it shows.

A row that is in the file of results is not run again, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..errors import Error
from .baselines_page import page
from .host import cpu

RESULTS, PAGE = "baselines.jsonl", "baselines.md"
CELLS = ("rnn_tanh", "gru", "lstm", "minimal_gated_unit", "slstm")
SIZES = (128, 256)
MINUTES, DEFAULT_MINUTES = (1, 3), (3, 15)
SEEDS = (0, 1, 2)
"""Of tiny Shakespeare; of the others, whose test sets are large and whose runs long, the first."""


@dataclass(frozen=True)
class Row:
    """A training and what judges it. group: the table it stands in; train and judge: what follows
    `unrolled train` and `unrolled evaluate DIR`, with {data} for the folder of texts."""

    group: str
    name: str
    seed: int
    train: str
    judge: str

    @property
    def key(self) -> str:
        """What tells the row from all others: its commands."""
        return f"{self.train} --seed {self.seed} | {self.judge}"


def rows(minutes: float | None = None) -> Iterator[Row]:
    """All rows, those that take least first; minutes: for each of them, instead of its own."""
    yield from sorted(_rows(minutes), key=lambda row: (_minutes(row), row.seed))


def _rows(minutes: float | None) -> Iterator[Row]:
    def spent(own: float) -> str:
        return f"--minutes {own if minutes is None else minutes:g}"

    shakespeare = "{data}/tiny_shakespeare/input.txt"
    judge = f"{shakespeare} --part .1 --window 256"
    for seed in SEEDS:
        for time in DEFAULT_MINUTES:
            yield Row(
                "Tiny Shakespeare", "the default", seed, f"language {shakespeare} {spent(time)}", judge
            )
        for time in MINUTES:
            head = f"language {shakespeare} {spent(time)}"
            for cell in CELLS:
                for size in SIZES:
                    one = f"{head} --cell {cell} --hidden-size {size}"
                    yield Row("Tiny Shakespeare", f"{cell} {size}", seed, one, judge)
    yield from _judged_by_tests(spent)


def _judged_by_tests(spent: Callable[[float], str]) -> Iterator[Row]:
    """The rows of labels and tags."""
    seed = SEEDS[0]
    emotions = "{data}/goemotions/ekman"
    for name, labels in (("three emotions", "5,3,0"), ("Ekman's seven", "0,1,2,3,4,5,6")):
        columns = f"--text 1 --label 2 --labels {labels}"
        head = f"classify {emotions}/train.tsv --validation {emotions}/dev.tsv {columns} {spent(5)}"
        judged = f"{emotions}/test.tsv {columns} --train {emotions}/train.tsv"
        for unit in ("word", "character"):
            lower = " --lower" if unit == "word" else ""
            yield Row(f"GoEmotions, {name}", f"by {unit}", seed, f"{head} --unit {unit}{lower}", judged)
    ewt = "{data}/ud_english_ewt/en_ewt-ud"
    head = f"tag {ewt}-train.conllu.gz --validation {ewt}-dev.conllu.gz {spent(10)}"
    yield Row(
        "UD English-EWT, UPOS",
        "the default",
        seed,
        head,
        f"{ewt}-test.conllu.gz --train {ewt}-train.conllu.gz",
    )
    nsmc, columns = "{data}/nsmc/ratings", "--text document --label label"
    judged = f"{nsmc}_test.txt.gz {columns} --train {nsmc}_train.txt.gz"
    for unit, time in (("character", 5), ("jamo", 5), ("byte", 5), ("word", 5), ("syllable", 30)):
        head = f"classify {nsmc}_train.txt.gz {columns} --objective accuracy --unit {unit} {spent(time)}"
        yield Row("NSMC", f"by {unit}", seed, head, judged)


def run(row: Row, data: Path) -> dict[str, Any]:
    """Trains and judges; what evaluate and the model's summary say, for one line of results.

    Raises Error with the command and its last words if one of them fails.
    """
    with tempfile.TemporaryDirectory() as place:
        out = str(Path(place) / "model")
        train = row.train.format(data=data)
        _unrolled("train", *shlex.split(train), "--seed", str(row.seed), "--out", out)
        score = _unrolled("evaluate", out, *shlex.split(row.judge.format(data=data)), "--json")
        summary = json.loads((Path(out) / "summary.json").read_text(encoding="utf-8"))
    report = json.loads(score)
    return {
        "key": row.key,
        "group": row.group,
        "name": row.name,
        "seed": row.seed,
        "minutes": _minutes(row),
        "score": {name: value for name, value in report.items() if name != "labels"},
        "parameters": summary["parameters"],
        "hidden_size": summary["options"]["hidden_size"],
        "members": summary["options"].get("members", 1),
        "cell": summary["options"]["cell"],
        "seconds": summary["seconds"],
        "symbols_per_second": summary["symbols_per_second"],
        "torch": summary["torch"],
        "threads": summary["threads"],
        "cpu": cpu(),
    }


def read(place: Path) -> list[dict[str, Any]]:
    """The results so far; raises Error for a line that is not one."""
    if not place.exists():
        return []
    found = []
    for number, line in enumerate(place.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise Error(f"{place}, line {number}: not JSON ({error}); remove the line") from error
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is not in the results yet, writing results and page after each row."""
    parser = argparse.ArgumentParser(prog="scripts/baselines", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of texts")
    parser.add_argument("--only", default="", help="rows whose table, name or command has this word")
    parser.add_argument("--seed", type=int, help="rows of this seed only")
    parser.add_argument("--minutes", type=float, help="for each training, instead of its own")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where results and page lie")
    parser.add_argument("--list", action="store_true", help="say what is left to run, and run nothing")
    given = parser.parse_args(arguments)
    results = read(given.docs / RESULTS)
    left = list(chosen(rows(given.minutes), results, given.only, given.seed))
    for row in left:
        print(f"{row.group}: {row.name}, seed {row.seed}, {_minutes(row):g} min", flush=True)
        if given.list:
            continue
        results.append(run(row, given.data))
        write(given.docs, results)
    if not given.list:
        write(given.docs, results)
    print(f"{len(results)} rows in {given.docs / RESULTS}")


def chosen(
    all_rows: Iterator[Row], results: Sequence[Mapping[str, Any]], only: str, seed: int | None
) -> Iterator[Row]:
    """The rows that have no result yet and are asked for."""
    done = {result["key"] for result in results}
    for row in all_rows:
        words = f"{row.group} {row.name} {row.key}".lower()
        if row.key not in done and only.lower() in words and seed in (None, row.seed):
            done.add(row.key)  # two rows may differ in minutes alone, which may be given
            yield row


def write(docs: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Writes the results, a JSON object a line, and the page made of them."""
    lines = "".join(json.dumps(result, ensure_ascii=False) + "\n" for result in results)
    files.write(docs, {RESULTS: lines.encode(), PAGE: page(results).encode()})


def _minutes(row: Row) -> float:
    words = row.train.split()
    return float(words[words.index("--minutes") + 1])


def _unrolled(*arguments: str) -> str:
    command = [sys.executable, "-m", "unrolled", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8")  # noqa: S603
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise Error(f"{shlex.join(command[1:])}: {words[-1] if words else f'status {done.returncode}'}")
    return done.stdout


if __name__ == "__main__":
    try:
        main()
    except Error as error:
        sys.exit(f"scripts/baselines: {error}")
