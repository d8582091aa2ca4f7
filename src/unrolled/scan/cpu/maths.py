"""Vector functions in the kernel language: at most 2 ulp more error than torch's own.

Each takes and returns float vectors. NaN goes through all of them; infinities where torch has them.
"""

from __future__ import annotations

from .emit import Function, Value
from .machine import machine

_LOG2_E = 1.4426950408889634
# A float this large holds whole numbers only: adding it rounds, and leaves them in the lowest bits.
_ROUND, _ROUND_BITS = 12582912.0, 0x4B400000
# ln 2 in two parts, the first with so few bits that n times it is exact.
_LN2, _LN2_HIGH, _LN2_LOW = 0.6931471805599453, 0.693359375, -2.12194440e-4
# (e^r - 1 - r) / r² on |r| <= ln(2)/2, highest power first: minimax for what it adds to e^r - 1,
# relative to r, which is below 0.3 * 2^-24.
_EXP = (1.3946497347e-3, 8.3666108549e-3, 4.1666280478e-2, 1.6666543484e-1, 0.5)
# (log(1 + f) - f + f²/2) / f³ on √½ - 1 <= f <= √2 - 1.
_LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
NORMAL = 87.3364
"""e^-x is a normal number up to here."""
_INFINITY = float("inf")


class Maths:
    """The functions, appended to one kernel."""

    def __init__(self, function: Function) -> None:
        self.f = function

    def constant(self, number: float) -> Value:
        """The number in every lane."""
        return self.f.constant(number)

    def _binary(self, op: str, a: Value, b: Value) -> Value:
        return self.f.op(a.type, f"{op} {a.type} {a.name}, {b.name}")

    def add(self, a: Value, b: Value) -> Value:
        """a + b."""
        return self._binary("fadd", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        """a - b."""
        return self._binary("fsub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        """a b."""
        return self._binary("fmul", a, b)

    def div(self, a: Value, b: Value) -> Value:
        """a / b, correctly rounded, for any a and b."""
        return self._binary("fdiv", a, b)

    def negative(self, a: Value) -> Value:
        """-a."""
        return self.f.op(a.type, f"fneg {a.type} {a.name}")

    def compare(self, how: str, a: Value, b: Value) -> Value:
        """The mask of the lanes where it holds; `how` is LLVM's (olt, une, …)."""
        return self.f.op(f"<{self.f.width} x i1>", f"fcmp {how} {a.type} {a.name}, {b.name}")

    def where(self, condition: Value, a: Value, b: Value) -> Value:
        """a where the condition holds, else b."""
        return self.f.choose(condition, a, b)

    def _intrinsic(self, name: str, *arguments: Value) -> Value:
        return self.f.call(self.f.vector, f"llvm.{name}.v{self.f.width}f32", arguments)

    def magnitude(self, a: Value) -> Value:
        """|a|."""
        return self._intrinsic("fabs", a)

    def sqrt(self, a: Value) -> Value:
        """√a, correctly rounded."""
        return self._intrinsic("sqrt", a)

    def with_sign(self, a: Value, sign: Value) -> Value:
        """|a| with the sign of the other."""
        return self._intrinsic("copysign", a, sign)

    def maximum(self, a: Value, b: Value) -> Value:
        """The larger; NaN if either is, as torch.maximum."""
        larger = self.where(self.compare("ogt", a, b), a, b)
        return self.where(self.compare("uno", a, a), a, larger)

    def minimum(self, a: Value, b: Value) -> Value:
        """The smaller; NaN if either is, as torch.minimum."""
        smaller = self.where(self.compare("olt", a, b), a, b)
        return self.where(self.compare("uno", a, a), a, smaller)

    def polynomial(self, x: Value, coefficients: tuple[float, ...]) -> Value:
        """Horner's rule, highest power first."""
        total = self.constant(coefficients[0])
        for c in coefficients[1:]:
            total = self.f.fma(total, x, self.constant(c))
        return total

    def _power_of_two(self, n: Value, sign: int = 1) -> Value:
        """2^n, or 2^-n, of an i32 vector in whose lowest nine bits is -126 <= n <= 126."""
        shifted = self.f.op(n.type, f"shl {n.type} {n.name}, {self.f.integers(23).name}")
        op = "add" if sign > 0 else "sub"
        biased = self.f.op(n.type, f"{op} {n.type} {self.f.integers(127 << 23).name}, {shifted.name}")
        return self.f.op(self.f.vector, f"bitcast {n.type} {biased.name} to {self.f.vector}")

    def _rounded(self, x: Value, factor: float) -> tuple[Value, Value]:
        """factor x to the nearest whole number n: as floats, and in the lowest bits of an i32 vector."""
        f, shift = self.f, self.constant(_ROUND)
        shifted = f.fma(x, self.constant(factor), shift)
        itype = f"<{f.width} x i32>"
        return self.sub(shifted, shift), f.op(itype, f"bitcast {f.vector} {shifted.name} to {itype}")

    def _reduced(self, x: Value) -> tuple[Value, Value]:
        """Of x = n ln 2 + r: n in the lowest bits of an i32 vector, and e^r - 1."""
        bits, r = self._remainder(x)
        return bits, self.f.fma(self.mul(r, r), self.polynomial(r, _EXP), r)

    def _remainder(self, x: Value) -> tuple[Value, Value]:
        """Of x = n ln 2 + r: n in the lowest bits of an i32 vector, and r."""
        n, bits = self._rounded(x, _LOG2_E)
        minus = self.negative(n)
        r = self.f.fma(minus, self.constant(_LN2_HIGH), x)
        return bits, self.f.fma(minus, self.constant(_LN2_LOW), r)

    def exp(self, x: Value) -> Value:
        """e^x over the whole range, denormal results included."""
        bits, e = self._reduced(self._at_most(self.at_least(x, -105.0), 89.0))
        one = self.constant(1.0)
        n = self.f.op(bits.type, f"sub {bits.type} {bits.name}, {self.f.integers(_ROUND_BITS).name}")
        half = self.f.op(n.type, f"ashr {n.type} {n.name}, {self.f.integers(1).name}")
        rest = self.f.op(n.type, f"sub {n.type} {n.name}, {half.name}")
        scaled = self.mul(self.add(e, one), self._power_of_two(half))
        return self.mul(scaled, self._power_of_two(rest))

    def _expm1_of_twice(self, x: Value) -> Value:
        """e^2x - 1 for x <= 0, to the digits that 1 has."""
        x = self.at_least(x, -10.0)
        n, bits = self._rounded(x, 2 * _LOG2_E)
        # n is at least -29: what ln 2 loses as one float does not reach the digits that are left of 2^n.
        s = self.f.fma(self.negative(n), self.constant(_LN2 / 2), x)
        q = self.polynomial(s, tuple(c * 2.0 ** (6 - k) for k, c in enumerate(_EXP)))
        e = self.f.fma(self.mul(s, s), q, self.add(s, s))
        scale = self._power_of_two(bits)
        return self.f.fma(e, scale, self.sub(scale, self.constant(1.0)))

    def at_least(self, x: Value, bound: float) -> Value:
        """max(x, bound); NaN stays NaN."""
        limit = self.constant(bound)
        return self.where(self.compare("olt", x, limit), limit, x)

    def _at_most(self, x: Value, bound: float) -> Value:
        limit = self.constant(bound)
        return self.where(self.compare("ogt", x, limit), limit, x)

    def _ratio(self, a: Value, b: Value) -> Value:
        """a / b for 1 <= b < 2^127 and |a| <= b, by the approximate reciprocal where there is one."""
        f = self.f
        if not machine().avx512:
            return self.div(a, b)
        # In narrowed vectors too: few units give the same bits whatever they are computed beside.
        width = f.module.width
        parts = [f.part(b, i) for i in range(f.width // width)]
        zeros, every = f.part(self.constant(0.0), 0), f.int(-1, "i16" if width == 16 else "i8")
        name = f"llvm.x86.avx512.rcp14.ps.{32 * width}"
        y = f.join([f.call(f.module.vector, name, [part, zeros, every]) for part in parts])
        # As y is off by 2^-14 of itself, a rest of 2^-14 of a is left, and of that again 2^-14.
        q = self.mul(a, y)
        return self.f.fma(self.f.fma(self.negative(b), q, a), y, q)

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + e^-x); of x below -87.3364, where it would be no normal number, what it is there."""
        bits, r = self._remainder(self._at_most(self.at_least(x, -NORMAL), NORMAL))
        # e^-x = 2^-n e^-r.
        p = self.polynomial(r, tuple(c * (-1) ** k for k, c in enumerate((*_EXP, 1.0, 1.0))))
        one = self.constant(1.0)
        return self._ratio(one, self.f.fma(p, self._power_of_two(bits, -1), one))

    def tanh(self, x: Value) -> Value:
        """-tanh |x| = e / (e + 2) with e = e^-2|x| - 1, so that a small x keeps its digits."""
        e = self._expm1_of_twice(self.negative(self.magnitude(x)))
        return self.with_sign(self._ratio(e, self.add(e, self.constant(2.0))), x)

    def log(self, x: Value) -> Value:
        """The natural logarithm; denormal numbers included, -inf at 0, NaN below."""
        f = self.f
        tiny = self.compare("olt", x, self.constant(1.17549435e-38))
        scaled = self.where(tiny, self.mul(x, self.constant(8388608.0)), x)
        shift = self.where(tiny, self.constant(-23.0), self.constant(0.0))
        itype = f"<{f.width} x i32>"
        bits = f.op(itype, f"bitcast {f.vector} {scaled.name} to {itype}")
        # The exponent is taken so that the mantissa falls between √½ and √2.
        moved = f.op(itype, f"sub {itype} {bits.name}, {f.integers(0x3F3504F3).name}")
        power = f.op(itype, f"ashr {itype} {moved.name}, {f.integers(23).name}")
        whole = f.op(itype, f"shl {itype} {power.name}, {f.integers(23).name}")
        mantissa = f.op(itype, f"sub {itype} {bits.name}, {whole.name}")
        m = f.op(f.vector, f"bitcast {itype} {mantissa.name} to {f.vector}")
        e = self.add(f.op(f.vector, f"sitofp {itype} {power.name} to {f.vector}"), shift)
        result = self._log_near_one(self.sub(m, self.constant(1.0)), e)
        result = self.where(self.compare("oeq", x, self.constant(_INFINITY)), x, result)
        result = self.where(self.compare("oeq", x, self.constant(0.0)), self.constant(-_INFINITY), result)
        return self.where(self.compare("ult", x, self.constant(0.0)), self.constant(float("nan")), result)

    def _log_near_one(self, m: Value, e: Value) -> Value:
        """log(1 + m) + e ln 2 for 1 + m between √½ and √2."""
        square = self.mul(m, m)
        y = self.mul(self.mul(square, m), self.polynomial(m, _LOG))
        y = self.f.fma(e, self.constant(_LN2_LOW), y)
        y = self.f.fma(square, self.constant(-0.5), y)
        return self.f.fma(e, self.constant(_LN2_HIGH), self.add(m, y))

    def log1p(self, x: Value) -> Value:
        """log(1 + x): what the sum 1 + x lost is given back to first order."""
        one = self.constant(1.0)
        u = self.add(one, x)
        lost = self.sub(x, self.sub(u, one))
        corrected = self.add(self.log(u), self.div(lost, u))
        small = self.compare("olt", self.magnitude(x), self.constant(1e-4))
        series = self.f.fma(self.mul(x, x), self.constant(-0.5), x)
        endless = self.compare("oeq", x, self.constant(_INFINITY))
        zero = self.compare("ole", u, self.constant(0.0))
        corrected = self.where(endless, x, self.where(zero, self.log(u), corrected))
        return self.where(small, series, corrected)

    def expm1(self, x: Value) -> Value:
        """e^x - 1, exact to the last digits near 0."""
        bits, e = self._reduced(x)
        scale, one = self._power_of_two(bits), self.constant(1.0)
        near = self.f.fma(e, scale, self.sub(scale, one))
        small = self.compare("olt", self.magnitude(x), self.constant(17.0))
        return self.where(small, near, self.sub(self.exp(x), one))
