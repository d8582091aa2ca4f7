"""The modules: torch.nn's RNN, GRU and LSTM, and one for any cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from . import cells
from .cells import Cell
from .errors import Error
from .options import check_cell, check_options, reads_output
from .scan import Stack
from .scanned import Scanned


class RNN(Scanned, nn.RNN):
    """torch.nn.RNN: h_t = tanh(W x_t + b_ih + R h_{t-1} + b_hh), or max(0, …) for "relu".

    Arguments, attributes, initialisation and state dict are torch.nn.RNN's; the call is `Scanned.forward`.
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
        proj_size: int = 0,
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
        if proj_size:
            raise Error(f"RNN({input_size}, {hidden_size}): proj_size is for an LSTM, not for RNN")
        check_options("RNN", sizes, flags, dropout)
        input_size, hidden_size, num_layers = map(int, sizes.values())
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


class GRU(Scanned, nn.GRU):
    """torch.nn.GRU: gates r, z, n; h_t = (1 - z) n + z h_{t-1} (the equations: unrolled.cells.gru).

    Arguments, attributes, initialisation and state dict are torch.nn.GRU's; the call is `Scanned.forward`.
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
        proj_size: int = 0,
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
        if proj_size:
            raise Error(f"GRU({input_size}, {hidden_size}): proj_size is for an LSTM, not for GRU")
        check_options("GRU", sizes, flags, dropout)
        input_size, hidden_size, num_layers = map(int, sizes.values())
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


class LSTM(Scanned, nn.LSTM):
    """torch.nn.LSTM: gates i, f, g, o; h_t = o tanh(f c_{t-1} + i g) (the equations: unrolled.cells.lstm).

    Arguments, attributes, initialisation and state dict are torch.nn.LSTM's; the call is `Scanned.forward`.
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
        input_size, hidden_size, num_layers, proj_size = map(int, (*sizes.values(), proj_size))
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


class Recurrent(Scanned):
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
                f"Recurrent: the cell is a {type(cell).__name__}; wanted one of unrolled.cells, such as "
                f"unrolled.cells.gru, or one made by @unrolled.cell"
            )
        name = f"Recurrent({cell.name})"
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
        check_options(name, sizes, flags, dropout, proj_size)
        input_size, hidden_size, num_layers, proj_size = map(int, (*sizes.values(), proj_size))
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
        self._compact()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Recurrent:
        # Whatever moves the parameters, to a GPU for one.
        moved = super()._apply(fn, recurse)
        self._compact()
        return moved

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
