"""What happens between and around recurrent layers: residual connections, norms, kinds of dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..cells import Cell
from ..errors import Error
from ..layers import Recurrent
from ..scan import Stack, folded, scan
from ..text import Batch
from . import zoneout


class Extras(TypedDict, total=False):
    """The options of a model beyond its sizes.

    input: what is read of a symbol: "one-hot", "embedding", "frozen" or "tuned" word vectors, or some of
        them joined by "+"; empty: an embedding, or one-hot where embedding_size is 0.
    vectors_size: how wide the word vectors are.
    residual: add a layer's input to its output, where the two are equally wide (He et al. 2015).
    layer_norm: normalise each layer's output (Ba et al. 2016).
    proj_size: project each layer's output to this width (cells that do not read their own output).
    variational: one dropout mask for all steps of a row (Gal & Ghahramani 2016) instead of one a step.
    input_dropout: dropout of the embedding's features.
    word_dropout: the probability that a symbol's whole embedding is left out.
    recurrent_dropout: the probability that a weight of weight_hh is left out for a whole batch
        (DropConnect, Merity et al. 2017).
    zoneout: the probability that a unit's h stays what it was a step before; cell_zoneout: that its c does,
        in cells that have one (Krueger et al. 2016); described in models.zoneout.
    bfloat16: in training the layers run under bfloat16 autocast; the head and the loss do not. Where the
        layers compute in float32 all the same, as on a CPU, it gains nothing.
    """

    input: str
    vectors_size: int
    residual: bool
    layer_norm: bool
    proj_size: int
    variational: bool
    input_dropout: float
    word_dropout: float
    recurrent_dropout: float
    zoneout: float
    cell_zoneout: float
    bfloat16: bool


DEFAULTS: dict[str, Any] = {
    "input": "",
    "vectors_size": 0,
    "residual": False,
    "layer_norm": False,
    "proj_size": 0,
    "variational": False,
    "input_dropout": 0.0,
    "word_dropout": 0.0,
    "recurrent_dropout": 0.0,
    "zoneout": 0.0,
    "cell_zoneout": 0.0,
    "bfloat16": False,
}


def checked(name: str, extras: Extras) -> dict[str, Any]:
    """All extras, with the defaults for those that are not given; raises Error for a wrong value."""
    values: dict[str, Any] = {**DEFAULTS, **extras}
    for key, value in values.items():
        default = DEFAULTS.get(key)
        if default is None:
            raise Error(f"{name}: there is no option {key!r}; wanted one of {', '.join(DEFAULTS)}")
        if isinstance(default, str):
            if not isinstance(value, str):
                raise Error(f"{name}: {key} is {value!r}; wanted a word")
        elif isinstance(default, bool):
            if not isinstance(value, bool):
                raise Error(f"{name}: {key} is {value!r}; wanted True or False")
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Error(f"{name}: {key} is {value!r}; wanted a number")
        elif isinstance(default, int) and not isinstance(value, int):
            raise Error(f"{name}: {key} is {value!r}; wanted a whole number")
        elif key == "vectors_size" and not (isinstance(value, int) and value >= 0):
            raise Error(f"{name}: {key} is {value!r}; wanted a whole number from 0")
        elif key not in ("proj_size", "vectors_size") and not 0 <= value < 1:
            raise Error(f"{name}: {key} is {value!r}; wanted a probability from 0 to below 1")
    return values


class Dropout(nn.Dropout):
    """Dropout of (batch, time, feature) or (batch, feature); variational: the same mask at every step."""

    def __init__(self, p: float, variational: bool = False) -> None:
        super().__init__(p)
        self.variational = variational

    def forward(self, input: Tensor) -> Tensor:
        """The input with a part p of it zero and the rest scaled by 1 / (1 - p), in training; on a CPU p is
        rounded to a 65536th."""
        if not (self.training and self.p):
            return input
        if self.variational and input.dim() == 3:
            return input * functional.dropout(torch.ones_like(input[:, :1]), self.p)
        if input.device.type != "cpu" or self.p == 1 or torch.compiler.is_compiling():
            return super().forward(input)
        return input * _mask(input, self.p)


def _mask(like: Tensor, p: float) -> Tensor:
    """A mask of that shape and dtype: 0 with probability p, else 1 / (1 - p).

    torch's own draws a number for each element, which takes five times as long: here four are cut from one.
    """
    count = like.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = min(max(round((1 - p) * 2**16), 1), 2**16 - 1)
    mask = bits.view(torch.int16)[:count].view(like.shape) < kept - 2**15
    return mask.to(like.dtype).mul_(2**16 / kept)


def _layers(stack: Stack, cell: Cell) -> tuple[Stack, ...]:
    """Each layer as a stack of its own, with this cell."""
    return tuple([replace(stack.layer(k), cell=cell, dropout=0.0) for k in range(stack.num_layers)])


class DeepRecurrent(Recurrent):
    """Recurrent layers one on another, as `Recurrent`, with what `Extras` has between them.

    For layer k, x_0 the input:  y = layer_k(x_k)    y = x_k + y if residual    y = norm_k(y) if layer_norm
    x_{k+1} = dropout(y), but after the last.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        bidirectional: bool,
        extras: dict[str, Any],
    ) -> None:
        super().__init__(
            cell,
            input_size,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=extras["proj_size"],
        )
        self.residual = extras["residual"]
        self.recurrent_dropout = extras["recurrent_dropout"]
        self.zoneout = extras["zoneout"], extras["cell_zoneout"]
        self.between = Dropout(dropout, extras["variational"])
        width = self.stack.output_size * self.stack.directions
        norms = num_layers if extras["layer_norm"] else 0
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(norms))

    def forward(
        self,
        input: Any,
        hx: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
    ) -> Any:
        """As `Recurrent`, for a Batch or a (batch, time, feature) tensor."""
        if isinstance(input, Batch):
            return self._deep(input.indices, hx, None if input.full else input.lengths, reset)
        return self._deep(input, hx, lengths, reset)

    def through(self, batch: Batch, table: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """As `Recurrent`."""
        return self._deep(batch.indices, hx, None if batch.full else batch.lengths, None, table)

    def _deep(
        self,
        x: Tensor,
        hx: Any,
        lengths: Tensor | Sequence[int] | None,
        reset: Tensor | None,
        table: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        stack, inside = self.stack, None
        if lengths is not None:
            lengths = torch.as_tensor(lengths)
            inside = torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]
        before = None if hx is None else (hx,) if isinstance(hx, Tensor) else tuple(hx)
        after: list[tuple[Tensor, ...]] = []
        for k in range(stack.num_layers):
            one, parameters = self._layer(k, self.training)
            if k == 0 and table is not None:
                one, parameters = folded(one, parameters, table)
            slots = slice(k * stack.directions, (k + 1) * stack.directions)
            begin = None if before is None else tuple(s[slots] for s in before)
            if one.cell.states > stack.cell.states:
                begin = zoneout.begin(one, begin, x.shape[0], parameters[0])
            y, state = scan(
                one,
                x,
                parameters,
                begin[0] if begin and len(begin) == 1 else begin,
                lengths=lengths,
                reset=reset,
                batch_first=True,
            )
            after.append((state,) if isinstance(state, Tensor) else state[: stack.cell.states])
            if self.residual and x.shape == y.shape:
                y = x + y
            if len(self.norms):
                y = self.norms[k](y)
                if inside is not None:  # the norm's bias must not fill what is past a row's end
                    y = y * inside[..., None]
            x = self.between(y) if k + 1 < stack.num_layers else y
        states = tuple(torch.cat(parts) for parts in zip(*after, strict=True))
        return x, states[0] if len(states) == 1 else states

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step of a stream, from (batch, feature) or symbols (batch,)."""
        if self.stack.bidirectional:
            raise Error(f"{self.stack}: a bidirectional layer cannot be stepped; it reads the end first")
        output, state = self(x_t[:, None], state)
        return output[:, 0], state

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "zoneout":  # it may be changed later, as dropout
            self._each = self._apart()

    def __getstate__(self) -> dict[str, Any]:
        # A cell with zoneout has no place in a module that a pickle could name.
        return {name: value for name, value in self.__dict__.items() if name != "_each"}

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self._each = self._apart()

    def _apart(self) -> dict[bool, tuple[Stack, ...]]:
        """The layers in training and in evaluation, made once: engines know them by being the same objects,
        and a compiler cannot make a cell."""
        cell = self.stack.cell
        if not any(self.zoneout):
            return dict.fromkeys((True, False), _layers(self.stack, cell))
        kinds = {True: zoneout.drawn, False: zoneout.expected}
        return {mode: _layers(self.stack, kind(cell, *self.zoneout)) for mode, kind in kinds.items()}

    def _layer(self, k: int, training: bool) -> tuple[Stack, Sequence[Tensor]]:
        """Layer k alone: its stack, with zoneout if it has any, and its parameters, in training without
        the weights dropped."""
        one = self._each[training][k]
        names = [n for n in self.stack.shapes if n.removesuffix("_reverse").endswith(f"_l{k}")]
        parameters = [getattr(self, name) for name in names]
        if training and self.recurrent_dropout:
            parameters = [
                functional.dropout(p, self.recurrent_dropout) if n.startswith("weight_hh") else p
                for n, p in zip(names, parameters, strict=True)
            ]
        return one, parameters
