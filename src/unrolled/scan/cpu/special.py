"""Functions that few cells have, most in double precision: half an ulp of error, or little more.

Each takes and returns float vectors, as those of `Maths`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from .emit import FLOAT, Function, Value
from .maths import Maths

# A double this large holds whole numbers only: adding it rounds, and leaves them in the lowest bits.
_ROUND = 1.5 * 2.0**52
_ONE, _ROOT = 1023 << 52, 0x3FE6A09E667F3BCD
"""The bits of 1 and of √½."""
_LOG2 = tuple([2 / (math.log(2) * (2 * k + 1)) for k in range(6, -1, -1)])
"""log2(m) / z as a series in z² with z = (m - 1) / (m + 1): off by 2^-39 of itself from √½ to √2."""
_EXP = tuple([1 / math.factorial(k) for k in range(9, -1, -1)])
"""e^r: off by 2^-37 on |r| <= ln(2)/2."""
_SIN = tuple([(-1) ** k / math.factorial(2 * k + 1) for k in range(5, -1, -1)])
_COS = tuple([(-1) ** k / math.factorial(2 * k) for k in range(6, -1, -1)])
"""sin(r) / r and cos(r) as series in r²: off by 2^-37 on |r| <= π/4."""
_HALF_PI, _HALF_PI_REST = 1.5707963267948966, 6.123233995736766e-17
_NEAR = 2.0**31
"""Up to here multiples of π/2 are taken off without loss."""
_ERF = (
    7.85386115041317e-05,
    -8.010193558718911e-04,
    5.188327677335375e-03,
    -2.6853811930382086e-02,
    1.1283585148493092e-01,
    -3.761262582422661e-01,
    1.283791657267153e-01,
)
"""erf(x) / x - 1 in x² for |x| <= 1: minimax for erf(x), off by 2^-29 of that."""
_ERFC = (
    1.8637911050e-04,
    -2.9476575435e-03,
    2.1838061084e-02,
    -1.0310674863e-01,
    -6.3814483950e-01,
    -1.1270891862e00,
    -3.4152398761e-04,
)
"""log(1 - erf(x)) for 1 <= x <= 4: minimax for what it adds to erf(x), below 2^-29 of that."""


class _Doubles(Maths):
    """As `Maths`, of vectors of as many doubles."""

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        self.type = f"<{function.width} x double>"
        self._words = f"<{function.width} x i64>"

    def constant(self, number: float) -> Value:
        (bits,) = struct.unpack("<Q", struct.pack("<d", number))
        return Value(self.f, self.type, f"<{', '.join([f'double 0x{bits:016X}'] * self.f.width)}>")

    def _intrinsic(self, name: str, *arguments: Value) -> Value:
        return self.f.call(self.type, f"llvm.{name}.v{self.f.width}f64", arguments)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a b + c, rounded once."""
        return self._intrinsic("fma", a, b, c)

    def polynomial(self, x: Value, coefficients: tuple[float, ...]) -> Value:
        total = self.constant(coefficients[0])
        for c in coefficients[1:]:
            total = self.fma(total, x, self.constant(c))
        return total

    def of(self, x: Value) -> Value:
        """Floats as doubles."""
        return self.f.op(self.type, f"fpext {x.type} {x.name} to {self.type}")

    def floats(self, a: Value) -> Value:
        """The nearest floats."""
        return self.f.op(self.f.vector, f"fptrunc {a.type} {a.name} to {self.f.vector}")

    def bits(self, a: Value) -> Value:
        """As whole numbers."""
        return self.f.op(self._words, f"bitcast {a.type} {a.name} to {self._words}")

    def of_bits(self, words: Value) -> Value:
        """The other way."""
        return self.f.op(self.type, f"bitcast {words.type} {words.name} to {self.type}")

    def word(self, op: str, a: Value, number: int) -> Value:
        """An operation of whole numbers and one of them."""
        every = ", ".join([f"i64 {number}"] * self.f.width)
        return self.f.op(a.type, f"{op} {a.type} {a.name}, <{every}>")

    def rounded(self, x: Value, factor: float) -> tuple[Value, Value]:
        """factor x to the nearest whole number: as doubles, and in the lowest bits of whole numbers."""
        shift = self.constant(_ROUND)
        shifted = self.fma(x, self.constant(factor), shift)
        return self.sub(shifted, shift), self.bits(shifted)

    def log2(self, x: Value) -> Value:
        """Of positive normal numbers; of a denormal float as well, which is a normal double."""
        bits = self.bits(x)
        # The exponent is taken so that the mantissa falls between √½ and √2.
        power = self.word("ashr", self.word("sub", bits, _ROOT), 52)
        whole = self.word("shl", power, 52)
        m = self.of_bits(self.f.op(bits.type, f"sub {bits.type} {bits.name}, {whole.name}"))
        short = self.f.op(
            f"<{self.f.width} x i32>", f"trunc {power.type} {power.name} to <{self.f.width} x i32>"
        )
        exponent = self.f.op(self.type, f"sitofp {short.type} {short.name} to {self.type}")
        one = self.constant(1.0)
        z = self.div(self.sub(m, one), self.add(m, one))
        return self.fma(z, self.polynomial(self.mul(z, z), _LOG2), exponent)

    def exp2(self, x: Value) -> Value:
        """2^x, which as a float is 0 or endless long before the bounds here."""
        x = self.where(self.compare("ogt", x, self.constant(300.0)), self.constant(300.0), x)
        x = self.at_least(x, -300.0)
        n, bits = self.rounded(x, 1.0)
        power = self.polynomial(self.mul(self.sub(x, n), self.constant(math.log(2))), _EXP)
        return self.mul(power, self.of_bits(self.word("add", self.word("shl", bits, 52), _ONE)))


def exp2(m: Maths, x: Value) -> Value:
    """2^x."""
    d = _Doubles(m.f)
    return d.floats(d.exp2(d.of(x)))


def log2(m: Maths, x: Value) -> Value:
    """The logarithm to the base 2."""
    return _logarithm(m, x, 1.0)


def log10(m: Maths, x: Value) -> Value:
    """The logarithm to the base 10."""
    return _logarithm(m, x, math.log10(2))


def _logarithm(m: Maths, x: Value, factor: float) -> Value:
    """-inf at 0, NaN below."""
    d, zero, endless = _Doubles(m.f), m.constant(0.0), m.constant(math.inf)
    found = d.floats(d.mul(d.log2(d.of(x)), d.constant(factor)))
    found = m.where(m.compare("oeq", x, endless), x, found)
    found = m.where(m.compare("oeq", x, zero), m.negative(endless), found)
    return m.where(m.compare("ult", x, zero), m.constant(math.nan), found)


def power(m: Maths, x: Value, y: Value) -> Value:
    """x^y, as C's pow has it at the ends."""
    d = _Doubles(m.f)
    zero, one, endless = (m.constant(c) for c in (0.0, 1.0, math.inf))
    size = m.magnitude(x)
    found = d.floats(d.exp2(d.mul(d.of(y), d.log2(d.of(size)))))
    falling = m.compare("olt", y, zero)
    found = m.where(m.compare("oeq", size, zero), m.where(falling, endless, zero), found)
    found = m.where(m.compare("oeq", size, endless), m.where(falling, zero, endless), found)
    found = m.where(m.compare("oeq", size, one), one, found)
    # Of a negative number: the sign of an odd power, and no value between whole ones, but at the ends.
    half = m.mul(y, m.constant(0.5))
    whole, between = (m.compare(how, _rounded(m, y, "rint"), y) for how in ("oeq", "une"))
    odd = _both(m, whole, m.compare("une", _rounded(m, half, "rint"), half))
    found = m.where(odd, m.with_sign(found, x), found)
    inside = _both(m, m.compare("olt", x, zero), m.compare("one", size, endless))
    found = m.where(_both(m, inside, between), m.constant(math.nan), found)
    found = m.where(m.compare("uno", x, y), m.constant(math.nan), found)
    for always in (m.compare("oeq", y, zero), m.compare("oeq", x, one)):
        found = m.where(always, one, found)
    return found


def _both(m: Maths, a: Value, b: Value) -> Value:
    return m.f.op(a.type, f"and {a.type} {a.name}, {b.name}")


def _rounded(m: Maths, x: Value, how: str) -> Value:
    """To whole numbers: `how` is LLVM's (rint: to the nearest, of two the even one)."""
    return m.f.call(m.f.vector, f"llvm.{how}.v{m.f.width}f32", [x])


def _rounding(how: str) -> Callable[[Maths, Value], Value]:
    return lambda m, x: _rounded(m, x, how)


ROUNDED = {
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "trunc": _rounding("trunc"),
    "round": _rounding("rint"),
}
"""Those that give whole numbers, by their op's name."""


def sin(m: Maths, x: Value) -> Value:
    """sin(x), x in radians."""
    return _far(m, x, "sin", _wave(m, x, 0))


def cos(m: Maths, x: Value) -> Value:
    """cos(x), x in radians."""
    return _far(m, x, "cos", _wave(m, x, 1))


def _wave(m: Maths, x: Value, ahead: int) -> Value:
    """sin(x + ahead π/2) for |x| up to `_NEAR`."""
    d = _Doubles(m.f)
    wide = d.of(x)
    n, bits = d.rounded(wide, 2 / math.pi)
    minus = d.negative(n)
    r = d.fma(minus, d.constant(_HALF_PI_REST), d.fma(minus, d.constant(_HALF_PI), wide))
    square = d.mul(r, r)
    sine, cosine = d.mul(r, d.polynomial(square, _SIN)), d.polynomial(square, _COS)
    quarter = d.word("add", bits, ahead)
    odd, beyond = (_set(m, d.word("and", quarter, bit)) for bit in (1, 2))
    found = d.floats(d.where(odd, cosine, sine))
    return m.where(beyond, m.negative(found), found)


def _set(m: Maths, words: Value) -> Value:
    return m.f.op(f"<{m.f.width} x i1>", f"icmp ne {words.type} {words.name}, zeroinitializer")


def _far(m: Maths, x: Value, name: str, near: Value) -> Value:
    """The C library's function, number by number, where one is too large; else what was found."""
    f = m.f
    far = m.compare("ogt", m.magnitude(x), m.constant(_NEAR))
    any_far = f.call("i1", f"llvm.vector.reduce.or.v{f.width}i1", [far])
    found = f.variable(near)
    with f.when(any_far):
        f.set(found, f.call(f.vector, _one_by_one(f, name), [x]))
    return m.where(far, f.get(f.vector, found), near)


def _one_by_one(f: Function, name: str) -> str:
    """The name of a function that calls the C library's for each number; made if it is missing."""
    made = f"{name}_of_{f.width}"
    if made not in f.module.functions:
        each = f.module.function(made, [(f.vector, "x")], f.vector)
        (x,) = each.arguments
        result = x
        for lane in range(f.width):
            one = each.op(FLOAT, f"extractelement {x.type} {x.name}, i64 {lane}")
            got = each.call(FLOAT, f"{name}f", [one])
            result = each.op(
                x.type, f"insertelement {x.type} {result.name}, {FLOAT} {got.name}, i64 {lane}"
            )
        each.do(f"ret {result.type} {result.name}")
    return made


def erf(m: Maths, x: Value) -> Value:
    """2/√π ∫ e^-t² dt from 0 to x; in single precision, for gelu's sake."""
    size = m.magnitude(x)
    low = m.f.fma(size, m.polynomial(m.mul(size, size), _ERF), size)
    # Beyond 4 it is 1, as a float.
    most = m.where(m.compare("ogt", size, m.constant(4.0)), m.constant(4.0), size)
    high = m.sub(m.constant(1.0), m.exp(m.polynomial(most, _ERFC)))
    found = m.where(m.compare("olt", size, m.constant(1.0)), low, high)
    return m.with_sign(found, x)


SPECIAL: dict[str, Callable[..., Value]] = {
    "exp2": exp2,
    "log2": log2,
    "log10": log10,
    "sin": sin,
    "cos": cos,
    "erf": erf,
}
"""Those of one argument, by their op's name."""
