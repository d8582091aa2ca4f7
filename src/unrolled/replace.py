"""Every torch.nn.RNN, GRU and LSTM of a model made ours where it stands, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from torch import nn
from torch.nn.utils import parametrize

from . import cells
from .layers import GRU, LSTM, RNN
from .scan import Stack

M = TypeVar("M", bound=nn.Module)

_OURS: dict[type[nn.Module], type[nn.Module]] = {nn.RNN: RNN, nn.GRU: GRU, nn.LSTM: LSTM}
_TORCHS = {ours: theirs for theirs, ours in _OURS.items()}


def replace(model: M) -> M:
    """Makes every torch.nn.RNN, GRU and LSTM in the model, or the model itself, ours; returns the model.

    The modules stay the objects that they are and change their class alone: parameters (so optimisers),
    names, hooks, training mode, shared modules and parametrisations are untouched. Subclasses of
    torch.nn's, which may compute something else, are left as they are.
    """
    for module in _modules(model, "replace"):
        if _change(module, _OURS):
            module.stack = _stack(module)  # type: ignore[assignment]
    return model


def restore(model: M) -> M:
    """Undoes `replace`: every layer of ours that torch.nn has becomes torch.nn's; returns the model.

    Also for layers that were made as ours. A Recurrent stays, since torch.nn has none.
    """
    for module in _modules(model, "restore"):
        if _change(module, _TORCHS):
            del module.stack
    return model


def _modules(model: nn.Module, name: str) -> Iterator[nn.Module]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name}: got a {type(model).__name__}; wanted a torch.nn.Module, already made")
    return model.modules()


def _change(module: nn.Module, classes: dict[type[nn.Module], type[nn.Module]]) -> bool:
    """Gives the module the other class, if its own is one of them; says whether it did."""
    own = type(module)
    if own in classes:
        object.__setattr__(module, "__class__", classes[own])
        return True
    # A parametrisation makes a class for its module alone, derived from the module's.
    if parametrize.is_parametrized(module) and own.__bases__[0] in classes:
        namespace = {k: v for k, v in vars(own).items() if k not in ("__dict__", "__weakref__")}
        made = type(own.__name__, (classes[own.__bases__[0]],), namespace)
        object.__setattr__(module, "__class__", made)
        return True
    return False


def _stack(module: nn.Module) -> Stack:
    if not isinstance(module, nn.RNNBase):
        raise TypeError(f"{type(module).__name__} is not one of torch.nn's recurrent layers")
    cell = {"RNN_TANH": cells.rnn_tanh, "RNN_RELU": cells.rnn_relu, "GRU": cells.gru, "LSTM": cells.lstm}
    return Stack(
        cell[module.mode],
        module.input_size,
        module.hidden_size,
        module.num_layers,
        module.bias,
        module.dropout,
        module.bidirectional,
        module.proj_size,
    )
