"""unrolled train tag FILE --out DIR"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..models import Tagger
from ..text import read_sentences
from ..training import TaggerOptions, train_tagger
from ..training.evaluation import evaluate_tagger, peek
from ..training.parallel import joined
from ..training.rows import split
from . import options as o
from .ending import ending
from .shared import Shared, shared

_DEFAULT = TaggerOptions()


@shared
def tag(
    file: Annotated[Path, typer.Argument(help="CoNLL-U, or a word and its tag a line; .gz or not.")],
    validation: Annotated[
        Path | None, typer.Option(help="Others to judge by; without it a tenth of them, at most 5,000.")
    ] = None,
    column: Annotated[str, typer.Option(help="CoNLL-U: the column of tags.")] = "UPOS",
    least: Annotated[int, typer.Option(help="How often a word must occur.")] = _DEFAULT.least,
    character_size: Annotated[
        int, typer.Option(help="Width of each direction of the spelling.")
    ] = _DEFAULT.character_size,
    *,
    run: Shared,
) -> None:
    """Learn to give each word of a sentence its tag; the tags are those in the file."""
    # Most words of a tagger come seldom: decay would take them back between two sights of them.
    plan, out = run.plan(learning_rate=3e-3, weight_decay=0.01), run.out
    options = TaggerOptions(
        least=least,
        character_size=character_size,
        seed=run.seed,
        device=run.device,
        **run.given(),
    )
    known = read_sentences(file, column)
    if validation is None:
        known, judged = split(known, options.validation, run.seed)
    else:
        judged = read_sentences(validation, column)
    console = o.console()
    with joined() as group:
        console.print(
            f"{len(known):,} sentences of {sum(len(s.words) for s in known):,} words, {len(judged):,} "
            f"to judge by; {options.cell}, {options.num_layers} × {options.hidden_size} units each way on "
            f"{options.device}; {o.budget(plan)}. Ctrl-C ends early and keeps the best.",
            highlight=False,
        )
        with o.listening(console, "accuracy", run.log) as to:
            result = train_tagger(
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
    model = Tagger.load(out)
    console.print(peek(evaluate_tagger(model, judged, known)), highlight=False)
    columns = [] if column == "UPOS" else ["--column", column]
    commands = [
        ["predict", out, "A sentence of words"],
        ["evaluate", out, "FILE", *columns, "--train", file],
    ]
    console.print(ending(result, model, out, "accuracy", commands), highlight=False, markup=False)
