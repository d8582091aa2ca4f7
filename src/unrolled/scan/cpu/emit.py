"""A small language for kernels: loops, vectors and memory, written down as LLVM IR."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from .value import Value, hexadecimal, ref

P = TypeVar("P")
I64, I32, PTR, FLOAT = "i64", "i32", "ptr", "float"
_SHORT = {FLOAT: ("f32", 4), "i16": ("i16", 2)}
"""How intrinsics name a type, and its bytes."""


class Module:
    """Functions and the intrinsics they need; `str` is its LLVM IR."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.vector = f"<{width} x float>"
        self.bytes = 4 * width
        self.functions: dict[str, Function] = {}
        self.declarations: dict[str, str] = {}

    def function(
        self,
        name: str,
        arguments: Sequence[tuple[str, str]],
        result: str = "void",
        public: bool = False,
        inline: bool = False,
    ) -> Function:
        """A new function of this module; inline: written out wherever it is called."""
        attributes = 0 if public else 2 if inline else 1
        self.functions[name] = made = Function(self, name, arguments, result, attributes)
        return made

    def __str__(self) -> str:
        parts = [*self.declarations.values(), *(str(f) for f in self.functions.values())]
        # Wider registers than the kernel's own would be taken for copies alone.
        widest = f'"prefer-vector-width"="{32 * self.width}" "min-legal-vector-width"="0"'
        for number, more in enumerate(("", "noinline ", "alwaysinline ")):
            parts.append(f"attributes #{number} = {{ nounwind {more}{widest} }}")
        parts.append("!0 = !{}")
        return "\n".join(parts) + "\n"


class Function:
    """One function under construction: every method appends instructions to the block it is in."""

    def __init__(
        self, module: Module, name: str, arguments: Sequence[tuple[str, str]], result: str, attributes: int
    ) -> None:
        self.module, self.name, self.result, self._attributes = module, name, result, attributes
        self.arguments = [Value(self, type, f"%{name}") for type, name in arguments]
        self.vector, self.bytes, self.width = module.vector, module.bytes, module.width
        self._allocas: list[str] = []
        self._readable: dict[str, str] = {}
        self._lines: list[str] = []
        self._count = 0
        self._block = "body"

    def __str__(self) -> str:
        arguments = ", ".join(f"{a.type}{self._readable.get(a.name, '')} {a.name}" for a in self.arguments)
        linkage = "internal " if self._attributes else ""
        head = f"define {linkage}{self.result} @{self.name}({arguments}) #{self._attributes} {{\nentry:"
        return "\n".join([head, *self._allocas, "  br label %body", "body:", *self._lines, "}"])

    # Instructions

    def op(self, type: str, text: str) -> Value:
        """One instruction that has a result."""
        name = self._fresh("v")
        self._lines.append(f"  {name} = {text}")
        return Value(self, type, name)

    def do(self, text: str) -> None:
        """One instruction without a result."""
        self._lines.append(f"  {text}")

    def integer(self, op: str, a: Value | int, b: Value | int) -> Value:
        """Arithmetic on i64."""
        if op in ("add", "sub") and isinstance(b, int) and b == 0 and isinstance(a, Value):
            return a
        if op == "mul" and isinstance(b, int) and b == 1 and isinstance(a, Value):
            return a
        type = a.type if isinstance(a, Value) else b.type if isinstance(b, Value) else I64
        return self.op(type, f"{op} {type} {ref(a)}, {ref(b)}")

    def compare(self, how: str, a: Value, b: Value | int) -> Value:
        """A comparison of whole numbers or pointers; `how` is LLVM's (slt, eq, …)."""
        return self.op("i1", f"icmp {how} {a.type} {a.name}, {ref(b)}")

    def choose(self, condition: Value, a: Value, b: Value) -> Value:
        """a where the condition holds, else b."""
        head = f"select {condition.type} {condition.name}"
        return self.op(a.type, f"{head}, {a.type} {a.name}, {b.type} {b.name}")

    def least(self, a: Value, b: Value | int) -> Value:
        """The smaller of two i64."""
        chosen = self.compare("slt", a, b)
        return self.op(I64, f"select i1 {chosen.name}, i64 {a.name}, i64 {ref(b)}")

    def at(self, base: Value, offset: Value | int) -> Value:
        """The address `offset` bytes after `base`."""
        if isinstance(offset, int) and offset == 0:
            return base
        return self.op(PTR, f"getelementptr i8, ptr {base.name}, i64 {ref(offset)}")

    def load(self, type: str, address: Value, align: int = 4) -> Value:
        """What lies at the address."""
        return self.op(type, f"load {type}, ptr {address.name}, align {align}")

    def load_constant(self, type: str, address: Value, align: int = 4) -> Value:
        """What lies at the address, where nobody writes while the kernel runs: read once, before loops."""
        return self.op(type, f"load {type}, ptr {address.name}, align {align}, !invariant.load !0")

    def readable(self, argument: Value, count: int) -> None:
        """Says that so many bytes at the argument's address may be read at any time."""
        self._readable[argument.name] = f" dereferenceable({count})"

    def store(self, value: Value, address: Value, align: int = 4) -> None:
        """Writes the value at the address."""
        self.do(f"store {value.type} {value.name}, ptr {address.name}, align {align}")

    def prefetch(self, address: Value) -> None:
        """Says that what lies at the address, if anything does, will be read."""
        read, often, data = (self.int(n, I32) for n in (0, 3, 1))
        self.call("void", "llvm.prefetch.p0", [address, read, often, data])

    def call_at(self, address: Value, arguments: Sequence[Value]) -> None:
        """Calls the function at an address, which returns nothing."""
        text = ", ".join(f"{a.type} {a.name}" for a in arguments)
        self.do(f"call void {address.name}({text})")

    def call(self, type: str, name: str, arguments: Sequence[Value]) -> Value:
        """The result of a function or intrinsic (declared where it is not of this module)."""
        self._declare(type, name, arguments)
        text = ", ".join(f"{a.type} {a.name}" for a in arguments)
        if type == "void":
            self.do(f"call void @{name}({text})")
            return arguments[0] if arguments else self.int(0)
        return self.op(type, f"call {type} @{name}({text})")

    def _declare(self, type: str, name: str, arguments: Sequence[Value]) -> None:
        if name not in self.module.functions and name not in self.module.declarations:
            types = ", ".join(a.type for a in arguments)
            self.module.declarations[name] = f"declare {type} @{name}({types})"

    # Constants and vectors

    def int(self, number: int, type: str = I64) -> Value:
        """A whole number."""
        return Value(self, type, str(number))

    def null(self) -> Value:
        """No address."""
        return Value(self, PTR, "null")

    def constant(self, number: float) -> Value:
        """A vector with the number in every lane."""
        text = hexadecimal(number)
        return Value(self, self.vector, f"<{', '.join([f'float {text}'] * self.width)}>")

    def integers(self, number: int) -> Value:
        """An i32 vector with the number in every lane."""
        return Value(self, f"<{self.width} x i32>", f"<{', '.join([f'i32 {number}'] * self.width)}>")

    def splat(self, scalar: Value) -> Value:
        """A vector with the scalar in every lane."""
        one = self.op(self.vector, f"insertelement {self.vector} poison, float {scalar.name}, i64 0")
        zeros = f"<{self.width} x i32> zeroinitializer"
        return self.op(
            self.vector, f"shufflevector {self.vector} {one.name}, {self.vector} poison, {zeros}"
        )

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a b + c, rounded once."""
        return self.call(self.vector, f"llvm.fma.v{self.width}f32", [a, b, c])

    def lanes(self, count: Value) -> Value:
        """The mask of the first `count` lanes."""
        type = f"<{self.width} x i32>"
        narrow = self.op(I32, f"trunc i64 {count.name} to i32")
        one = self.op(type, f"insertelement {type} poison, i32 {narrow.name}, i64 0")
        zeros = f"<{self.width} x i32> zeroinitializer"
        limit = self.op(type, f"shufflevector {type} {one.name}, {type} poison, {zeros}")
        steps = ", ".join(f"i32 {i}" for i in range(self.width))
        return self.op(f"<{self.width} x i1>", f"icmp slt {type} <{steps}>, {limit.name}")

    def load_some(self, address: Value, count: Value, of: str = FLOAT) -> Value:
        """The first `count` numbers at the address; zeros after them, and no byte is read there."""
        type, short, align = f"<{self.width} x {of}>", *_SHORT[of]
        zeros = Value(self, type, "zeroinitializer")
        name = f"llvm.masked.load.v{self.width}{short}.p0"
        return self.call(type, name, [address, self.int(align, I32), self.lanes(count), zeros])

    def store_some(self, value: Value, address: Value, count: Value, of: str = FLOAT) -> None:
        """Writes the first `count` lanes."""
        short, align = _SHORT[of]
        name = f"llvm.masked.store.v{self.width}{short}.p0"
        self.call("void", name, [value, address, self.int(align, I32), self.lanes(count)])

    @contextmanager
    def wide(self, times: int) -> Iterator[None]:
        """Within the block, vectors are so many times as long: of as many side by side, whose instructions
        the compiler puts beside each other."""
        before = self.width, self.vector
        self.width, self.vector = times * self.module.width, f"<{times * self.module.width} x float>"
        yield
        self.width, self.vector = before

    def join(self, vectors: Sequence[Value]) -> Value:
        """Vectors one after another in a wide one, as many as a power of two."""
        if len(vectors) == 1:
            return vectors[0]
        half = len(vectors) // 2
        a, b = self.join(vectors[:half]), self.join(vectors[half:])
        return self.pick(a, b, range(2 * int(a.type[1:].partition(" ")[0])))

    def joined(self, places: Sequence[P], read: Callable[[P], Value]) -> Value:
        """What is read at each place, itself no wider than a vector, in a wide one."""
        with self.wide(1):
            return self.join([read(place) for place in places])

    def part(self, wide: Value, index: int) -> Value:
        """The vector number `index` of a wide one."""
        if wide.type == self.module.vector:
            return wide
        width = self.module.width
        return self.pick(wide, wide, range(index * width, (index + 1) * width))

    def pick(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """The vector of these lanes of two, those of the second counted on from the first's."""
        mask = f"<{len(lanes)} x i32> <{', '.join(f'i32 {lane}' for lane in lanes)}>"
        type = f"<{len(lanes)} x float>"
        return self.op(type, f"shufflevector {a.type} {a.name}, {b.type} {b.name}, {mask}")

    # Variables and control

    def variable(self, initial: Value) -> Value:
        """A place on the stack (a register, once optimised) that holds the value for now."""
        place = self.room(initial.type, 64 if initial.type == self.vector else 8)
        self.do(f"store {initial.type} {initial.name}, ptr {place.name}")
        return place

    def get(self, type: str, place: Value) -> Value:
        """What the variable holds."""
        return self.op(type, f"load {type}, ptr {place.name}")

    def set(self, place: Value, value: Value) -> None:
        """Puts another value into the variable."""
        self.do(f"store {value.type} {value.name}, ptr {place.name}")

    def room(self, type: str, align: int = 64) -> Value:
        """Uninitialised memory on the stack."""
        name = self._fresh("a")
        self._allocas.append(f"  {name} = alloca {type}, align {align}")
        return Value(self, PTR, name)

    @contextmanager
    def loop(self, begin: Value | int, end: Value | int, step: int = 1) -> Iterator[Value]:
        """for i in range(begin, end, step), step positive."""
        i, following = self._fresh("i"), self._fresh("n")
        head, inside, latch, after = (self.label(n) for n in ("head", "do", "latch", "after"))
        came = self._block
        self.jump(head)
        self.block(head)
        self.do(f"{i} = phi i64 [ {ref(begin)}, %{came} ], [ {following}, %{latch} ]")
        more = self.op("i1", f"icmp slt i64 {i}, {ref(end)}")
        self.do(f"br i1 {more.name}, label %{inside}, label %{after}")
        self.block(inside)
        yield Value(self, I64, i)
        self.jump(latch)
        self.block(latch)
        self.do(f"{following} = add nsw i64 {i}, {step}")
        self.jump(head)
        self.block(after)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """if condition."""
        inside, after = self.label("then"), self.label("after")
        self.do(f"br i1 {condition.name}, label %{inside}, label %{after}")
        self.block(inside)
        yield
        self.jump(after)
        self.block(after)

    @contextmanager
    def whilst(self) -> Iterator[str]:
        """A loop that runs until a jump to the label it gives."""
        head, after = self.label("again"), self.label("after")
        self.jump(head)
        self.block(head)
        yield after
        self.jump(head)
        self.block(after)

    def leave_unless(self, condition: Value, after: str) -> None:
        """Jumps to the label if the condition does not hold."""
        inside = self.label("on")
        self.do(f"br i1 {condition.name}, label %{inside}, label %{after}")
        self.block(inside)

    def finish(self) -> None:
        """Returns from a function without a result."""
        self.do("ret void")

    def label(self, hint: str) -> str:
        """A new block's name."""
        self._count += 1
        return f"{hint}{self._count}"

    def jump(self, label: str) -> None:
        """Ends the block."""
        self.do(f"br label %{label}")

    def block(self, label: str) -> None:
        """Begins a block."""
        self._lines.append(f"{label}:")
        self._block = label

    def _fresh(self, hint: str) -> str:
        self._count += 1
        return f"%{hint}{self._count}"
