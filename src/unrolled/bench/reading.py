"""python -m unrolled.bench.reading: a large file of vectors read by unrolled and by gensim.

The vectors are random, 400,000 of 100 numbers with five digits unless said otherwise, as GloVe's text, as
word2vec's binary and as safetensors. Each reading has a process of its own: its seconds are those of the
reading alone, its memory what the process's peak (Linux's VmHWM, mapped pages too) grew by.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import typer

from ..errors import Error
from ..vectors import WordVectors, write

_TIMED = """
import time
{imports}
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before, begin = peak(), time.perf_counter()
{read}
print(time.perf_counter() - begin, peak() - before, len(table), table[{word!r}].sum())
"""

_UNROLLED = ("import unrolled.vectors.parse", "table = unrolled.vectors.read({path!r})")
_GENSIM = (
    "from gensim.models import KeyedVectors",
    "table = KeyedVectors.load_word2vec_format({path!r}, binary={binary}, no_header={headless})",
)


def reading(
    words: int = typer.Option(400_000, min=2, help="How many."),
    dimension: int = typer.Option(100, min=1, help="Numbers of each."),
    times: int = typer.Option(3, min=1, help="Readings by each, of which the fastest counts."),
) -> None:
    """Prints seconds and MiB of memory of each reader for each kind of file."""
    random = np.random.default_rng(0)
    matrix = random.normal(0, 0.4, (words, dimension)).astype(np.float32)
    table = WordVectors([f"word{i}" for i in range(words)], matrix)
    with tempfile.TemporaryDirectory() as name:
        text, binary, mapped = (Path(name) / f"v.{kind}" for kind in ("glove", "bin", "safetensors"))
        with text.open("w") as file:
            pattern = " %.5g" * dimension + "\n"
            for word, row in zip(table.words, matrix, strict=True):
                file.write(word + pattern % tuple(row.tolist()))
        write(table, binary)
        write(table, mapped)
        word = table.words[-1]
        for kind, path in (("GloVe text", text), ("word2vec binary", binary), ("safetensors", mapped)):
            sides = {"unrolled": _UNROLLED} | ({} if path == mapped else {"gensim": _GENSIM})
            figures = {}
            for side, (imports, read) in sides.items():
                call = read.format(path=str(path), binary=path == binary, headless=path == text)
                code = _TIMED.format(imports=imports, read=call, word=word)
                figures[side] = min(_run(code, words) for _ in range(times))
            shown = "  ".join(f"{side} {s:.2f} s, {m / 1024:,.0f} MiB" for side, (s, m) in figures.items())
            ratio = (
                f"  ratio {figures['gensim'][0] / figures['unrolled'][0]:.1f}" if len(figures) > 1 else ""
            )
            typer.echo(f"{kind:16} {path.stat().st_size / 2**20:5.0f} MiB  {shown}{ratio}")


def _run(code: str, words: int) -> tuple[float, float]:
    """Seconds and KiB of one reading."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise Error(f"a reader failed: {done.stderr.strip().splitlines()[-1]}")
    seconds, memory, found, _ = map(float, done.stdout.split())
    if found != words:
        raise Error(f"a reader found {found:,.0f} words; wanted {words:,}")
    return seconds, memory


if __name__ == "__main__":
    typer.run(reading)
