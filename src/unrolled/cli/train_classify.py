"""unrolled train classify FILE --out DIR"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated

import typer

from ..models import Classifier
from ..text import Vocabulary
from ..training import ClassifierOptions, Example, choose, train_classifier
from ..training.classification import LABEL, labels_of
from ..training.evaluation import evaluate_classifier, peek
from ..training.parallel import joined
from ..training.rows import split
from ..training.symbols import form, vocabulary_of
from . import options as o
from .ending import ending
from .examples import labelled
from .shared import Shared, shared

_DEFAULT = ClassifierOptions()


@shared
def classify(
    file: Annotated[Path, typer.Argument(help="A table: .tsv, .csv or .jsonl, packed (.gz) or not.")],
    text: Annotated[str, typer.Option(help="The column of texts: its name, or its number from 1.")],
    label: Annotated[str, typer.Option(help="The column of labels: its name, or its number from 1.")],
    labels: Annotated[
        str | None, typer.Option(help="Only rows with these labels, separated by commas.")
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(help="Another table to judge by; without it a tenth of the rows, at most 5,000."),
    ] = None,
    unit: Annotated[
        str, typer.Option(help="What a text is read by: character, grapheme, byte, word, syllable, jamo")
    ] = _DEFAULT.unit,
    lower: Annotated[bool, typer.Option("--lower", help="Words in lower case.")] = False,
    least: Annotated[int, typer.Option(help="How often a symbol must occur.")] = _DEFAULT.least,
    pooling: Annotated[str, typer.Option(help="last, mean, max or attention.")] = _DEFAULT.pooling,
    weighted: Annotated[
        bool, typer.Option("--weighted", help="Rare labels count as much as frequent ones.")
    ] = False,
    objective: Annotated[str, typer.Option(help="macro_f1 or accuracy.")] = _DEFAULT.objective,
    smoothing: Annotated[float, typer.Option(help="Label smoothing.")] = 0.0,
    consistency: Annotated[
        float | None, typer.Option(help="Read each text under two masks that are to agree (R-Drop's α).")
    ] = None,
    longest: Annotated[int, typer.Option(help="Symbols that are read of a text.")] = _DEFAULT.longest,
    grams: Annotated[
        int | None,
        typer.Option(help="Read each symbol with the n-grams up to this that end at it; 1: alone."),
    ] = None,
    one_way: Annotated[bool, typer.Option("--one-way", help="Read forwards only.")] = False,
    *,
    run: Shared,
) -> None:
    """Learn to give a text one of several labels; the labels are those in the file."""
    plan, out = run.plan(learning_rate=2e-3), run.out
    given = run.given() | o.given(grams=grams, consistency=consistency)
    options = ClassifierOptions(
        unit=unit,
        least=least,
        lower=lower,
        pooling=pooling,
        weighted=weighted,
        objective=objective,
        smoothing=smoothing,
        longest=longest,
        bidirectional=not one_way,
        seed=run.seed,
        device=run.device,
    )
    known = labelled(file, text, label, labels)
    if validation is None:
        known, judged = split(known, options.validation, run.seed, LABEL)
    else:
        judged = labelled(validation, text, label, labels)
    names = labels_of(known, judged)
    reads = form(run.normalize or "", unit)
    vocabulary = vocabulary_of([e.text for e in known], unit, least, lower, reads)
    console = o.console()
    with joined() as group:
        choice = o.settle(
            group,
            run.resume,
            out,
            plan,
            options,
            given | run.rates(),
            lambda: choose.for_classifier(
                _lengths(known, vocabulary, longest), len(vocabulary), len(names), plan, options, given
            ),
        )
        options, plan = choice.options, choice.plan
        console.print(
            f"{len(known):,} texts with {len(names)} labels, {len(judged):,} to judge by, "
            f"{len(vocabulary):,} symbols ({unit}); {options.cell}, {options.num_layers} × "
            f"{options.hidden_size} units on {options.device}; {o.budget(plan)}. "
            f"Ctrl-C ends early and keeps the best.",
            highlight=False,
        )
        if choice.why:
            console.print(choice.why, highlight=False)
        with o.listening(console, objective, run.log) as to:
            result = train_classifier(
                known,
                out,
                plan,
                options,
                validation=judged,
                overwrite=run.overwrite,
                resume=run.resume,
                report=to.report,
                say=to.say,
            )
        if not group.leads:
            return
    model = Classifier.load(out)
    console.print(peek(evaluate_classifier(model, judged, known)), highlight=False)
    columns = ["--text", text, "--label", label, *(["--labels", labels] if labels else [])]
    commands = [
        ["predict", out, "some text"],
        ["evaluate", out, "FILE", *columns, "--train", file],
    ]
    console.print(ending(result, model, out, objective, commands), highlight=False, markup=False)


def _lengths(examples: list[Example], vocabulary: Vocabulary, longest: int) -> list[int]:
    """The symbols of each text, known from a thousand of them."""
    some = random.Random(0).sample(examples, min(1000, len(examples)))
    lengths = [min(len(vocabulary.encode(e.text)), longest) for e in some]
    return lengths * -(-len(examples) // len(some))
