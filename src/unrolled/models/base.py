"""What every model is: symbols -> (embedding) -> recurrent layers -> a linear head, saved as one folder."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..cells import CELLS, Cell
from ..errors import Error
from ..layers import Recurrent
from ..text import Batch, Vocabulary
from . import folder, zoneout
from .deep import DEFAULTS, DeepRecurrent, Dropout, Extras, checked
from .grams import GramEmbedding
from .inputs import kinds_of, looked_up
from .members import MeanHead, Members

if TYPE_CHECKING:
    from ..vectors import WordVectors

_SIZES = {"hidden_size": 1, "num_layers": 1, "embedding_size": 0}
"""The sizes of a config with the least that each may be."""


class Model(nn.Module):
    """The base of the models: owns the vocabulary, the embedding, the layers and the head.

    outputs: the width of the head; its input is `width` wide. features: what each step has beside
        its symbol's embedding. members: so many networks side by side, as in models.members.
    The other arguments are those of the models; `extras` are described in models.deep.
    """

    task: ClassVar[str]
    """The name of the task in config.json."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        outputs: int,
        *,
        cell: str,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        embedding_size: int,
        bidirectional: bool = False,
        features: int = 0,
        members: int = 1,
        **extras: Unpack[Extras],
    ) -> None:
        name = type(self).__name__
        if not isinstance(cell, str) or cell not in CELLS:
            raise Error(f"{name}: cell {cell!r} is not one of {', '.join(CELLS)}")
        hidden_size = _whole(name, "hidden_size", hidden_size)
        num_layers = _whole(name, "num_layers", num_layers)
        embedding_size = _whole(name, "embedding_size", embedding_size)
        if isinstance(dropout, Real):
            dropout = float(dropout)  # NumPy's, of which no JSON is made
        if embedding_size < 0:
            raise Error(f"{name}: embedding_size is {embedding_size}; wanted 0 (one-hot) or more")
        options = checked(name, extras)
        kinds = kinds_of(name, options["input"], embedding_size, options["vectors_size"])
        if kinds == ("one-hot",) and (options["word_dropout"] or options["input_dropout"]):
            raise Error(
                f"{name}: word_dropout and input_dropout are of the embedding; "
                f"give an embedding_size, or leave them out"
            )
        zoneout.check(name, CELLS[cell], options["zoneout"], options["cell_zoneout"], options["proj_size"])
        super().__init__()
        self.kinds = kinds
        self.vocabulary = vocabulary
        self.config: dict[str, Any] = {
            "cell": cell,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "dropout": dropout,
            "embedding_size": embedding_size,
            **options,
            "input": "+".join(kinds),
        }
        size = len(vocabulary)
        self.embedding: nn.Embedding | GramEmbedding | None = None
        if embedding_size:
            self.embedding = nn.Embedding(size, embedding_size)
        self.vectors: Tensor | None
        vectors = torch.zeros(size, options["vectors_size"])
        if "tuned" in kinds:
            self.vectors = nn.Parameter(vectors)
        else:  # a buffer is saved with the model and never trained
            self.register_buffer("vectors", vectors if "frozen" in kinds else None)
        self.input_dropout = Dropout(options["input_dropout"], options["variational"])
        width = embedding_size + options["vectors_size"] + features
        width += size if "one-hot" in kinds else 0
        made = [
            _layers(CELLS[cell], width, hidden_size, num_layers, dropout, bidirectional, options)
            for _ in range(members)
        ]
        self.layers: Recurrent | Members = made[0] if members == 1 else Members(made)
        self.dropout = Dropout(dropout, options["variational"])
        each = (options["proj_size"] or hidden_size) * (2 if bidirectional else 1)
        self.width = members * each
        self.head: nn.Module = (
            nn.Linear(each, outputs) if members == 1 else MeanHead(members, each, outputs)
        )

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def hidden(self, batch: Batch, state: Any = None) -> tuple[Tensor, Any]:
        """The last layer's output (batch, time, hidden * directions), and the state at each row's end."""
        if self.kinds == ("one-hot",):
            return self.run(self.layers, batch, state)
        if isinstance(self.embedding, nn.Embedding) and self._folds(batch):
            return self.layers.through(batch, self.embedding.weight, state)
        lengths = None if batch.full else batch.lengths
        return self.run(self.layers, self.embedded(batch), state, lengths=lengths)

    def _folds(self, batch: Batch) -> bool:
        """Whether a training step had better make the embedding and the layers' first product one.

        Never in evaluation: a text's last bits must not hang on what else is read with it.
        """
        config = self.config
        return (
            self.training
            and not torch.compiler.is_compiling()  # its graphs serve every size, and this hangs on it
            and self.kinds == ("embedding",)
            and batch.indices.numel() > len(self.vocabulary)
            and not any(config[n] for n in ("input_dropout", "word_dropout", "residual", "bfloat16"))
        )

    def run(self, layers: nn.Module, *given: Any, **named: Any) -> tuple[Tensor, Any]:
        """What the layers return; of a bfloat16 model in training, computed under autocast and widened
        again, so that the head and the loss are not."""
        if not (self.config["bfloat16"] and self.training):
            return layers(*given, **named)
        wide = next(self.parameters()).dtype
        with torch.autocast(self.device.type, torch.bfloat16):
            output, state = layers(*given, **named)
        if isinstance(state, Tensor):
            return output.to(wide), state.to(wide)
        return output.to(wide), tuple(s.to(wide) for s in state)

    def embedded(self, batch: Batch) -> Tensor:
        """What the layers read of each symbol (batch, time, feature), in training with dropout."""
        parts: list[Tensor] = []
        if "one-hot" in self.kinds:
            parts.append(batch.one_hot().to(next(self.parameters()).dtype))
        if self.embedding is not None:
            parts.append(self.embedding(batch.indices))
        if self.vectors is not None:
            parts.append(functional.embedding(batch.indices, self.vectors))
        embedded = self.input_dropout(parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1))
        part = self.config["word_dropout"]
        if part and self.training:
            embedded = functional.dropout(torch.ones_like(embedded[..., :1]), part) * embedded
        return embedded

    @torch.no_grad()
    def set_vectors(self, table: WordVectors) -> int:
        """Takes its word vectors from a table; returns how many of the vocabulary's words are in it.

        A word that is not in the table is looked up in lower case; one that is not there either has a
        vector of zeros, which a tuned model trains on. Raises Error if the model reads none so wide.
        """
        rows, found = looked_up(self.vocabulary.symbols, table)
        if self.vectors is None or self.vectors.shape != rows.shape:
            got = None if self.vectors is None else self.vectors.shape[1]
            raise Error(
                f"the model's word vectors are {got} wide; wanted {table.dimension}, as the table's"
            )
        self.vectors.copy_(rows)
        return found

    def save(self, path: str | Path, summary: dict[str, Any] | None = None) -> None:
        """Writes the model's folder: config.json, model.safetensors, summary.json (see models.folder)."""
        config = {"task": self.task, **self.config, "vocabulary": self.vocabulary.to_dict()}
        weights = {name: tensor.cpu() for name, tensor in self.state_dict().items()}
        folder.write(Path(path), config, weights, summary or {})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model in a folder, on the CPU and in evaluation mode; raises Error if it is not one."""
        place = Path(path)
        config, weights = folder.read(place)
        if config.get("task") != cls.task:
            raise Error(f"{place} holds a model for {config.get('task')!r}; wanted one for {cls.task!r}")
        _check_sizes(place, config, weights)
        vocabulary = Vocabulary.from_dict(config.get("vocabulary"))
        # On the meta device nothing is allocated on the config's word; the file's tensors are taken over.
        with torch.device("meta"):
            model = cls._from_config(place, vocabulary, config)
        wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if wanted != got:
            wrong = sorted(name for name in wanted | got if wanted.get(name) != got.get(name))
            raise Error(
                f"{place}: the weights do not fit the config: {wrong[0]} has shape {got.get(wrong[0])}; "
                f"wanted {wanted.get(wrong[0])}"
            )
        model.load_state_dict(weights, assign=True)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return model.eval()

    @classmethod
    def _from_config(cls, place: Path, vocabulary: Vocabulary, config: dict[str, Any]) -> Self:
        """The model that a checked config describes."""
        raise TypeError(f"{cls.__name__} is not a model by itself")


def shared_options(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments in a config that every model has."""
    options: dict[str, Any] = {name: config.get(name) for name in (*_SIZES, "cell", "dropout")}
    return options | {name: config.get(name, default) for name, default in DEFAULTS.items()}


def _layers(
    cell: Cell,
    width: int,
    hidden_size: int,
    num_layers: int,
    dropout: float,
    bidirectional: bool,
    extras: dict[str, Any],
) -> Recurrent:
    between = ("residual", "layer_norm", "recurrent_dropout", "variational", "zoneout", "cell_zoneout")
    if any(extras[name] for name in between):
        return DeepRecurrent(cell, width, hidden_size, num_layers, dropout, bidirectional, extras)
    return Recurrent(
        cell,
        width,
        hidden_size,
        num_layers,
        batch_first=True,
        dropout=dropout,
        bidirectional=bidirectional,
        proj_size=extras["proj_size"],
    )


def _whole(name: str, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise Error(f"{name}: {key} is {value!r}; wanted a whole number")
    return int(value)


def _check_sizes(place: Path, config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    most = sum(tensor.numel() for tensor in weights.values())
    for name, least in (*_SIZES.items(), ("members", 1)):
        size = config.get(name, 1 if name == "members" else None)
        if not isinstance(size, int) or isinstance(size, bool) or size < least:
            raise Error(f"{place}: config.json has {name} {size!r}; wanted a whole number from {least}")
        if size > most:
            raise Error(f"{place}: config.json has {name} {size}; the weights are {most} numbers in all")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block the model is in evaluation mode; after it each part is in its own mode again, when
    no other thread is in such a block of the model's any more."""
    held = _evaluated.setdefault(model, _Held())
    try:
        with _modes:
            held.blocks += 1
            held.training += [part for part in model.modules() if part.training]
            model.eval()
        yield
    finally:
        with _modes:
            held.blocks -= 1
            if not held.blocks:
                for part in held.training:
                    part.training = True
                held.training = []


class _Held:
    """How many blocks a model is in, and its parts that were in training mode before the first."""

    def __init__(self) -> None:
        self.blocks, self.training = 0, list[nn.Module]()


_modes = threading.Lock()
_evaluated: weakref.WeakKeyDictionary[nn.Module, _Held] = weakref.WeakKeyDictionary()
