"""Training a language model on a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Error
from ..models import LanguageModel
from ..text import Index, Vocabulary
from . import runs
from .parallel import Group
from .plan import Plan, Progress, Result
from .runs import Listener, ModelOptions
from .streams import Streams, nats_per_symbol
from .symbols import form, vocabulary_of

LARGEST_VALIDATION = 1_000_000
"""Symbols of an index that are kept for judging at most: a tenth of a huge text takes too long to read."""


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions):
    """What to train, beside the plan.

    window: steps of back-propagation.
    unit: what a text is read by, as in Vocabulary.
    least: how often a symbol must occur; where it is above 1, rarer ones are read as unknown.
    validation: the part of the text, from its end, that is kept for judging, if no other text is given.
    tied: the head's weights are the embedding's.
    members: networks side by side, whose probabilities are averaged.
    """

    embedding_size: int = 128
    batch: int = 8
    window: int = 64
    unit: str = "character"
    least: int = 1
    validation: float = 0.1
    tied: bool = False
    members: int = 1

    def model(self) -> dict[str, Any]:
        """The arguments of the model."""
        return super().model() | {"tied": self.tied, "members": self.members}


class _LanguageTask:
    """A LanguageModel on a text, whose end is kept for validation."""

    higher_is_better = False
    metric = "nats_per_symbol"

    def __init__(
        self, text: str | Index, validation: str | None, plan: Plan, options: Options, group: Group
    ) -> None:
        device = runs.device(options.device)
        runs.check_batch(options, group)
        vocabulary = text.vocabulary if isinstance(text, Index) else vocabulary_for(text, options)
        self.model = LanguageModel(vocabulary, **options.model()).to(device)
        known, judged = numbers(vocabulary, text, validation, options)
        if not isinstance(text, Index):
            known = known.to(device)
        self.validation = judged.to(device)
        generator = torch.Generator().manual_seed(options.seed)
        self.streams = Streams(known, options.batch, options.window, generator, group, device)
        self.plan, self.options = plan, options

    @property
    def steps_per_pass(self) -> int:
        return self.streams.windows

    def loss(self, model: nn.Module) -> tuple[Tensor, int]:
        return self.streams.loss(model), self.streams.batch * self.streams.window

    def evaluate(self) -> float:
        return nats_per_symbol(self.model, self.validation)

    def summary(self) -> dict[str, Any]:
        return runs.described(self.model, self.plan, self.options)

    def position(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return self.streams.position()

    def restore(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        self.streams.restore(tensors, data)


def train_language(
    text: str | Index,
    out: str | Path,
    plan: Plan,
    options: Options | None = None,
    *,
    validation: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    prepared: Callable[[LanguageModel], None] = lambda model: None,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Trains a LanguageModel on the text and keeps the best one in the folder `out`.

    The last tenth of the text (or another text, `validation`) is never trained on; the model with the
    fewest nats a symbol on it is saved each time one is found. The vocabulary is all symbols of the text.
    text: or the index of one larger than memory, with its vocabulary (options.unit, .least and .normalize
    are then the index's); of an index at most LARGEST_VALIDATION symbols are kept for judging.
    overwrite: replace a model, or an unfinished run, that is in the folder.
    resume: go on with the unfinished run in the folder, with the same text, plan and options.
    prepared: called with the model before its first step. say: with a sentence about a damaged checkpoint.

    Raises Error before the first step if the text is too short, an option is out of range, or `out` is
    not writable or already holds a model or another run.
    """
    options = options or Options()
    _check(options)
    return runs.train(
        lambda group: _LanguageTask(text, validation, plan, options, group),
        Path(out),
        plan,
        options,
        runs.fingerprint(text.source if isinstance(text, Index) else text, validation or ""),
        Listener(report, prepared, say),
        overwrite=overwrite,
        resume=resume,
    )


def vocabulary_for(text: str, options: Options) -> Vocabulary:
    """All symbols of the text, or those that occur often enough and an unknown one."""
    normalize = form(options.normalize, options.unit)
    if options.least > 1:
        return vocabulary_of([text], options.unit, options.least, normalize=normalize)
    return Vocabulary("" if options.unit == "byte" else text, unit=options.unit, normalize=normalize)


def numbers(
    vocabulary: Vocabulary, text: str | Index, validation: str | None, options: Options
) -> tuple[Tensor, Tensor]:
    """The numbers (symbols,) of what is trained on, and of what is judged by, in a small integer type: the
    text and the other one, or the text's beginning and end.

    Of an index they are mapped, not in memory. Raises Error if the other text has a symbol that the
    vocabulary lacks.
    """
    mapped = isinstance(text, Index)
    # Cut after it is read: the characters at a cut through a word or a letter's marks are other symbols.
    whole = torch.from_numpy(text.numbers) if mapped else compact(vocabulary.encode(text), len(vocabulary))
    if validation is not None:
        try:
            other = vocabulary.encode(validation)
        except Error as error:
            problem = str(error).rpartition(";")[0]
            raise Error(
                f"validation: {problem}; leave it out, or let rare symbols be read as unknown (least 2)"
            ) from error
        return whole, compact(other, len(vocabulary))
    kept = max(2, round(len(whole) * options.validation))
    kept = min(kept, LARGEST_VALIDATION) if mapped else kept
    return whole[:-kept], whole[-kept:]


def compact(indices: Tensor, symbols: int) -> Tensor:
    """The same numbers in the smallest integer type that holds them: a large text in little memory."""
    for dtype in (torch.uint8, torch.int16, torch.int32):
        if symbols <= torch.iinfo(dtype).max + 1:
            return indices.to(dtype)
    return indices


def _check(options: Options) -> None:
    for name in ("batch", "window", "least"):
        if getattr(options, name) < 1:
            raise Error(f"training: {name} is {getattr(options, name)}; wanted at least 1")
    if not 0 < options.validation < 1:
        raise Error(f"training: validation is {options.validation}; wanted a part between 0 and 1")
