"""What a model is worth on data that it was not trained on, beside what a trivial model is worth there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import Error
from ..models import Classifier, LanguageModel, Tagger
from ..text import Sentence
from . import baselines, metrics
from .classification import Example
from .streams import symbol_nats, window_nats

BITS = 1 / math.log(2)
BLOCK = 500
"""Symbols whose mean counts as one observation for an interval: neighbours are not independent."""


def evaluate_language(
    model: LanguageModel,
    text: str | Tensor,
    known: str | Tensor | None = None,
    window: int | None = None,
) -> dict[str, Any]:
    """Nats a symbol of the text, with bits, a 95 % interval, and an n-gram model of `known` beside it.

    text: or its numbers, (symbols,). known: the text that the model was trained on, or its numbers.
    window: also the score over windows read each by itself.
    """
    indices = _numbered(model, text)
    nats = symbol_nats(model, indices).numpy()
    report: dict[str, Any] = {"task": "language", "symbols": len(nats), "unit": model.vocabulary.unit}
    report |= _nats(nats)
    if window is not None:
        score = window_nats(model, indices, window)
        report[f"windows_of_{window}"] = {"nats_per_symbol": score, "bits_per_symbol": score * BITS}
    if known is not None:
        symbols = len(model.vocabulary)
        order = 5 if len(indices) > 2 else 1
        counted = baselines.ngram_nats(_numbered(model, known), indices, symbols, order)
        report["baseline"] = {"name": f"{order}-grams, Witten-Bell", **_nats(counted)}
    return report


def _numbered(model: LanguageModel, text: str | Tensor) -> Tensor:
    return model.vocabulary.encode(text) if isinstance(text, str) else text


def evaluate_classifier(
    model: Classifier, examples: Sequence[Example], known: Sequence[Example] | None = None
) -> dict[str, Any]:
    """Accuracy, macro-F1 and each label's scores, with a bag of n-grams fitted to `known` beside them.

    known: the examples that the model was trained on.
    Raises Error if an example has a label that the model does not know.
    """
    wanted = _numbers(model, examples)
    got = model.probabilities([e.text for e in examples]).argmax(-1).tolist()
    report = {"task": "classify", **metrics.classification(wanted, got, model.labels)}
    if known is not None:
        order = ngram_order(model)
        rows: list[list[Tensor]] = [[model.read(e.text) for e in some] for some in (known, examples)]
        targets = _numbers(model, known)
        guesses = baselines.bag_of_ngrams(rows[0], targets, rows[1], len(model.labels), order)
        name = f"logistic regression on 1 to {order}-grams of the same symbols"
        report["baseline"] = {
            "name": name,
            **_short(metrics.classification(wanted, guesses.tolist(), model.labels)),
        }
        most = Counter(targets).most_common(1)[0][0]
        constant = metrics.classification(wanted, [most] * len(wanted), model.labels)
        report["commonest_label"] = {"name": f"always {model.labels[most]!r}", **_short(constant)}
    return report


def evaluate_tagger(
    model: Tagger, sentences: Sequence[Sentence], known: Sequence[Sentence] | None = None
) -> dict[str, Any]:
    """The tags' accuracy, macro-F1 and scores, with the commonest tag of each word of `known` beside them.

    known: the sentences that the model was trained on. A tag that the model does not know is wrong;
    `unknown` says of how many words.

    Raises Error if it knows none of them.
    """
    given = {t for s in sentences for t in s.tags}
    if not given & set(model.tags):
        raise Error(
            f"evaluation: the model knows none of the tags ({_some(given)}); it has {_some(model.tags)}: "
            f"name the column that it was trained on (--column), or another file"
        )
    tags = [*model.tags, *sorted(given - set(model.tags))]
    numbers = {tag: i for i, tag in enumerate(tags)}
    words = [s.words for s in sentences]
    wanted = [numbers[tag] for s in sentences for tag in s.tags]
    got = [numbers[tag] for row in model.predict(words) for tag in row]
    report = {"task": "tag", **metrics.classification(wanted, got, tags, "words")}
    report["unknown"] = sum(number >= len(model.tags) for number in wanted)
    if known is not None:
        looked_up = baselines.commonest_tags(known, words)
        guesses = [numbers[tag] for row in looked_up for tag in row]
        scores = _short(metrics.classification(wanted, guesses, tags, "words"))
        report["baseline"] = {"name": "the commonest tag of each word, or of its ending", **scores}
    return report


def ngram_order(model: Classifier) -> int:
    """Three characters, or two of longer symbols."""
    return 3 if all(len(s) == 1 for s in model.vocabulary.symbols if s != model.vocabulary.unknown) else 2


def _numbers(model: Classifier, examples: Sequence[Example]) -> list[int]:
    numbers = {label: i for i, label in enumerate(model.labels)}
    new = Counter(e.label for e in examples if e.label not in numbers)
    if new:
        label, count = new.most_common(1)[0]
        raise Error(
            f"evaluation: {count} text(s) have the label {label!r}, which the model does not know; it has "
            f"{', '.join(model.labels)}: leave them out"
        )
    return [numbers[e.label] for e in examples]


def _some(names: Collection[str]) -> str:
    """A few of them, and whether there are more."""
    return ", ".join(sorted(names)[:8]) + (", …" if len(names) > 8 else "")


def _short(scores: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in scores.items() if k not in ("labels", "texts", "words")}


def _nats(nats: np.ndarray) -> dict[str, Any]:
    mean = float(nats.mean())
    blocks = np.array([block.mean() for block in np.array_split(nats, max(1, len(nats) // BLOCK))])
    half = 1.96 * blocks.std(ddof=1) / math.sqrt(len(blocks)) if len(blocks) > 1 else math.inf
    interval = [mean - half, mean + half] if math.isfinite(half) else None
    return {"nats_per_symbol": mean, "bits_per_symbol": mean * BITS, "nats_per_symbol_interval": interval}


def peek(report: dict[str, Any]) -> str:
    """The report in a few lines for people: the score, the trivial model's, by label."""
    lines = []
    if report["task"] == "language":
        unit = report["unit"]
        lines.append(f"{_language_line(report, unit)} over {report['symbols']:,} {unit}s")
        for name, score in report.items():
            if name.startswith("windows_of_"):
                words = name.replace("_", " ")
                nats, bits = score["nats_per_symbol"], score["bits_per_symbol"]
                lines.append(f"over {words}: {nats:.4f} nats = {bits:.3f} bits per {unit}")
        if "baseline" in report:
            lines.append(
                f"to compare, {report['baseline']['name']}: {_language_line(report['baseline'], unit)}"
            )
        return "\n".join(lines)
    what = "words" if report["task"] == "tag" else "texts"
    lines.append(f"{_class_line(report)} over {report[what]:,} {what}")
    if report.get("unknown"):
        lines.append(
            f"{report['unknown']:,} of them have a tag that the model does not know, and count as wrong"
        )
    for name in ("baseline", "commonest_label"):
        if name in report:
            lines.append(f"to compare, {report[name]['name']}: {_class_line(report[name])}")
    rows = report["labels"].items()
    if len(rows) <= 30:
        width = max(len(label) for label, _ in rows)
        lines += [
            f"  {label:<{width}}  F1 {s['f1']:.3f}  precision {s['precision']:.3f}  "
            f"recall {s['recall']:.3f}  of {s[what]:,}"
            for label, s in rows
        ]
    return "\n".join(lines)


def _language_line(score: dict[str, Any], unit: str) -> str:
    interval = score["nats_per_symbol_interval"]
    shown = f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
    return f"{score['nats_per_symbol']:.4f} nats{shown} = {score['bits_per_symbol']:.3f} bits per {unit}"


def _class_line(score: dict[str, Any]) -> str:
    a, b = score["accuracy_interval"]
    c, d = score["macro_f1_interval"]
    return (
        f"accuracy {score['accuracy']:.4f} ({a:.4f} to {b:.4f}), "
        f"macro-F1 {score['macro_f1']:.4f} ({c:.4f} to {d:.4f})"
    )
