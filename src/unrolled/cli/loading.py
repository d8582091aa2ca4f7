"""The model in a folder, whatever its task."""

from __future__ import annotations

from pathlib import Path

from .. import models
from ..errors import Error
from ..models import folder
from ..models.base import Model


def load_model(path: Path) -> Model:
    """The model in the folder, on the CPU; raises Error if there is none or its task is not known."""
    task = folder.task(path)
    known = {
        kind.task: kind
        for kind in vars(models).values()
        if isinstance(kind, type) and issubclass(kind, Model) and kind is not Model
    }
    if task not in known:
        raise Error(f"{path} holds a model for {task!r}; wanted one for {', '.join(sorted(known))}")
    return known[task].load(path)
