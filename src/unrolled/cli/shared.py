"""The options that all commands of `unrolled train` have, written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from typer import Option

from ..cells import CELLS
from ..training import Plan
from . import options as o

_PLAN = Plan(steps=1)


@dataclass(frozen=True)
class Shared:
    """What the user set of the model, the plan and the folder."""

    out: Annotated[Path, Option(help="The folder that the best model is written to.")]
    cell: Annotated[str | None, Option(help=f"One of {', '.join(CELLS)}.", show_default=False)] = None
    hidden_size: Annotated[int | None, Option(help="Hidden units of each layer; chosen without.")] = None
    layers: Annotated[int | None, Option(help="Recurrent layers, one on another.")] = None
    dropout: Annotated[float | None, Option(help="Between layers and before the head.")] = None
    embedding_size: Annotated[int | None, Option(help="Width of the learned embedding; 0: one-hot.")] = None
    input: Annotated[
        str | None,
        Option(
            help="What is read of a symbol: one-hot, embedding, frozen, tuned (word vectors); joined by +.",
            show_default=False,
        ),
    ] = None
    vectors: Annotated[
        Path | None, Option(help="Word vectors for frozen and tuned: word2vec, GloVe or fastText text.")
    ] = None
    normalize: Annotated[
        str | None,
        Option(
            help="The Unicode form that texts are read in: NFD, NFKC, NFKD, or none (as they are); "
            "without it NFC, and bytes as they are.",
            show_default=False,
        ),
    ] = None
    residual: Annotated[bool, Option("--residual", help="Add each layer's input to its output.")] = False
    layer_norm: Annotated[bool, Option("--layer-norm", help="Normalise each layer's output.")] = False
    variational: Annotated[
        bool, Option("--variational", help="One dropout mask for all steps of a row.")
    ] = False
    input_dropout: Annotated[float | None, Option(help="Of the embedding's features.")] = None
    word_dropout: Annotated[float | None, Option(help="Of whole symbols.")] = None
    recurrent_dropout: Annotated[
        float | None, Option(help="Of weights of the recurrence (DropConnect).")
    ] = None
    zoneout: Annotated[
        float | None, Option(help="How likely a unit keeps its state of the step before.")
    ] = None
    cell_zoneout: Annotated[float | None, Option(help="The same for c of an LSTM.")] = None
    bfloat16: Annotated[
        bool, Option("--bfloat16", help="Train the layers under bfloat16 autocast; for a GPU.")
    ] = False
    minutes: Annotated[float | None, Option(help="Wall-clock time in all (3 if no --steps).")] = None
    steps: Annotated[int | None, Option(help="Updates of the weights, instead of minutes.")] = None
    batch: Annotated[int | None, Option(help="Rows read side by side.")] = None
    learning_rate: Annotated[float | None, Option(help="The highest one of the schedule.")] = None
    weight_decay: Annotated[
        float | None, Option(help="AdamW's; without it, weights fade to 1/e in three passes (tag: 0.01).")
    ] = None
    validations: Annotated[int, Option(help="How many times the model is judged.")] = _PLAN.validations
    patience: Annotated[int, Option(help="End after so many validations without a best; 0: never.")] = 0
    seed: Annotated[int, Option(help="Of the weights and of the order of reading.")] = 0
    device: Annotated[str, Option(help="cpu, cuda, cuda:1, …")] = "cpu"
    checkpoint_every: Annotated[float, Option(help="Seconds between checkpoints.")] = _PLAN.checkpoint_every
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a model that is in the folder.")] = False
    resume: Annotated[bool, Option("--resume", help="Go on with the unfinished run in the folder.")] = False
    tensorboard: Annotated[bool, Option("--tensorboard", help="Also write a log for TensorBoard.")] = False

    def rates(self) -> dict[str, float]:
        """How fast to learn, where the user set it, by the names in Plan."""
        return o.given(learning_rate=self.learning_rate, weight_decay=self.weight_decay)

    def plan(self, **defaults: float) -> Plan:
        """The plan; defaults: of what is not given."""
        return o.plan(
            self.minutes,
            self.steps,
            **defaults | self.rates(),
            validations=self.validations,
            patience=self.patience,
            checkpoint_every=self.checkpoint_every,
        )

    def given(self) -> dict[str, Any]:
        """The model's options that the user set, by the names that they have in ModelOptions."""
        return o.given(
            cell=self.cell,
            hidden_size=self.hidden_size,
            num_layers=self.layers,
            dropout=self.dropout,
            embedding_size=self.embedding_size,
            input=self.input,
            vectors=None if self.vectors is None else str(self.vectors),
            normalize=self.normalize,
            residual=self.residual,
            layer_norm=self.layer_norm,
            variational=self.variational,
            input_dropout=self.input_dropout,
            word_dropout=self.word_dropout,
            recurrent_dropout=self.recurrent_dropout,
            zoneout=self.zoneout,
            cell_zoneout=self.cell_zoneout,
            bfloat16=self.bfloat16,
            batch=self.batch,
        )

    @property
    def log(self) -> Path | None:
        """Where TensorBoard's log goes, if it is wanted."""
        return self.out / "tensorboard" if self.tensorboard else None


def shared(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `Shared`, after its own, in the place of its last argument `run`."""
    own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "run"]
    hints = get_type_hints(Shared, include_extras=True)
    keyword, none = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    ours = [
        inspect.Parameter(
            f.name, keyword, default=f.default if f.name != "out" else none, annotation=hints[f.name]
        )
        for f in fields(Shared)
    ]

    @wraps(function)
    def command(**given: Any) -> None:
        run = Shared(**{p.name: given.pop(p.name) for p in ours})
        function(**given, run=run)

    parameters = [p.replace(kind=keyword) for p in own] + ours
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command
