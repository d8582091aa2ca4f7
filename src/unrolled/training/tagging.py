"""Training a tagger on sentences of tagged words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..errors import Error
from ..models.tagger import Tagger
from ..text import Sentence, Vocabulary
from ..text.units import normal
from . import runs
from .parallel import Group
from .plan import Plan, Progress, Result
from .rows import Rows, split
from .runs import Listener, ModelOptions
from .symbols import UNKNOWN, form


@dataclass(frozen=True, kw_only=True)
class TaggerOptions(ModelOptions):
    """What to train, beside the plan. least: how often a word must occur to have an embedding of its own;
    validation: the part of the sentences kept for judging, if no others are given for it; None: a tenth, at
        most rows.JUDGED."""

    cell: str = "lstm"
    hidden_size: int = 128
    dropout: float = 0.4
    embedding_size: int = 100
    character_size: int = 64
    word_dropout: float = 0.1
    batch: int = 16
    least: int = 2
    validation: float | None = None


class _TaggerTask:
    """A Tagger on sentences; judged on others."""

    higher_is_better = True
    metric = "accuracy"

    def __init__(
        self,
        sentences: Sequence[Sentence],
        validation: Sequence[Sentence],
        tags: Sequence[str],
        plan: Plan,
        options: TaggerOptions,
        group: Group,
    ) -> None:
        device = runs.device(options.device)
        normalize = form(options.normalize, "word")
        words = Counter(normal(word, normalize) for sentence in sentences for word in sentence.words)
        often = [word for word, count in words.most_common() if count >= options.least]
        self.model = Tagger(
            Vocabulary(often, unknown=UNKNOWN, normalize=normalize),
            Vocabulary(sorted({c for word in words for c in word}), unknown=UNKNOWN, normalize=normalize),
            tags,
            character_size=options.character_size,
            **options.model(),
        ).to(device)
        self.sentences, self.validation = sentences, validation
        numbers = {tag: i for i, tag in enumerate(tags)}
        self.targets = [torch.tensor([numbers[tag] for tag in s.tags]) for s in sentences]
        generator = torch.Generator().manual_seed(options.seed)
        self.rows = Rows([len(s.words) for s in sentences], options.batch, generator, group)
        self.group, self.plan, self.options = group, plan, options

    @property
    def steps_per_pass(self) -> int:
        return self.rows.batches

    def loss(self, model: nn.Module) -> tuple[Tensor, int]:
        some, symbols, factor = self.rows.next()
        logits = model(self.model.read([self.sentences[i].words for i in some]))
        targets = nn.utils.rnn.pad_sequence([self.targets[i] for i in some], True, -100)
        targets = targets.to(logits.device)
        total = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
        # The mean over the words of the whole batch, of which this process has a part.
        return total * (self.group.size / symbols if factor else 0.0), symbols

    def evaluate(self) -> float:
        got = self.model.predict([s.words for s in self.validation])
        pairs = [
            p for s, tags in zip(self.validation, got, strict=True) for p in zip(s.tags, tags, strict=True)
        ]
        return sum(wanted == tag for wanted, tag in pairs) / len(pairs)

    def summary(self) -> dict[str, Any]:
        return runs.described(self.model, self.plan, self.options)

    def position(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return self.rows.position()

    def restore(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        self.rows.restore(tensors, data)


def train_tagger(
    sentences: Sequence[Sentence],
    out: str | Path,
    plan: Plan,
    options: TaggerOptions | None = None,
    *,
    validation: Sequence[Sentence] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    prepared: Callable[[Tagger], None] = lambda model: None,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Trains a Tagger on sentences and keeps the most accurate one in the folder `out`.

    The tags are those of the sentences, in the order of the alphabet. Without `validation` a part of the
    sentences, drawn by the seed, is kept for judging. The other arguments are those of train_language.

    Raises Error before the first step if there are fewer than two tags, `validation` has no words, an
    option is out of range, or `out` is not writable or already holds something.
    """
    options = options or TaggerOptions()
    for name in ("batch", "least"):
        if getattr(options, name) < 1:
            raise Error(f"training: {name} is {getattr(options, name)}; wanted at least 1")
    if validation is None:
        sentences, validation = split(sentences, options.validation, options.seed)
    sentences = [s for s in sentences if s.words]
    judged = [s for s in validation if s.words]
    for s in (*sentences, *judged):
        if len(s.words) != len(s.tags):
            raise Error(
                f"training: a sentence of {len(s.words)} words has {len(s.tags)} tags: {s.words!r:.60}"
            )
    tags = sorted({tag for s in sentences for tag in s.tags})
    if not judged or len(tags) < 2:
        raise Error(
            f"training: {len(sentences)} sentences with {len(tags)} different tags, and {len(judged)} to "
            f"judge by; wanted sentences of both, and at least two tags"
        )
    parts = [part for some in (sentences, judged) for s in some for row in s for part in ("", *row)]
    return runs.train(
        lambda group: _TaggerTask(sentences, judged, tags, plan, options, group),
        Path(out),
        plan,
        options,
        runs.fingerprint(str(len(sentences)), *parts),
        Listener(report, prepared, say),
        overwrite=overwrite,
        resume=resume,
    )
