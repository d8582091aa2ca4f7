"""The elementwise ATen ops that have a rule: from an op's arguments to vector code.

A rule has its op's own signature after the first argument, the `Maths` it writes to; tensors are
vectors, numbers are Python's. RULES is the table, SAVED the ops whose results are dear enough to be
kept for the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from . import special
from .emit import Value
from .maths import NORMAL, Maths

Operand = Value | float


def vector(m: Maths, a: Operand) -> Value:
    """A number as a vector, truth values as ones and zeros; a vector as it is."""
    if not isinstance(a, Value):
        return m.constant(float(a))
    return m.where(a, m.constant(1.0), m.constant(0.0)) if _are_truths(a) else a


def _are_truths(a: Value) -> bool:
    return a.type.endswith("x i1>")


def _truths(m: Maths, a: Operand) -> Value:
    """Where it is not zero."""
    if isinstance(a, Value) and _are_truths(a):
        return a
    return m.compare("une", vector(m, a), m.constant(0.0))


def _binary(name: str) -> Callable[..., Value]:
    def rule(m: Maths, a: Operand, b: Operand) -> Value:
        return getattr(m, name)(vector(m, a), vector(m, b))

    return rule


def _unary(name: str) -> Callable[..., Value]:
    def rule(m: Maths, a: Operand) -> Value:
        return getattr(m, name)(vector(m, a))

    return rule


def _compare(how: str) -> Callable[..., Value]:
    def rule(m: Maths, a: Operand, b: Operand) -> Value:
        return m.compare(how, vector(m, a), vector(m, b))

    return rule


def _logical(op: str) -> Callable[..., Value]:
    def rule(m: Maths, a: Operand, b: Operand) -> Value:
        a, b = _truths(m, a), _truths(m, b)
        return m.f.op(a.type, f"{op} {a.type} {a.name}, {b.name}")

    return rule


def _not(m: Maths, a: Operand) -> Value:
    a = _truths(m, a)
    ones = "<" + ", ".join(["i1 true"] * m.f.width) + ">"
    return m.f.op(a.type, f"xor {a.type} {a.name}, {ones}")


def _add(m: Maths, a: Operand, b: Operand, alpha: float = 1) -> Value:
    if alpha != 1:
        return m.f.fma(vector(m, b), m.constant(alpha), vector(m, a))
    return m.add(vector(m, a), vector(m, b))


def _sub(m: Maths, a: Operand, b: Operand, alpha: float = 1) -> Value:
    return m.sub(vector(m, a), vector(m, b)) if alpha == 1 else _add(m, a, b, -alpha)


def _rsub(m: Maths, a: Operand, b: Operand, alpha: float = 1) -> Value:
    return _sub(m, b, a, alpha)


def _relu(m: Maths, a: Value) -> Value:
    zero = m.constant(0.0)
    return m.where(m.compare("ole", a, zero), zero, a)


def _clamp(m: Maths, a: Value, min: Operand | None = None, max: Operand | None = None) -> Value:
    if min is not None:
        a = m.maximum(a, vector(m, min))
    return a if max is None else m.minimum(a, vector(m, max))


def _where(m: Maths, condition: Value, a: Operand, b: Operand) -> Value:
    return m.where(condition, vector(m, a), vector(m, b))


def _masked_fill(m: Maths, a: Value, mask: Value, value: Operand) -> Value:
    return m.where(mask, vector(m, value), a)


def _pow(m: Maths, a: Value, exponent: float) -> Value:
    if exponent == 0.5:
        return m.sqrt(a)
    result = m.constant(1.0)
    for _ in range(int(abs(exponent))):
        result = m.mul(result, a)
    return m.div(m.constant(1.0), result) if exponent < 0 else result


def takes_power(exponent: Any) -> bool:
    """Whether it is one that `pow` has a rule for; the others are `power`."""
    return isinstance(exponent, (int, float)) and (
        exponent == 0.5 or (-2 <= exponent <= 4 and exponent == int(exponent))
    )


def _power(m: Maths, a: Operand, exponent: Operand) -> Value:
    return special.power(m, vector(m, a), vector(m, exponent))


def _sign(m: Maths, a: Value) -> Value:
    zero = m.constant(0.0)
    one = m.with_sign(m.constant(1.0), a)
    return m.where(m.compare("one", a, zero), one, zero)


def _softplus(m: Maths, a: Value, beta: float = 1, threshold: float = 20) -> Value:
    scaled = m.mul(a, m.constant(beta))
    soft = m.div(m.log1p(m.exp(scaled)), m.constant(beta))
    return m.where(m.compare("ogt", scaled, m.constant(threshold)), a, soft)


def _softplus_backward(m: Maths, g: Value, a: Value, beta: float, threshold: float) -> Value:
    scaled = m.mul(a, m.constant(beta))
    return m.where(m.compare("ogt", scaled, m.constant(threshold)), g, m.mul(g, m.sigmoid(scaled)))


def _log_sigmoid(m: Maths, a: Value) -> Value:
    e = m.exp(m.negative(m.magnitude(a)))
    return m.sub(m.minimum(a, m.constant(0.0)), m.log1p(e))


def _log_sigmoid_backward(m: Maths, g: Value, a: Value) -> Value:
    return m.mul(g, m.sigmoid(m.negative(a)))


def _sigmoid_backward(m: Maths, g: Value, y: Value) -> Value:
    return m.mul(g, m.mul(m.sub(m.constant(1.0), y), y))


def _tanh_backward(m: Maths, g: Value, y: Value) -> Value:
    return m.mul(g, m.f.fma(m.negative(y), y, m.constant(1.0)))


def _threshold_backward(m: Maths, g: Value, y: Value, threshold: float) -> Value:
    return m.where(m.compare("ole", y, m.constant(threshold)), m.constant(0.0), g)


def _silu(m: Maths, a: Value) -> Value:
    # sigmoid stays where it is below that; times a huge number it would be one.
    return m.mul(m.at_least(a, -NORMAL), m.sigmoid(a))


def _hardtanh_backward(m: Maths, g: Value, a: Value, low: float, high: float) -> Value:
    outside = _logical("or")(m, m.compare("ole", a, m.constant(low)), m.compare("oge", a, m.constant(high)))
    return m.where(outside, m.constant(0.0), g)


def _leaky_relu(m: Maths, a: Value, slope: float = 0.01) -> Value:
    return m.where(m.compare("ogt", a, m.constant(0.0)), a, m.mul(a, m.constant(slope)))


def _leaky_relu_backward(m: Maths, g: Value, a: Value, slope: float, is_result: bool = False) -> Value:
    return m.where(m.compare("ogt", a, m.constant(0.0)), g, m.mul(g, m.constant(slope)))


def _addcmul(m: Maths, a: Operand, b: Operand, c: Operand, value: float = 1) -> Value:
    scaled = vector(m, b) if value == 1 else m.mul(m.constant(value), vector(m, b))
    return m.f.fma(scaled, vector(m, c), vector(m, a))


def _lerp(m: Maths, a: Operand, b: Operand, weight: Operand) -> Value:
    a, b, weight = vector(m, a), vector(m, b), vector(m, weight)
    difference, half = m.sub(b, a), m.constant(0.5)
    # From the nearer end, so that a weight of 1 gives b.
    of_b = m.f.fma(m.sub(weight, m.constant(1.0)), difference, b)
    return m.where(m.compare("olt", m.magnitude(weight), half), m.f.fma(weight, difference, a), of_b)


RULES: dict[str, Callable[..., Value]] = {
    "constant": lambda m, number: m.constant(number),
    "add": _add,
    "sub": _sub,
    "rsub": _rsub,
    "mul": _binary("mul"),
    "div": _binary("div"),
    "maximum": _binary("maximum"),
    "minimum": _binary("minimum"),
    "neg": _unary("negative"),
    "abs": _unary("magnitude"),
    "exp": _unary("exp"),
    "expm1": _unary("expm1"),
    "log": _unary("log"),
    "log1p": _unary("log1p"),
    "sqrt": _unary("sqrt"),
    "sigmoid": _unary("sigmoid"),
    "tanh": _unary("tanh"),
    "rsqrt": lambda m, a: m.div(m.constant(1.0), m.sqrt(a)),
    "reciprocal": lambda m, a: m.div(m.constant(1.0), a),
    "square": lambda m, a: m.mul(a, a),
    "relu": _relu,
    "clamp": _clamp,
    "clamp_min": lambda m, a, b: m.maximum(a, vector(m, b)),
    "clamp_max": lambda m, a, b: m.minimum(a, vector(m, b)),
    "hardtanh": lambda m, a, low=-1.0, high=1.0: _clamp(m, a, low, high),
    "where": _where,
    "masked_fill": _masked_fill,
    "pow": _pow,
    "power": _power,
    "copysign": _binary("with_sign"),
    "float": vector,
    "sign": _sign,
    "sgn": _sign,
    "softplus": _softplus,
    "log_sigmoid_forward": _log_sigmoid,
    "silu": _silu,
    "leaky_relu": _leaky_relu,
    "addcmul": _addcmul,
    "lerp": _lerp,
    "lt": _compare("olt"),
    "le": _compare("ole"),
    "gt": _compare("ogt"),
    "ge": _compare("oge"),
    "eq": _compare("oeq"),
    "ne": _compare("une"),
    "logical_and": _logical("and"),
    "logical_or": _logical("or"),
    "bitwise_and": _logical("and"),
    "bitwise_or": _logical("or"),
    "isnan": lambda m, a: m.compare("uno", a, a),
    "isinf": lambda m, a: m.compare("oeq", m.magnitude(a), m.constant(math.inf)),
    "__and__": _logical("and"),
    "__or__": _logical("or"),
    "__xor__": _logical("xor"),
    "bitwise_xor": _logical("xor"),
    "logical_xor": _logical("xor"),
    "logical_not": _not,
    "bitwise_not": _not,
    "sigmoid_backward": _sigmoid_backward,
    "tanh_backward": _tanh_backward,
    "threshold_backward": _threshold_backward,
    "log_sigmoid_backward": _log_sigmoid_backward,
    "softplus_backward": _softplus_backward,
    "hardtanh_backward": _hardtanh_backward,
    "leaky_relu_backward": _leaky_relu_backward,
    **special.SPECIAL,
    **special.ROUNDED,
}

SAVED = frozenset(
    {"sigmoid", "tanh", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "softplus", "silu"}
    | {"log_sigmoid_forward", "div", "reciprocal", "power", *special.SPECIAL}
)

_OF_TRUTHS = frozenset(
    {"logical_and", "logical_or", "logical_xor", "logical_not", "__and__", "__or__", "__xor__"}
    | {"bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not"}
)

BOOLEAN = _OF_TRUTHS | {"lt", "le", "gt", "ge", "eq", "ne", "isnan", "isinf"}
"""Those that give truth values."""

LOGICAL = _OF_TRUTHS | {"where", "masked_fill"}
"""Those that take them; to the others a truth value is one or zero."""
