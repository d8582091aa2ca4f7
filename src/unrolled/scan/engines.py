"""Which engine runs a call, and why not a faster one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Protocol

from torch import Tensor, int64, is_autocast_enabled, is_grad_enabled, tensor
from torch.compiler import is_dynamo_compiling

from ..cells import Cell
from ..errors import EngineWarning, Error
from . import aten, autocast, cpu, reference, watching
from .stack import Call, Stack


class Engine(Protocol):
    """What a module under scan/ offers to be an engine."""

    def refuses(self, call: Call) -> str | None:
        """Why it cannot take the call, or None."""
        ...

    def run(self, call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Output (batch, time, directions * output), states (layers * directions, batch, size) each."""
        ...


ENGINES: dict[str, Engine] = {"cpu": cpu, "aten": aten, "reference": reference}
"""By name, the fastest first; the last one takes every call."""

_forced: ContextVar[str | None] = ContextVar("unrolled_engine", default=None)
_said: set[tuple[Cell, str]] = set()


@dataclass(frozen=True)
class Explanation:
    """Which engine runs a call, and the reason each faster one does not."""

    engine: str
    refused: dict[str, str]

    def __str__(self) -> str:
        reasons = [f"not {name}: {reason}" for name, reason in self.refused.items()]
        return "; ".join([f"engine {self.engine}", *reasons])


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Within the block every scan runs on this engine, or raises Error saying why it cannot.

    The variable UNROLLED_ENGINE does the same for a whole program.
    """
    token = _forced.set(_known(name, "engine"))
    try:
        yield
    finally:
        _forced.reset(token)


@cache
def _program() -> str | None:
    """The engine that the environment names; read once, for it would cost every call a microsecond."""
    variable = os.environ.get("UNROLLED_ENGINE")
    return _known(variable, "UNROLLED_ENGINE") if variable else None


def choose(call: Call) -> Explanation:
    """The fastest engine that takes the call, or the forced one; raises Error if that one does not."""
    forced = _forced.get() or _program()
    if forced is not None:
        reason = ENGINES[forced].refuses(call)
        if reason is not None:
            raise Error(f"{call.stack}: engine {forced!r} was asked for and cannot run this call: {reason}")
        return Explanation(forced, {})
    refused: dict[str, str] = {}
    for name, candidate in ENGINES.items():
        reason = candidate.refuses(call)
        if reason is None:
            return Explanation(name, refused)
        refused[name] = reason
    raise Error(f"{call.stack}: no engine takes this call: {refused}")


def free() -> bool:
    """Whether no engine was asked for and nobody watches."""
    return _forced.get() is None and _program() is None and watching.current.get() is None


def again(
    stack: Stack,
    input: Tensor,
    parameters: Sequence[Tensor],
    state: object,
    lengths: object,
    reset: object,
    batch_first: bool | None,
    sizes: Tensor | None = None,
    drops: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]] | None:
    """What `scan` returns for a call whose like has come before, without checking it anew; None
    where it must be checked, or another engine was asked for, or somebody watches.

    batch_first: None for a step of a cell, from input (batch, feature) and states (batch, size) each.
    sizes: of a packed input (rows, feature), how many rows each step has; the output is packed then.
    drops: whether there is dropout between the layers."""
    if is_dynamo_compiling() or watching.current.get() is not None:
        return None
    if len(parameters) != len(stack.shapes):
        return None
    wanted = _forced.get() or _program()
    if wanted is not None and wanted != "cpu":
        return None
    if type(lengths) is list and all([type(n) is int and 0 <= n < 1 << 63 for n in lengths]):
        lengths = tensor(lengths, dtype=int64)
    lower = None
    if is_autocast_enabled("cpu"):
        own = parameters[0].dtype
        lower = autocast.lowered(stack, autocast.state_dtype(state, input, own), own)
        if state is not None or not isinstance(input, Tensor) or input.dtype is not own:
            input, state = autocast.widened(input, state, own)
    known = _practice() if is_grad_enabled() else _ready()
    return known.again(stack, input, parameters, state, lengths, reset, batch_first, lower, sizes, drops)


@cache
def _ready() -> ModuleType:
    # Only who runs a scan pays for importing kernels.
    from .cpu import ready

    return ready


@cache
def _practice() -> ModuleType:
    from .cpu import practice

    return practice


def run(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Runs the call on the engine that `choose` names; says once when that is the slow one."""
    chosen = choose(call)
    if chosen.engine == "reference" and chosen.refused:
        _say(call, chosen)
    output, states = ENGINES[chosen.engine].run(call)
    watching.note(call, output, states)
    return output, states


def _say(call: Call, chosen: Explanation) -> None:
    key = (call.stack.cell, str(chosen))
    if key not in _said:
        _said.add(key)
        warnings.warn(f"{call.stack} runs as a Python loop ({chosen})", EngineWarning, stacklevel=5)


def _known(name: str, where: str) -> str:
    if name not in ENGINES:
        raise Error(f"{where}: {name!r} is not an engine; wanted one of {', '.join(ENGINES)}")
    return name
