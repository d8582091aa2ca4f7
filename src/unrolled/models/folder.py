"""A model on disk: config.json (what it is), model.safetensors (weights), summary.json (how it came)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .. import files
from ..errors import Error
from ..version import __version__

FORMAT = 1
"""Raised when a reader of the old format would misread the new one."""

CONFIG, WEIGHTS, SUMMARY = "config.json", "model.safetensors", "summary.json"
_CHECKSUM = "weights_sha256"


def holds_model(folder: Path) -> bool:
    """Whether the folder has the files of a model."""
    return (folder / CONFIG).exists() or (folder / WEIGHTS).exists()


def write(
    folder: Path, config: dict[str, Any], weights: dict[str, Tensor], summary: dict[str, Any]
) -> None:
    """Writes the three files, each renamed into place when all are on the disk.

    The config has a checksum of the weights, and they a fingerprint of the config, so that damage, and a
    folder with one file of an older save, are noticed when it is read.
    """
    contiguous = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
    config = {"format": FORMAT, "unrolled": __version__, _CHECKSUM: checksum(contiguous), **config}
    text = _json(config)
    # One entry only: their order in the file is random, and the same weights should be the same bytes.
    metadata = {"config": hashlib.sha256(text).hexdigest()}
    packed = safetensors.torch.save(contiguous, metadata)
    files.write(folder, {WEIGHTS: packed, CONFIG: text, SUMMARY: _json(summary)})


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the weights of the model in the folder; raises Error for anything else."""
    config, fingerprint = _config(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise Error(f"{folder}: the model's {WEIGHTS} is missing; copy the whole folder or train again")
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            weights = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise Error(
            f"{path} is truncated or not a safetensors file ({error}); copy it again or train again"
        ) from error
    if metadata.get("config") != fingerprint:
        raise Error(
            f"{folder}: {CONFIG} and {WEIGHTS} are not of one save (one was edited or replaced); "
            f"copy both again or train again"
        )
    wanted = config.pop(_CHECKSUM, None)  # a model saved before has none
    if wanted is not None and wanted != checksum(weights):
        raise Error(f"{path} is damaged: its checksum does not fit; copy it again or train again")
    return config, weights


def checksum(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 of a text, and of tensors with their names, dtypes and shapes."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def task(folder: Path) -> str:
    """The task of the model in the folder; raises Error if there is none."""
    return str(_config(folder)[0].get("task"))


def _config(folder: Path) -> tuple[dict[str, Any], str]:
    path = folder / CONFIG
    if not folder.is_dir():
        raise Error(f"{folder} is not a folder; wanted a model's folder, made by `unrolled train`")
    if not path.is_file():
        raise Error(
            f"{folder} is not a model: it has no {CONFIG}; wanted a folder made by `unrolled train`"
        )
    try:
        text = path.read_bytes()
        config = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise Error(f"{path} cannot be read as JSON ({error}); copy it again or train again") from error
    version = config.get("format") if isinstance(config, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise Error(f"{path} does not describe a model of unrolled; wanted one made by `unrolled train`")
    if version > FORMAT:
        raise Error(
            f"{folder} was saved by unrolled {config.get('unrolled')} in format {version}; "
            f"this is {__version__}, which reads up to format {FORMAT}: install a newer unrolled"
        )
    return config, hashlib.sha256(text).hexdigest()


def _json(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "surrogatepass")
