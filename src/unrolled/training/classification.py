"""Training a classifier on labelled texts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..errors import Error
from ..models import Classifier
from . import metrics, runs
from .parallel import Group
from .plan import Plan, Progress, Result
from .rows import Rows, split
from .runs import Listener, ModelOptions
from .symbols import form, vocabulary_of

OBJECTIVES = ("macro_f1", "accuracy")


class Example(NamedTuple):
    """A text and its label."""

    text: str
    label: str


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(ModelOptions):
    """What to train, beside the plan.

    unit: what a text is read by, as in Vocabulary. least: how often a symbol must occur to be one; rarer
        ones are read as the unknown symbol.
    lower: words in lower case, for unit "word".
    weighted: rare labels count as much as frequent ones: each row's loss times texts / (labels * texts
        with its label).
    smoothing: label smoothing, the part of the target given to all labels alike.
    consistency: α of R-Drop (Liang et al. 2021): each text is read twice, under two masks of dropout, and
        to the mean of the two losses is added α (KL(p ‖ q) + KL(q ‖ p)) / 2 of what they say; 0: once.
    objective: the score that the best model has most of, "macro_f1" or "accuracy".
    longest: symbols after which a text is cut.
    grams: symbols of the longest n-grams that are read with each symbol; 1: none.
    validation: the part of the examples kept for judging, if no others are given for it; None: a tenth, at
        most rows.JUDGED.
    """

    cell: str = "gru"
    hidden_size: int = 128
    dropout: float = 0.3
    embedding_size: int = 128
    batch: int = 64
    bidirectional: bool = True
    pooling: str = "max"
    unit: str = "character"
    least: int = 2
    lower: bool = False
    weighted: bool = False
    smoothing: float = 0.0
    consistency: float = 0.0
    objective: str = "macro_f1"
    longest: int = 1000
    grams: int = 1
    validation: float | None = None


class _ClassifierTask:
    """A Classifier on examples; judged on others."""

    higher_is_better = True

    def __init__(
        self,
        examples: Sequence[Example],
        validation: Sequence[Example],
        labels: Sequence[str],
        plan: Plan,
        options: ClassifierOptions,
        group: Group,
    ) -> None:
        device = runs.device(options.device)
        vocabulary = vocabulary_of(
            [e.text for e in examples],
            options.unit,
            options.least,
            options.lower,
            form(options.normalize, options.unit),
        )
        self.model = Classifier(
            vocabulary,
            labels,
            bidirectional=options.bidirectional,
            pooling=options.pooling,
            longest=options.longest,
            grams=options.grams,
            **options.model(),
        ).to(device)
        self.metric = options.objective
        numbers = {label: i for i, label in enumerate(labels)}
        self.texts = [self.model.read(e.text) for e in examples]
        self.targets = torch.tensor([numbers[e.label] for e in examples])
        self.validation = [e.text for e in validation]
        self.wanted = [numbers[e.label] for e in validation]
        generator = torch.Generator().manual_seed(options.seed)
        self.rows = Rows([len(text) for text in self.texts], options.batch, generator, group)
        self.weights = None
        if options.weighted:
            counts = self.targets.bincount(minlength=len(labels)).clamp(min=1)
            self.weights = (len(examples) / (len(labels) * counts)).float().to(device)
        self.plan, self.options = plan, options

    @property
    def steps_per_pass(self) -> int:
        return self.rows.batches

    def loss(self, model: nn.Module) -> tuple[Tensor, int]:
        some, symbols, factor = self.rows.next()
        targets, texts = self.targets[some].to(self.model.device), [self.texts[i] for i in some]
        if not self.options.consistency:
            return self._nats(model(self.model.batch(texts)), targets) * factor, symbols
        # Each text twice in one batch, under two masks of dropout.
        first, second = model(self.model.batch([*texts, *texts])).chunk(2)
        nats = (self._nats(first, targets) + self._nats(second, targets)) / 2
        return (nats + self.options.consistency * _apart(first, second)) * factor, symbols

    def _nats(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy of a batch, summed over its rows."""
        smoothing = self.options.smoothing
        return cross_entropy(logits, targets, self.weights, reduction="sum", label_smoothing=smoothing)

    def evaluate(self) -> float:
        got = self.model.probabilities(self.validation).argmax(-1).tolist()
        matrix = metrics.confusion(self.wanted, got, len(self.model.labels))
        return metrics.macro_f1(matrix) if self.metric == "macro_f1" else metrics.accuracy(matrix)

    def summary(self) -> dict[str, Any]:
        counts = self.targets.bincount(minlength=len(self.model.labels)).tolist()
        labels = dict(zip(self.model.labels, counts, strict=True))
        return {**runs.described(self.model, self.plan, self.options), "training_texts_by_label": labels}

    def position(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return self.rows.position()

    def restore(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        self.rows.restore(tensors, data)


def _apart(first: Tensor, second: Tensor) -> Tensor:
    """(KL(p ‖ q) + KL(q ‖ p)) / 2 of the labels' probabilities, summed over the rows."""
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum() / 2


def train_classifier(
    examples: Sequence[Example],
    out: str | Path,
    plan: Plan,
    options: ClassifierOptions | None = None,
    *,
    validation: Sequence[Example] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    prepared: Callable[[Classifier], None] = lambda model: None,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Trains a Classifier on (text, label) pairs and keeps the best one in the folder `out`.

    The labels are those of the examples, in the order of the alphabet. Without `validation` a part of the
    examples, drawn by the seed, is kept for judging. The other arguments are those of train_language.

    Raises Error before the first step if there are fewer than two labels, `validation` has a label that
    the examples lack, an option is out of range, or `out` is not writable or already holds something.
    """
    options = options or ClassifierOptions()
    _check(options)
    if validation is None:
        examples, validation = split(examples, options.validation, options.seed, LABEL)
    labels = labels_of(examples, validation)
    parts = [part for group in (examples, validation) for e in group for part in e]
    return runs.train(
        lambda group: _ClassifierTask(examples, validation, labels, plan, options, group),
        Path(out),
        plan,
        options,
        runs.fingerprint(str(len(examples)), *parts),
        Listener(report, prepared, say),
        overwrite=overwrite,
        resume=resume,
    )


LABEL = attrgetter("label")


def labels_of(examples: Sequence[Example], validation: Sequence[Example]) -> list[str]:
    """The labels of the examples, sorted; raises Error if there is one only, or validation has others."""
    for example in (*examples, *validation):
        if not isinstance(example.text, str) or not isinstance(example.label, str):
            raise Error(
                f"training: got the text {example.text!r:.60} with the label {example.label!r}; wanted str"
            )
    if not examples or not validation:
        raise Error("training: there are no examples to train on or to judge by; give some of each")
    labels = sorted({example.label for example in examples})
    if len(labels) < 2:
        raise Error(
            f"training: all {len(examples)} texts have the label {labels[0]!r}; wanted at least two labels"
        )
    new = Counter(e.label for e in validation if e.label not in set(labels))
    if new:
        label, count = new.most_common(1)[0]
        raise Error(
            f"validation: {count} text(s) have the label {label!r}, which no text to train on has; "
            f"leave them out, or name the labels to use"
        )
    return labels


def _check(options: ClassifierOptions) -> None:
    for name in ("batch", "least", "longest"):
        if getattr(options, name) < 1:
            raise Error(f"training: {name} is {getattr(options, name)}; wanted at least 1")
    if not 0 <= options.smoothing < 1:
        raise Error(f"training: smoothing is {options.smoothing}; wanted a part from 0 to below 1")
    if not 0 <= options.consistency < math.inf:
        raise Error(f"training: consistency is {options.consistency}; wanted 0 (read once) or more")
    if options.objective not in OBJECTIVES:
        raise Error(f"training: objective {options.objective!r} is not one of {', '.join(OBJECTIVES)}")
