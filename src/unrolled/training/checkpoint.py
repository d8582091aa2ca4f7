"""A run's whole state in one file, so that a run that was killed goes on as if it had not been.

A checkpoint is a safetensors file: the tensors, and as metadata a JSON text of everything else with a
checksum over both. The one before is kept beside it, for when the newer one is damaged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from .. import files
from ..errors import Error
from ..models.folder import checksum, holds_model

NAME, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"


def write(folder: Path, tensors: Mapping[str, Tensor], data: Mapping[str, Any]) -> None:
    """Writes the checkpoint; the one that was there becomes the previous. Raises Error if it cannot."""
    text = json.dumps(data, sort_keys=True)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"run": text, "sha256": checksum(plain, text)}
    content = safetensors.torch.save(plain, metadata)
    newest = folder / NAME
    if newest.exists():
        newest.replace(folder / PREVIOUS)
    files.write(folder, {NAME: content})


def drop_newest(folder: Path) -> None:
    """Removes the newest checkpoint, found damaged: it must not become the previous one."""
    (folder / NAME).unlink(missing_ok=True)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], str | None]:
    """The newest whole checkpoint: its tensors, its data, and what was wrong with a newer one, or None.

    Raises Error if the folder has no checkpoint, or none that is whole.
    """
    problems = []
    for name in (NAME, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            tensors, data = _read(path)
        except Error as error:
            problems.append(str(error))
            continue
        return tensors, data, problems[0] if problems else None
    if problems:
        raise Error(
            f"{folder}: no checkpoint is whole ({'; '.join(problems)}); train again with --overwrite"
        )
    if holds_model(folder):
        raise Error(f"{folder} has no checkpoint to resume from but a model: its run is finished")
    raise Error(f"{folder} has no checkpoint to resume from; train without --resume")


def exists(folder: Path) -> bool:
    """Whether the folder holds an unfinished run."""
    return (folder / NAME).exists() or (folder / PREVIOUS).exists()


def remove(folder: Path) -> None:
    """Removes the checkpoints of a run that is finished."""
    for name in (NAME, PREVIOUS):
        (folder / name).unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise Error(f"{path.name} is truncated or damaged: {error}") from error
    text = metadata.get("run", "")
    if metadata.get("sha256") != checksum(tensors, text):
        raise Error(f"{path.name} is damaged: its checksum does not fit")
    return tensors, json.loads(text)
