"""The modules: torch.nn's RNN, GRU and LSTM, and one for any cell."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from . import cells, dynamo
from .cells import Cell
from .errors import Error
from .options import check_cell, check_options, reads_output
from .scan import Call, Explanation, Stack, State, engines, scan, validate
from .scripting import Scriptable
from .text import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

Input = Tensor | PackedSequence | Batch


class _Scanned(Scriptable):
    """What every layer does with its parameters: hand them to `scan`, in the caller's layout."""

    stack: Stack
    batch_first: bool

    def forward(
        self,
        input: Any,
        hx: Any = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
    ) -> Any:
        """Outputs for every step, and the state after the last.

        input: (time, batch, feature), (batch, time, feature) if batch_first, (time, feature) for one
            sequence; a PackedSequence; or a Batch, which is (batch, time) whatever batch_first is, and
            whose symbols are read as one-hot vectors that are never built.
        hx: the initial state, (layers * directions, batch, size) each; a tuple if there are several.
        lengths: (batch,) from 0 to time, any order; past its end a row's output is 0 and its state stays.
        reset: bool, the shape of the input without features; True where a new sequence begins.

        Returns the output, as the input with directions * hidden_size (or proj_size) features, and the
        state, as hx. For a Batch the output is (batch, time, feature); for a PackedSequence it is one.

        Raises Error (a ValueError and a RuntimeError) or TypeError, naming what was got and wanted.
        """
        if isinstance(input, PackedSequence):
            return self._packed(input, hx, lengths, reset)
        input, lengths, batch_first = self._unwrap(input, lengths)
        return scan(
            self.stack,
            input,
            self._flat(),
            hx,
            lengths=lengths,
            reset=reset,
            batch_first=batch_first,
            training=self.training,
        )

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step of a stream: output and state from one input and the state before it.

        x_t: (batch, feature), (feature,) for one sequence, or int64 symbols (batch,).
        Returns the output (batch, hidden_size or proj_size) and the next state, shaped as hx above.
        """
        if self.stack.bidirectional:
            raise Error(f"{self.stack}: a bidirectional layer cannot be stepped; it reads the end first")
        if not isinstance(x_t, Tensor):
            raise TypeError(f"{self.stack}.step: x_t is a {type(x_t).__name__}; wanted a Tensor")
        indexed = x_t.dtype == torch.int64
        if x_t.dim() not in ((0, 1) if indexed else (1, 2)):
            wanted = "(batch,)" if indexed else f"(batch, {self.stack.input_size})"
            raise Error(f"{self.stack}.step: x_t has shape {tuple(x_t.shape)}; wanted {wanted}")
        one = x_t.dim() == (0 if indexed else 1)
        input = x_t[None] if one else x_t[:, None]
        output, state = scan(
            self.stack, input, self._flat(), state, batch_first=True, training=self.training
        )
        return output[0] if one else output[:, 0], state

    def __setattr__(self, name: str, value: Any) -> None:
        # As in torch.nn, the rate may be changed after the layer was made.
        if name == "dropout" and "stack" in self.__dict__:
            check_options(type(self).__name__, {"hidden_size": self.stack.hidden_size}, {}, value)
            self.stack = dataclasses.replace(self.stack, dropout=value)
        super().__setattr__(name, value)

    def _flat(self) -> list[Tensor]:
        """The parameters in the order of `stack.shapes`, by name, so that parametrisations are seen."""
        own = self._parameters
        # A parametrised one is no parameter any more, but an attribute.
        return [p if (p := own.get(n)) is not None else getattr(self, n) for n in self.stack.shapes]

    def _unwrap(
        self, input: Tensor | Batch, lengths: Tensor | Sequence[int] | None
    ) -> tuple[Tensor, Tensor | Sequence[int] | None, bool]:
        if not isinstance(input, Batch):
            if isinstance(input, Tensor) and input.dtype == torch.int64:
                raise Error(
                    f"{self.stack}: input is int64; wrap symbols in unrolled.Batch(indices, lengths, "
                    f"vocabulary), or convert features to floating point"
                )
            return input, lengths, self.batch_first
        if lengths is not None:
            raise Error(f"{self.stack}: lengths were given beside a Batch, which has its own")
        if len(input.vocabulary) != self.stack.input_size:
            raise Error(
                f"{self.stack}: the Batch has {len(input.vocabulary)} symbols; "
                f"wanted input_size {self.stack.input_size}"
            )
        return input.indices, None if input.full else input.lengths, True

    def _packed(
        self, input: PackedSequence, hx: Any, lengths: object, reset: object
    ) -> tuple[PackedSequence, Any]:
        if lengths is not None or reset is not None:
            raise Error(
                f"{self.stack}: a PackedSequence has its own lengths and takes no reset; "
                f"pass the padded tensor with lengths= and reset= instead"
            )
        data, sizes, order, back = input
        padded, counts = pad_packed_sequence(PackedSequence(data, sizes), batch_first=True)
        state, last = self._reorder(hx, order), None
        output, last = scan(
            self.stack,
            padded,
            self._flat(),
            state,
            lengths=counts,
            batch_first=True,
            training=self.training,
        )
        packed = pack_padded_sequence(output, counts, batch_first=True)
        return PackedSequence(packed.data, sizes, order, back), self._reorder(last, back)

    def _reorder(self, state: Any, order: Tensor | None) -> Any:
        if order is None or not isinstance(state, (Tensor, tuple, list)):
            return state  # the scan names what is no state
        if isinstance(state, Tensor):
            return self._pick(state, order)
        return tuple(self._pick(s, order) for s in state)

    def _pick(self, state: Tensor, order: Tensor) -> Tensor:
        if not isinstance(state, Tensor):
            raise TypeError(f"{self.stack}: a state is a {type(state).__name__}; wanted a Tensor")
        if state.dim() != 3 or state.shape[1] != len(order):
            raise Error(
                f"{self.stack}: Expected hidden size (layers * directions, {len(order)}, size), "
                f"got {list(state.shape)}"
            )
        return state.index_select(1, order)


dynamo.admit(_Scanned)


def explain(
    layer: nn.Module,
    input: Tensor | Batch,
    hx: State | None = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    reset: Tensor | None = None,
) -> Explanation:
    """Which engine `layer(input, hx, lengths=…, reset=…)` would run on, and why not a faster one.

    Nothing is computed. Raises what the call itself would raise.
    """
    if not isinstance(layer, _Scanned):
        raise TypeError(f"explain: {type(layer).__name__} is not a layer of unrolled")
    if isinstance(input, PackedSequence):
        input, lengths = pad_packed_sequence(input, batch_first=layer.batch_first)
    unwrapped, lengths, batch_first = layer._unwrap(input, lengths)
    call: Call = validate(
        layer.stack, unwrapped, layer._flat(), hx, lengths, reset, batch_first, layer.training
    )[0]
    return engines.choose(call)


class RNN(_Scanned, nn.RNN):
    """torch.nn.RNN: h_t = tanh(W x_t + b_ih + R h_{t-1} + b_hh), or max(0, …) for "relu".

    Arguments, attributes, initialisation and state dict are torch.nn.RNN's; the call is `forward` above.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
        check_options("RNN", sizes, flags, dropout)
        if nonlinearity not in ("tanh", "relu"):
            raise Error(
                f"RNN({input_size}, {hidden_size}): Unknown nonlinearity {nonlinearity!r}; "
                f"wanted 'tanh' or 'relu'"
            )
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        cell = cells.rnn_tanh if nonlinearity == "tanh" else cells.rnn_relu
        self.stack = Stack(cell, input_size, hidden_size, num_layers, bias, dropout, bidirectional)


class GRU(_Scanned, nn.GRU):
    """torch.nn.GRU: gates r, z, n; h_t = (1 - z) n + z h_{t-1} (the equations: unrolled.cells.gru).

    Arguments, attributes, initialisation and state dict are torch.nn.GRU's; the call is `forward` above.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
        check_options("GRU", sizes, flags, dropout)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.stack = Stack(cells.gru, input_size, hidden_size, num_layers, bias, dropout, bidirectional)


class LSTM(_Scanned, nn.LSTM):
    """torch.nn.LSTM: gates i, f, g, o; h_t = o tanh(f c_{t-1} + i g) (the equations: unrolled.cells.lstm).

    Arguments, attributes, initialisation and state dict are torch.nn.LSTM's; the call is `forward` above.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
        check_options("LSTM", sizes, flags, dropout, proj_size)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device=device,
            dtype=dtype,
        )
        self.stack = Stack(
            cells.lstm, input_size, hidden_size, num_layers, bias, dropout, bidirectional, proj_size
        )


class Recurrent(_Scanned):
    """Any cell along time, with torch.nn's arguments, parameter names and initialisation.

    Parameters of layer k (and with the suffix _reverse): weight_ih_lk (gates * hidden, input),
    weight_hh_lk (gates * hidden, output; a diagonal recurrence: (gates * hidden,); none: absent),
    bias_ih_lk and bias_hh_lk (gates * hidden,), weight_hr_lk (proj, hidden) if projected, and one
    (hidden,) for each vector of the cell; all uniform in ±1/√hidden.

    proj_size is for cells that do not read their own output as a state (an LSTM, not a GRU).
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(cell, Cell):
            raise TypeError(
                f"Recurrent: the cell is a {type(cell).__name__}; wanted one made by @unrolled.cell"
            )
        name = f"Recurrent({cell.name})"
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
        check_options(name, sizes, flags, dropout, proj_size)
        check_cell(name, cell, hidden_size)
        if proj_size and reads_output(cell):
            raise Error(
                f"{name}: the cell reads its own output h, which proj_size={proj_size} would narrow"
            )
        super().__init__()
        self.batch_first = batch_first
        self.stack = Stack(
            cell, input_size, hidden_size, num_layers, bias, dropout, bidirectional, proj_size
        )
        for name, shape in self.stack.shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws every parameter anew, uniform in ±1/√hidden."""
        bound = 1 / math.sqrt(self.stack.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """The cell, the sizes, and what differs from the defaults."""
        stack = self.stack
        shown = f"{stack.cell.name}, {stack.input_size}, {stack.hidden_size}"
        defaults = Stack(stack.cell, stack.input_size, stack.hidden_size)
        for name in ("num_layers", "bias", "dropout", "bidirectional", "proj_size"):
            value = getattr(stack, name)
            if value != getattr(defaults, name):
                shown += f", {name}={value}"
        return shown + (", batch_first=True" if self.batch_first else "")
