"""unrolled train language FILE --out DIR"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..models import LanguageModel
from ..text import Index, read_text
from ..training import Options, Plan, choose, train_language
from ..training.evaluation import evaluate_language, peek
from ..training.language import numbers, vocabulary_for
from ..training.parallel import joined
from . import options as o
from .corpus import corpus
from .ending import ending

_PLAN = Plan(steps=1)


def language(
    file: Annotated[
        Path,
        typer.Argument(
            help="A UTF-8 text, gzipped or not, a folder of them, or a table (--column); the last tenth is "
            "kept for validation."
        ),
    ],
    out: o.Out,
    column: Annotated[
        str | None, typer.Option(help="The column of texts in .tsv, .csv and .jsonl, by name or number.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="Read through an index file here; large files get one anyway.")
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="Another text to judge by.")] = None,
    unit: Annotated[str | None, typer.Option(help="What the text is read by: character, word, …")] = None,
    least: Annotated[int | None, typer.Option(help="How often a symbol must occur.")] = None,
    cell: o.Cell = None,
    hidden_size: o.Hidden = None,
    layers: o.Layers = None,
    dropout: o.Dropout = None,
    embedding_size: o.Embedding = None,
    input: o.Input = None,
    vectors: o.Vectors = None,
    normalize: o.Normalize = None,
    tied: Annotated[bool, typer.Option("--tied", help="The head's weights are the embedding's.")] = False,
    residual: o.Residual = False,
    layer_norm: o.Norm = False,
    proj_size: o.Projection = None,
    variational: o.Variational = False,
    input_dropout: o.InputDropout = None,
    word_dropout: o.WordDropout = None,
    recurrent_dropout: o.RecurrentDropout = None,
    minutes: o.Minutes = None,
    steps: o.Steps = None,
    batch: o.Rows = None,
    window: Annotated[int | None, typer.Option(help="Steps that gradients flow back through.")] = None,
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
    """Learn to write like a text: a model of its characters, the best one kept."""
    plan = o.plan(
        minutes,
        steps,
        learning_rate,
        _PLAN.learning_rate,
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
        tied=tied,
        residual=residual,
        layer_norm=layer_norm,
        proj_size=proj_size,
        variational=variational,
        input_dropout=input_dropout,
        word_dropout=word_dropout,
        recurrent_dropout=recurrent_dropout,
        batch=batch,
        window=window,
        unit=unit,
        least=least,
    )
    other = None if validation is None else read_text(validation)
    console = o.console()
    options = Options(seed=seed, device=device)
    text = corpus(console, file, column, index, replace(options, **given))
    vocabulary = (
        text.vocabulary if isinstance(text, Index) else vocabulary_for(text, replace(options, **given))
    )
    known, judged = numbers(vocabulary, text, other, options)
    symbols = len(known) + (len(judged) if other is None else 0)
    with joined() as group:
        choice = o.settle(
            group,
            resume,
            out,
            plan,
            options,
            given | o.given(learning_rate=learning_rate),
            lambda: choose.for_language(len(known), len(vocabulary), plan, options, given),
        )
        options, plan = choice.options, choice.plan
        console.print(
            f"{symbols:,} {options.unit}s, {len(vocabulary):,} distinct; {options.cell}, "
            f"{options.num_layers} × {options.hidden_size} units on {options.device}; {o.budget(plan)}. "
            f"Ctrl-C ends early and keeps the best.",
            highlight=False,
        )
        if choice.why:
            console.print(choice.why, highlight=False)
        with o.listening(console, "nats_per_symbol", out / "tensorboard" if tensorboard else None) as to:
            result = train_language(
                text,
                out,
                plan,
                options,
                validation=other,
                overwrite=overwrite,
                resume=resume,
                report=to.report,
                say=to.say,
            )
        if not group.leads:
            return
    model = LanguageModel.load(out)
    console.print(peek(evaluate_language(model, judged, known)), highlight=False)
    commands = [
        f"unrolled generate {out} --length 400",
        f'unrolled show {out} "some text" -o picture.png',
        f"unrolled evaluate {out} {validation or file}",
    ]
    console.print(ending(result, model, out, "nats_per_symbol", commands), highlight=False)
