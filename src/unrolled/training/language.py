"""Training a language model on a text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import files
from ..errors import Error
from ..models import LanguageModel
from ..models.folder import holds_model
from ..text import Vocabulary
from . import checkpoint
from .loop import Plan, Progress, Result, fit
from .streams import Streams, nats_per_symbol


@dataclass(frozen=True)
class Options:
    """What to train, beside the plan. window: steps of back-propagation; validation: the part of the
    text, from its end, that is kept for judging."""

    cell: str = "lstm"
    hidden_size: int = 256
    num_layers: int = 1
    dropout: float = 0.2
    embedding_size: int = 64
    batch: int = 32
    window: int = 64
    validation: float = 0.1
    seed: int = 0
    device: str = "cpu"


class _LanguageTask:
    """A LanguageModel on a text, whose end is kept for validation."""

    higher_is_better = False

    def __init__(self, text: str, out: Path, plan: Plan, options: Options) -> None:
        device = _device(options.device)
        torch.manual_seed(options.seed)
        vocabulary = Vocabulary(text)
        self.model = LanguageModel(
            vocabulary,
            options.cell,
            options.hidden_size,
            options.num_layers,
            options.dropout,
            options.embedding_size,
        ).to(device)
        indices = _compact(vocabulary.encode(text), len(vocabulary)).to(device)
        kept = max(2, round(len(indices) * options.validation))
        generator = torch.Generator().manual_seed(options.seed)
        self.streams = Streams(indices[:-kept], options.batch, options.window, generator)
        self.validation = indices[-kept:]
        self.out, self.plan, self.options = out, plan, options

    def loss(self) -> tuple[Tensor, int]:
        return self.streams.loss(self.model), self.streams.batch * self.streams.window

    def evaluate(self) -> float:
        return nats_per_symbol(self.model, self.validation)

    def position(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return self.streams.position()

    def restore(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        self.streams.restore(tensors, data)

    def save(self, result: Result) -> None:
        self.model.save(self.out, _summary(self.model, result, self.plan, self.options))


def train_language(
    text: str,
    out: str | Path,
    plan: Plan,
    options: Options | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    prepared: Callable[[LanguageModel], None] = lambda model: None,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Trains a LanguageModel on the text and keeps the best one in the folder `out`.

    The last tenth of the text is never trained on; the model with the fewest nats a symbol on it is
    saved each time one is found. The vocabulary is all symbols of the text.
    overwrite: replace a model, or an unfinished run, that is in the folder.
    resume: go on with the unfinished run in the folder, with the same text, plan and options.
    prepared: called with the model before its first step. say: with a sentence about a damaged checkpoint.

    Raises Error before the first step if the text is too short, an option is out of range, or `out` is
    not writable or already holds a model or another run.
    """
    options, out = options or Options(), Path(out)
    _check(options)
    task = _LanguageTask(text, out, plan, options)
    if not (overwrite or resume):
        if checkpoint.exists(out):
            raise Error(
                f"{out} holds an unfinished run; say --resume to go on, or --overwrite to replace it"
            )
        if holds_model(out):
            raise Error(f"{out} already holds a model; choose another folder, or say --overwrite")
    files.check_writable(out)
    if not resume:
        checkpoint.remove(out)
    prepared(task.model)
    fingerprint = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    settings = {"text": fingerprint, **asdict(options), **asdict(plan)}
    result = fit(task, plan, out, settings, report, resume=resume, say=say)
    best = LanguageModel.load(out)
    best.save(out, _summary(best, result, plan, options))
    return result


def _check(options: Options) -> None:
    for name in ("batch", "window"):
        if getattr(options, name) < 1:
            raise Error(f"training: {name} is {getattr(options, name)}; wanted at least 1")
    if not 0 < options.validation < 1:
        raise Error(f"training: validation is {options.validation}; wanted a part between 0 and 1")


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise Error(
            f"device {name!r} cannot be used here ({reason}); wanted cpu, or cuda with a GPU"
        ) from error
    return device


def _compact(indices: Tensor, symbols: int) -> Tensor:
    """The same numbers in the smallest integer type that holds them: a large text in little memory."""
    for dtype in (torch.uint8, torch.int16, torch.int32):
        if symbols <= torch.iinfo(dtype).max + 1:
            return indices.to(dtype)
    return indices


def _summary(model: LanguageModel, result: Result, plan: Plan, options: Options) -> dict[str, Any]:
    return {
        "validation_nats_per_symbol": result.best,
        "seconds": round(result.seconds, 3),
        "symbols_per_second": round(result.symbols_per_second, 1),
        "steps": result.steps,
        "interrupted": result.interrupted,
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "options": {**asdict(options), **asdict(plan)},
    }
