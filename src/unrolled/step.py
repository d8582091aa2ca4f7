"""torch.nn's cells: one step of one layer, on the engine that runs the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import cells
from .errors import Error
from .scan import Call, Stack, autocast, engines, run
from .scan.validate import same_dtype
from .scripting import Scriptable
from .symbolic import Proxy, leaf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class _Stepped(Scriptable):
    """One step: the states (batch, hidden) before it, to those after it."""

    stack: Stack

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """The next state, or states, from one input and those before it.

        input: (batch, feature), or (feature,) for one sequence.
        hx: (batch, hidden), or (hidden,) for one sequence; a pair of them for the LSTM; None: zeros.

        Returns the next hidden state, for the LSTM the pair (hidden, cell), shaped as hx.

        Raises Error (a ValueError and a RuntimeError) or TypeError, naming what was got and wanted.
        """
        return self._step(input, hx, self._own())

    def _step(self, input: Tensor, hx: Any, parameters: list[Tensor]) -> Any:
        states = self._again(input, hx, parameters)
        if states is None and type(input) is Proxy:
            return leaf(self, input, hx)
        if states is None:
            name = type(self).__name__
            _check_parameters(name, self.stack, parameters)
            batched = _check_input(name, self.stack, input)
            states = _states(name, self.stack, hx, input, batched)
            if not batched:
                input, states = input[None], tuple(s[None] for s in states)
            _check_same(name, parameters[0], input, states)
            given = tuple(s[None] for s in states)
            call = Call(self.stack, input[:, None], tuple(parameters), given, training=self.training)
            _, following = run(call)
            # Copies, for what is a view cannot be detached in place.
            states = tuple([(s[0] if batched else s[0, 0]).clone() for s in following])
        return states[0] if len(states) == 1 else states

    def _own(self) -> list[Tensor]:
        """The parameters that are there, by name, so that parametrisations are seen."""
        own: dict[str, Any] = self._parameters
        try:
            found = [own[n] for n in NAMES]
        except KeyError:  # a parametrised one is no parameter any more, but an attribute
            found = [getattr(self, n) for n in NAMES]
        there = [p for p in found if p is not None]
        if len(there) == len(self.stack.shapes):
            return there
        # A bias that was taken away since the cell was made adds nothing.
        rows = self.stack.cell.gates * self.stack.hidden_size
        return [there[0].new_zeros(rows) if p is None else p for p in found]

    def _again(self, input: Any, hx: Any, parameters: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        """The states after a call whose like has come before; None: it must be checked first."""
        if type(input) is not Tensor or input.dim() != 2:
            return None
        done = engines.again(self.stack, input, parameters, hx, None, None, None)
        return done and done[1]


def _check_parameters(name: str, stack: Stack, parameters: Sequence[Tensor]) -> None:
    for which, p, shape in zip(NAMES, parameters, stack.shapes.values(), strict=False):
        if p.shape != shape:
            raise Error(f"{name}: {which} has shape {tuple(p.shape)}; wanted {tuple(shape)}")


def _check_input(name: str, stack: Stack, input: Tensor) -> bool:
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}: input is a {type(input).__name__}; wanted a Tensor")
    if input.dim() not in (1, 2):
        raise Error(
            f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead: shape "
            f"{tuple(input.shape)}; wanted (batch, {stack.input_size}) or ({stack.input_size},)"
        )
    if input.shape[-1] != stack.input_size:
        raise Error(
            f"{name}: input has inconsistent input_size: got {input.shape[-1]} expected "
            f"{stack.input_size}; its shape is {tuple(input.shape)}, wanted (batch, {stack.input_size})"
        )
    return input.dim() == 2


def _states(name: str, stack: Stack, hx: Any, input: Tensor, batched: bool) -> tuple[Tensor, ...]:
    count, size = stack.cell.states, stack.hidden_size
    shape = (input.shape[0], size) if batched else (size,)
    if hx is None:
        return tuple(input.new_zeros(shape) for _ in range(count))
    if isinstance(hx, Tensor) != (count == 1) or (
        count > 1 and (not isinstance(hx, (tuple, list)) or len(hx) != count)
    ):
        wanted = "a Tensor" if count == 1 else f"a tuple of {count} Tensors"
        if not isinstance(hx, (Tensor, tuple, list)):
            raise TypeError(f"{name}: hx is a {type(hx).__name__}; wanted {wanted}")
        got = "a Tensor" if isinstance(hx, Tensor) else f"{type(hx).__name__} of {len(hx)}"
        raise Error(f"{name}: hx is {got}; wanted {wanted}")
    states: tuple[Tensor, ...] = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    for i, state in enumerate(states):
        if not isinstance(state, Tensor):
            raise TypeError(f"{name}: hx[{i}] is a {type(state).__name__}; wanted a Tensor")
        if state.dim() not in (1, 2):
            which = "hidden" if count == 1 else f"hx[{i}]"
            raise Error(
                f"{name}: Expected {which} to be 1D or 2D, got {state.dim()}D instead: shape "
                f"{tuple(state.shape)}; wanted {shape}"
            )
        if state.shape[-1] != size:
            raise Error(
                f"{name}: hidden{i} has inconsistent hidden_size: got {state.shape[-1]}, expected {size}"
            )
        if state.dim() != len(shape):
            raise Error(f"{name}: hidden{i} has shape {tuple(state.shape)}; wanted {shape}")
        if state.shape[0] != shape[0]:
            raise Error(
                f"{name}: Input batch size {shape[0]} doesn't match hidden{i} batch size {state.shape[0]}"
            )
    return states


def _check_same(name: str, weight: Tensor, input: Tensor, states: tuple[Tensor, ...]) -> None:
    for which, tensor in (("input", input), *((f"hidden{i}", s) for i, s in enumerate(states))):
        if tensor.device != weight.device:
            raise Error(
                f"{name}: {which} is on {tensor.device} and the weights on {weight.device}; move one"
            )
        if not same_dtype(tensor, weight.dtype):
            raise Error(
                f"{name}: {which} is {tensor.dtype} and the weights are {weight.dtype}; convert one"
            )


class RNNCell(_Stepped, nn.RNNCell):
    """torch.nn.RNNCell: h' = tanh(W x + b_ih + R h + b_hh), or max(0, …) for "relu".

    Arguments, attributes, initialisation and state dict are torch.nn.RNNCell's.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise Error(
                f"RNNCell({input_size}, {hidden_size}): Unknown nonlinearity {nonlinearity!r}; "
                f"wanted 'tanh' or 'relu'"
            )
        super().__init__(input_size, hidden_size, bias, nonlinearity, device=device, dtype=dtype)
        cell = cells.rnn_tanh if nonlinearity == "tanh" else cells.rnn_relu
        self.stack = Stack(cell, input_size, hidden_size, bias=bool(bias))

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """The next state from one input and the one before it; see `GRUCell.forward`."""
        # A node of autograd in Python takes longer than the four of torch's own operator for this step.
        parameters = self._own()  # once: a parametrisation may draw numbers, or count its calls
        if torch.is_grad_enabled() and self._as_torchs(input, hx, parameters):
            state = input.new_zeros(input.shape[0], self.hidden_size) if hx is None else hx
            return self._operator(input, state, *parameters)
        return self._step(input, hx, parameters)

    @property
    def _operator(self) -> Callable[..., Tensor]:
        """torch's own for this step."""
        return torch.rnn_tanh_cell if self.stack.cell is cells.rnn_tanh else torch.rnn_relu_cell

    def _as_torchs(self, input: Any, hx: Any, parameters: Sequence[Tensor]) -> bool:
        """Whether torch's own operator gives what is asked for."""
        weight = parameters[0]
        if len(parameters) != len(self.stack.shapes) or parameters[1].dim() != 2:
            return False  # a weight was taken away
        if torch.compiler.is_compiling() or not engines.free() or torch.is_autocast_enabled("cpu"):
            return False
        if torch._C._get_tracing_state():  # the tracer calls again without gradients, and compares
            return False
        if type(input) is not Tensor or input.dim() != 2 or input.shape[1] != self.input_size:
            return False
        if input.dtype is not weight.dtype or not (input.is_cpu and weight.is_cpu):
            return False
        if hx is None:
            return True
        shape = input.shape[0], self.hidden_size
        return type(hx) is Tensor and hx.shape == shape and hx.dtype is weight.dtype and hx.is_cpu


class GRUCell(_Stepped, nn.GRUCell):
    """torch.nn.GRUCell: gates r, z, n; h' = (1 - z) n + z h (the equations: unrolled.cells.gru).

    Arguments, attributes, initialisation and state dict are torch.nn.GRUCell's.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device=device, dtype=dtype)
        self.stack = Stack(cells.gru, input_size, hidden_size, bias=bool(bias))


class LSTMCell(_Stepped, nn.LSTMCell):
    """torch.nn.LSTMCell: gates i, f, g, o; c' = f c + i g, h' = o tanh(c') (unrolled.cells.lstm).

    Arguments, attributes, initialisation and state dict are torch.nn.LSTMCell's.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device=device, dtype=dtype)
        self.stack = Stack(cells.lstm, input_size, hidden_size, bias=bool(bias))

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """The next states from one input and those before it; see `GRUCell.forward`."""
        if not (torch.is_autocast_enabled("cpu") and isinstance(input, Tensor) and input.is_cpu):
            return super().forward(input, hx)
        # torch.nn.LSTM is an operation of autocast's. Its cell is not: it adds to its state, in its dtype.
        parameters = self._own()
        dtype = parameters[0].dtype
        wanted = autocast.promoted(autocast.state_dtype(hx, input, dtype), dtype)
        input, hx = autocast.widened(input, hx, dtype)
        with torch.autocast("cpu", enabled=False):
            h, c = self._step(input, hx, parameters)
        return h.to(wanted), c.to(wanted)
