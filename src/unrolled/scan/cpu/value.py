"""What kernels compute with: SSA values, and how LLVM IR writes them and constants."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .emit import Function


class Value:
    """An SSA value: its type and its name, with arithmetic on whole numbers."""

    __slots__ = ("function", "name", "type")

    def __init__(self, function: Function, type: str, name: str) -> None:
        self.function, self.type, self.name = function, type, name

    def __add__(self, other: Value | int) -> Value:
        return self.function.integer("add", self, other)

    def __sub__(self, other: Value | int) -> Value:
        return self.function.integer("sub", self, other)

    def __rsub__(self, other: int) -> Value:
        return self.function.integer("sub", other, self)

    def __mul__(self, other: Value | int) -> Value:
        return self.function.integer("mul", self, other)

    def __floordiv__(self, other: Value | int) -> Value:
        return self.function.integer("sdiv", self, other)

    def __and__(self, other: Value | int) -> Value:
        return self.function.integer("and", self, other)

    __radd__, __rmul__ = __add__, __mul__


def ref(value: Value | int) -> str:
    """An operand as IR writes it."""
    return value.name if isinstance(value, Value) else str(value)


def hexadecimal(number: float) -> str:
    """A float32 as IR writes it: the bits of the float64 with the same value."""
    with np.errstate(over="ignore"):
        single = float(np.float32(number))  # what is too large becomes infinite, as in torch
    return f"0x{struct.unpack('<Q', struct.pack('<d', single))[0]:016X}"
