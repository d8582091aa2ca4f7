"""The same small classifier with each kind of input, under one budget, over several seeds."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import Error
from ..models import Classifier
from ..text.units import make_unit, normal
from ..vectors import GloVe, Word2Vec, write
from .classification import LABEL, ClassifierOptions, Example, train_classifier
from .evaluation import evaluate_classifier
from .plan import Plan
from .rows import split
from .symbols import form

T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's quantile of a two-sided interval of 95 %, by the number of seeds."""


@dataclass(frozen=True)
class Row:
    """One input's scores on texts that were neither trained on nor chosen by, a number for each seed."""

    name: str
    accuracy: tuple[float, ...]
    macro_f1: tuple[float, ...]


def half_interval(values: Sequence[float]) -> float:
    """Half of the interval of 95 % for the mean over seeds, by Student's t; nan for one seed."""
    if len(values) < 2:
        return math.nan
    return T95[len(values)] * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def compare_inputs(
    examples: Sequence[Example],
    plan: Plan,
    options: ClassifierOptions,
    *,
    seeds: int = 3,
    say: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Trains a Classifier of words with one-hot, learned, Word2Vec and GloVe inputs, once for each seed.

    A tenth of the examples, drawn by the seed, judges; of the rest a tenth chooses the best model. The
    vectors, `options.embedding_size` wide, are learned from the texts to train on alone and stay frozen.
    plan and options are the same for all; their seed and input are set here. say: told what comes next.

    Raises Error for seeds outside 2 to 10, and as `train_classifier` does.
    """
    if seeds not in T95:
        raise Error(f"compare: seeds is {seeds}; wanted 2 to {max(T95)}, for an interval")
    if options.unit != "word" or not options.embedding_size:
        raise Error("compare: Word2Vec and GloVe are vectors of words; wanted unit 'word' and a width")
    if len({example.label for example in examples}) < 2:  # learning vectors takes long
        raise Error(f"compare: {len(examples)} texts have fewer than two different labels")
    width = options.embedding_size
    scores: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        known, judged = split(examples, 0.1, seed, LABEL)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            kinds = {"one-hot": {"input": "one-hot"}, "learned": {"input": "embedding"}}
            unit, normalize = make_unit("word", options.lower), form(options.normalize, "word")
            texts = [words for example in known if (words := unit.cut(normal(example.text, normalize)))]
            for kind, model in {
                "Word2Vec": Word2Vec(dimension=width, min_count=options.least, seed=seed + 1),
                "GloVe": GloVe(dimension=width, min_count=options.least, seed=seed + 1),
            }.items():
                say(f"seed {seed}: learning {kind} from {len(texts):,} texts")
                file = folder / f"{kind}.safetensors"
                write(model.fit(texts), file)
                kinds[kind] = {"input": "frozen", "vectors": str(file)}
            for kind, given in kinds.items():
                say(f"seed {seed}: training with {kind}")
                out = folder / "model"
                sized = replace(options, seed=seed, **given)
                train_classifier(known, out, plan, sized, overwrite=True)
                report = evaluate_classifier(Classifier.load(out), judged)
                scores.setdefault(kind, []).append((report["accuracy"], report["macro_f1"]))
    return [Row(kind, *zip(*pairs, strict=True)) for kind, pairs in scores.items()]
