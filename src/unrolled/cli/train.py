"""unrolled train language|classify|tag FILE --out DIR"""

from __future__ import annotations

import typer

from .train_classify import classify
from .train_language import language
from .train_tag import tag

train = typer.Typer(name="train", help="Train a model on a file of one's own.", no_args_is_help=True)


@train.callback()
def _train() -> None:
    """Train a model on a file of one's own."""


train.command()(language)
train.command()(classify)
train.command()(tag)
