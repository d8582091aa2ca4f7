"""What every training begins with: its options, its folder, and the processes that share it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import files
from ..errors import Error
from ..models.base import Model
from ..models.folder import holds_model
from ..seeds import check_seed
from . import checkpoint
from .loop import fit
from .parallel import Group, joined
from .plan import Plan, Progress, Result, Task

if TYPE_CHECKING:
    from ..vectors import WordVectors


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The model's options and how it is fed, for every task.

    input: what is read of a symbol, as in models.deep; vectors: a file of word vectors for it.
    normalize: the form of Unicode that texts are read in, as in training.symbols; "": NFC, bytes as they
        are.
    batch: rows read side by side.
    """

    cell: str = "gru"
    hidden_size: int = 256
    num_layers: int = 1
    dropout: float = 0.2
    embedding_size: int = 64
    input: str = ""
    vectors: str = ""
    normalize: str = ""
    residual: bool = False
    layer_norm: bool = False
    proj_size: int = 0
    variational: bool = False
    input_dropout: float = 0.0
    word_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    zoneout: float = 0.0
    cell_zoneout: float = 0.0
    bfloat16: bool = False
    batch: int = 32
    seed: int = 0
    device: str = "cpu"

    def model(self) -> dict[str, Any]:
        """The arguments that every model takes."""
        given = {f: getattr(self, f) for f in ModelOptions.__dataclass_fields__ if f not in _FEEDING}
        if self.input and "embedding" not in self.input.split("+"):
            given["embedding_size"] = 0
        return given | {"vectors_size": word_vectors(self.vectors).dimension if self.vectors else 0}


_FEEDING = ("batch", "seed", "device", "vectors", "normalize")


@lru_cache(maxsize=1)
def word_vectors(path: str) -> WordVectors:
    """The table in a file of word vectors; raises Error if it is not one."""
    from ..vectors import read

    return read(path)


@dataclass(frozen=True)
class Listener:
    """Who is told of a run. report: each step and validation; prepared: the model before its first step;
    say: a sentence, about a damaged checkpoint for instance."""

    report: Callable[[Progress], None] = lambda progress: None
    prepared: Callable[[Any], None] = lambda model: None
    say: Callable[[str], None] = lambda text: None


def train(
    make: Callable[[Group], Task],
    out: Path,
    plan: Plan,
    options: ModelOptions,
    data: str,
    listener: Listener,
    *,
    overwrite: bool,
    resume: bool,
) -> Result:
    """Makes the task and trains it, the best model being kept in `out`.

    make: the task of one process of the group. data: a fingerprint of what is trained on.
    Raises Error before the first step if the task cannot be made, or `out` is not writable or already
    holds a model or another run.
    """
    check_seed("training", options.seed)
    torch.manual_seed(options.seed)
    with joined() as group:
        task = make(group)
        if options.vectors:
            table = word_vectors(options.vectors)
            found, size = task.model.set_vectors(table), len(task.model.vocabulary)
            if not found:
                raise Error(
                    f"none of the {size:,} words to train on has a vector in {options.vectors}, so nothing "
                    f"would be read of them; give vectors of such words, or leave them out"
                )
            listener.say(
                f"{found:,} of {size:,} words have a vector in {options.vectors}; the others, zeros"
            )
            data = fingerprint(data, hashlib.sha256(table.matrix.tobytes()).hexdigest(), *table.words)
        if options.bfloat16:
            _check_bfloat16(task.model.device, listener.say)
        with _prepared(out, overwrite, resume) if group.leads else nullcontext():
            listener.prepared(task.model)
            if group.size > 1:
                torch.manual_seed(options.seed + group.rank)  # masks of dropout of its own for each
            settings = {"task": task.model.task, "data": data, **asdict(options), **asdict(plan)}
            rest = {"resume": resume, "say": listener.say, "group": group}
            return fit(task, plan, out, settings, listener.report, **rest)


@contextmanager
def _prepared(out: Path, overwrite: bool, resume: bool) -> Iterator[None]:
    """The folder ready for a run, and for no other one meanwhile."""
    if resume and not checkpoint.exists(out):
        checkpoint.read(out)  # says so, before the folder is made
    if not out.is_dir():
        files.check_writable(out)
    with files.held(out, "another training is in progress"):
        _check_free(out, overwrite, resume)
        files.check_writable(out)
        if not resume:
            checkpoint.remove(out)
        yield


def _check_free(out: Path, overwrite: bool, resume: bool) -> None:
    if not (overwrite or resume):
        if checkpoint.exists(out):
            raise Error(
                f"{out} holds an unfinished run; say --resume to go on, or --overwrite to replace it"
            )
        if holds_model(out):
            raise Error(f"{out} already holds a model; choose another folder, or say --overwrite")


def device(name: str) -> torch.device:
    """The device of that name; raises Error if it cannot be used here."""
    try:
        found = torch.device(name)
        torch.empty(1, device=found).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise Error(
            f"device {name!r} cannot be used here ({reason}); wanted cpu, or cuda with a GPU"
        ) from error
    return found


def _check_bfloat16(device: torch.device, say: Callable[[str], None]) -> None:
    """Raises Error if the device has no bfloat16; says so where it has and gains nothing by it."""
    if not torch.amp.is_autocast_available(device.type) or (
        device.type == "cuda" and not torch.cuda.is_bf16_supported()
    ):
        raise Error(f"training: {device} cannot compute in bfloat16; leave it out, or use another device")
    if device.type == "cpu":
        say("bfloat16: on a CPU the layers compute in float32 all the same, so that no time is gained")


def check_batch(options: ModelOptions, group: Group) -> None:
    """Raises Error if a batch cannot be given a row for each process."""
    if options.batch < group.size:
        raise Error(f"training: batch is {options.batch}; wanted at least {group.size}")


def fingerprint(*parts: str) -> str:
    """A checksum of the data that a run is trained on."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass")
        total.update(f"{len(content)} ".encode() + content)
    return total.hexdigest()


def described(model: Model, plan: Plan, options: ModelOptions) -> dict[str, Any]:
    """A model's options and its plan, for the summary."""
    return {"task": model.task, "options": {**asdict(options), **asdict(plan)}}
