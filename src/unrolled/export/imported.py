"""Modules for what ONNX's recurrent nodes may compute and no layer of ours does alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import cells
from ..cells import cell
from ..layers import GRU, LSTM, RNN, Recurrent
from ..scan import Call, Stack, run, validate


@cell(gates=3, states=4)
def half_gru(x, r, h, before, update, second):
    """Half a step of a GRU that resets before the product: R multiplies h_{t-1}, then ρ h_{t-1}.

    second = 0:  ρ = σ(x_r + r_r)    z = σ(x_z + r_z)    h' = ρ h         (and h and z are kept)
    second = 1:  n = tanh(x_n + r_n)                     h' = (1 - z) n + z h_{t-1}
    """
    reset = torch.sigmoid(x[0] + r[0])
    candidate = torch.tanh(x[2] + r[2])
    following = torch.where(second > 0, candidate + update * (before - candidate), reset * h)
    return following, h, torch.sigmoid(x[1] + r[1]), 1 - second


class ResetBeforeGRU(Recurrent):
    """The GRU that resets before the product, as the first version of arXiv:1406.1078 has it.

    ρ = σ(W_r x + R_r h)    z = σ(W_z x + R_z h)    n = tanh(W_n x + R_n (ρ h))    h' = (1 - z) n + z h

    with torch.nn.GRU's two biases, shapes and names; ONNX calls it linear_before_reset=0, Keras
    reset_after=False. One layer, of one direction or two. Its two products a step are two steps of
    `half_gru`, on any engine, at the cost of two steps of a GRU. Called as every layer is.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        options: dict[str, Any] = {"bias": bias, "bidirectional": bidirectional}
        super().__init__(
            cells.gru,
            input_size,
            hidden_size,
            batch_first=batch_first,
            **options,
            device=device,
            dtype=dtype,
        )
        self.halves = Stack(half_gru, input_size, hidden_size, **options)

    def _call(
        self, input: Any, state: Any, lengths: Any, reset: Any, batch_first: bool
    ) -> tuple[Call, bool]:
        call, single = super()._call(input, state, lengths, reset, batch_first)
        (h,), reset = call.state, call.reset
        if reset is not None:
            reset = torch.stack([reset, torch.zeros_like(reset)], dim=2).flatten(1)
        doubled = Call(
            self.halves,
            call.input.repeat_interleave(2, dim=1),
            call.parameters,
            (h, *(torch.zeros_like(h) for _ in range(3))),
            None if call.lengths is None else 2 * call.lengths,
            reset,
            call.training,
        )
        return doubled, single

    def _scan(
        self, input: Any, state: Any, lengths: Any = None, reset: Any = None, batch_first: bool = True
    ) -> tuple[Tensor, Any]:
        call, single = self._call(input, state, lengths, reset, batch_first)
        twice, (h, *_) = run(call)
        # (batch, time, half, direction, hidden): a direction's second half is that which it reads last.
        apart = twice.unflatten(1, (-1, 2)).unflatten(3, (self.stack.directions, -1))
        output = torch.cat([apart[:, :, 1 - d, d] for d in range(self.stack.directions)], dim=-1)
        if single:
            return output[0], h[:, 0]
        return output if batch_first else output.transpose(0, 1), h


class Reversed(nn.Module):
    """A layer of one direction that reads every row from its own end: ONNX's direction "reverse".

    Output and input lie in the order of time; the state is that after a row's first step.
    """

    def __init__(self, layer: RNN | GRU | LSTM | Recurrent) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, input: Tensor, hx: Any = None, *, lengths: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, Any]:
        """As the layer's own forward, for a Tensor (time, batch, feature), with batch_first (batch, time,
        feature), or (time, feature)."""
        layer = self.layer
        if not isinstance(input, Tensor) or not input.is_floating_point():
            got = input.dtype if isinstance(input, Tensor) else f"a {type(input).__name__}"
            raise TypeError(f"Reversed {layer.stack}: input is {got}; wanted a Tensor of features")
        validate(layer.stack, input, layer._flat(), hx, lengths, None, layer.batch_first, self.training)
        output, last = layer(self._turned(input, lengths), hx, lengths=lengths)
        return self._turned(output, lengths), last

    def _turned(self, rows: Tensor, lengths: Tensor | Sequence[int] | None) -> Tensor:
        """Each row backwards within its length."""
        axis = 1 if self.layer.batch_first and rows.dim() == 3 else 0
        if lengths is None:
            return rows.flip(axis)
        ends = torch.as_tensor(lengths, device=rows.device)[:, None]
        steps = torch.arange(rows.shape[axis], device=rows.device)
        order = torch.where(steps < ends, ends - 1 - steps, steps)
        order = (order if axis else order.T)[:, :, None]
        return rows.gather(axis, order.expand_as(rows))
