"""Models that people use: input -> recurrent layers -> head, saved as one folder."""

from __future__ import annotations

from pathlib import Path

from ..errors import Error
from . import folder
from .base import Model
from .classifier import Classifier, Prediction
from .language import LanguageModel
from .tagger import Tagger

__all__ = ["Classifier", "LanguageModel", "Model", "Prediction", "Tagger", "load"]

_TASKS: dict[str, type[Model]] = {model.task: model for model in (LanguageModel, Classifier, Tagger)}


def load(path: str | Path) -> Model:
    """The model in a folder, of whichever task; raises Error if there is none."""
    place = Path(path)
    task = folder.task(place)
    if task not in _TASKS:
        raise Error(f"{place} holds a model for {task!r}; wanted one for {', '.join(_TASKS)}")
    return _TASKS[task].load(place)
