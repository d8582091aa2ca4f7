"""unrolled train tag FILE --out DIR"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..models import Tagger
from ..text import read_sentences
from ..training import Plan, TaggerOptions, train_tagger
from ..training.evaluation import evaluate_tagger, peek
from ..training.parallel import joined
from ..training.rows import split
from . import options as o
from .ending import ending

_PLAN, _DEFAULT = Plan(steps=1), TaggerOptions()


def tag(
    file: Annotated[Path, typer.Argument(help="CoNLL-U, or a word and its tag a line; .gz or not.")],
    out: o.Out,
    validation: Annotated[
        Path | None, typer.Option(help="Others to judge by; without it a tenth of the sentences.")
    ] = None,
    column: Annotated[str, typer.Option(help="CoNLL-U: the column of tags.")] = "UPOS",
    least: Annotated[int, typer.Option(help="How often a word must occur.")] = _DEFAULT.least,
    character_size: Annotated[
        int, typer.Option(help="Width of each direction of the spelling.")
    ] = _DEFAULT.character_size,
    cell: o.Cell = None,
    hidden_size: o.Hidden = None,
    layers: o.Layers = None,
    dropout: o.Dropout = None,
    embedding_size: o.Embedding = None,
    input: o.Input = None,
    vectors: o.Vectors = None,
    normalize: o.Normalize = None,
    residual: o.Residual = False,
    layer_norm: o.Norm = False,
    variational: o.Variational = False,
    input_dropout: o.InputDropout = None,
    word_dropout: o.WordDropout = None,
    recurrent_dropout: o.RecurrentDropout = None,
    minutes: o.Minutes = None,
    steps: o.Steps = None,
    batch: o.Rows = None,
    learning_rate: o.Rate = None,
    validations: o.Validations = _PLAN.validations,
    patience: o.Patience = 0,
    seed: o.Seed = 0,
    device: o.Device = "cpu",
    checkpoint_every: o.Every = _PLAN.checkpoint_every,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
    tensorboard: o.TensorBoard = False,
) -> None:
    """Learn to give each word of a sentence its tag; the tags are those in the file."""
    plan = o.plan(
        minutes,
        steps,
        learning_rate,
        3e-3,
        validations=validations,
        patience=patience,
        checkpoint_every=checkpoint_every,
    )
    given = o.given(
        cell=cell,
        hidden_size=hidden_size,
        num_layers=layers,
        dropout=dropout,
        embedding_size=embedding_size,
        input=input,
        vectors=None if vectors is None else str(vectors),
        normalize=normalize,
        residual=residual,
        layer_norm=layer_norm,
        variational=variational,
        input_dropout=input_dropout,
        word_dropout=word_dropout,
        recurrent_dropout=recurrent_dropout,
        batch=batch,
    )
    options = TaggerOptions(
        **{"least": least, "character_size": character_size, "seed": seed, "device": device, **given}
    )
    known = read_sentences(file, column)
    if validation is None:
        known, judged = split(known, options.validation, seed)
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
        with o.listening(console, "accuracy", out / "tensorboard" if tensorboard else None) as to:
            result = train_tagger(
                known,
                out,
                plan,
                options,
                validation=judged,
                overwrite=overwrite,
                resume=resume,
                report=to.report,
                say=to.say,
            )
        if not group.leads:
            return
    model = Tagger.load(out)
    console.print(peek(evaluate_tagger(model, judged, known)), highlight=False)
    commands = [
        f'unrolled predict {out} "A sentence of words"',
        f"unrolled evaluate {out} FILE --train {file}",
    ]
    console.print(ending(result, model, out, "accuracy", commands), highlight=False)
