"""unrolled train language FILE --out DIR"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..models import LanguageModel
from ..text import Index, read_text
from ..training import Options, choose, train_language
from ..training.evaluation import evaluate_language, peek
from ..training.language import numbers, vocabulary_for
from ..training.parallel import joined
from . import options as o
from .corpus import corpus
from .ending import ending
from .shared import Shared, shared


@shared
def language(
    file: Annotated[
        Path,
        typer.Argument(
            help="A UTF-8 text, gzipped or not, a folder of them, or a table (--column); the last tenth is "
            "kept for validation."
        ),
    ],
    column: Annotated[
        str | None, typer.Option(help="The column of texts in .tsv, .csv and .jsonl, by name or number.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="Read through an index file here; large files get one anyway.")
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="Another text to judge by.")] = None,
    unit: Annotated[
        str | None,
        typer.Option(help="What the text is read by: character, grapheme, byte, word, syllable, jamo."),
    ] = None,
    least: Annotated[int | None, typer.Option(help="How often a symbol must occur.")] = None,
    tied: Annotated[bool, typer.Option("--tied", help="The head's weights are the embedding's.")] = False,
    members: Annotated[
        int | None, typer.Option(min=1, help="Networks side by side, whose probabilities are averaged.")
    ] = None,
    proj_size: Annotated[
        int | None, typer.Option(help="Project each layer's output to this width.")
    ] = None,
    window: Annotated[int | None, typer.Option(help="Steps that gradients flow back through.")] = None,
    *,
    run: Shared,
) -> None:
    """Learn to write like a text: a model of its characters, the best one kept."""
    plan, out = run.plan(), run.out
    given = run.given() | o.given(
        tied=tied, members=members, proj_size=proj_size, window=window, unit=unit, least=least
    )
    other = None if validation is None else read_text(validation)
    console = o.console()
    options = Options(seed=run.seed, device=run.device)
    text = corpus(console, file, column, index, replace(options, **given))
    vocabulary = (
        text.vocabulary if isinstance(text, Index) else vocabulary_for(text, replace(options, **given))
    )
    known, judged = numbers(vocabulary, text, other, options)
    symbols = len(known) + (len(judged) if other is None else 0)
    with joined() as group:
        choice = o.settle(
            group,
            run.resume,
            out,
            plan,
            options,
            given | run.rates(),
            lambda: choose.for_language(len(known), len(vocabulary), plan, options, given),
        )
        options, plan = choice.options, choice.plan
        console.print(
            f"{symbols:,} {options.unit}s, {len(vocabulary):,} distinct; {options.cell}, "
            f"{_several(options)}{options.num_layers} × {options.hidden_size} units on {options.device}; "
            f"{o.budget(plan)}. Ctrl-C ends early and keeps the best.",
            highlight=False,
        )
        if choice.why:
            console.print(choice.why, highlight=False)
        with o.listening(console, "nats_per_symbol", run.log, options.unit) as to:
            result = train_language(
                text,
                out,
                plan,
                options,
                validation=other,
                overwrite=run.overwrite,
                resume=run.resume,
                report=to.report,
                say=to.say,
            )
        if not group.leads:
            return
    model = LanguageModel.load(out)
    console.print(peek(evaluate_language(model, judged, known)), highlight=False)
    commands = [
        ["generate", out, "--length", "400"],
        ["show", out, "some text", "-o", "picture.png"],
        ["evaluate", out, validation or "FILE"],
    ]
    console.print(
        ending(result, model, out, "nats_per_symbol", commands, options.unit), highlight=False, markup=False
    )


def _several(options: Options) -> str:
    return f"{options.members} networks of " if options.members > 1 else ""
