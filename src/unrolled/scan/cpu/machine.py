"""What the host's processor can do, asked once: vector width, features, cache sizes; and its code."""

from __future__ import annotations

import itertools
import os
import platform
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import Error
from ..stack import Stack

L1 = 1 << 15
"""Bytes of most cores' first cache."""
L2_DEFAULT = 1 << 20


class Machine(NamedTuple):
    """The host as the kernels see it."""

    width: int
    registers: int
    cpu: str
    features: str
    l2: int
    narrowed: bool = False
    """Whether it has wider vectors than these."""

    @property
    def avx512(self) -> bool:
        """Whether the approximate reciprocal of AVX-512 is there."""
        return self.width == 16 and "+avx512f" in self.features.split(",")

    @property
    def bfloat16(self) -> bool:
        """Whether an instruction rounds a vector to bfloat16."""
        return (self.width == 16 or self.narrowed) and "+avx512bf16" in self.features.split(",")


def machine() -> Machine:
    """The host; UNROLLED_CPU_WIDTH (4, 8 or 16 lanes) overrides the vector width."""
    return _machine(os.environ.get("UNROLLED_CPU_WIDTH", ""))


def machine_of(stack: Stack) -> Machine:
    """The host as the kernels of a stack see it: with vectors no wider than few units fill, if its width is
    not overridden.

    Empty lanes take as long as full ones, and some cores' clocks go down for a while after a wide vector
    instruction, in which the Python between two calls is slower by a quarter. The bits are the same.
    """
    if os.environ.get("UNROLLED_CPU_WIDTH"):
        return machine()
    return _narrowed(machine(), stack.hidden_size, stack.input_size)


@cache
def _narrowed(host: Machine, units: int, features: int) -> Machine:
    if host.avx512 and "+avx512vl" not in host.features.split(","):
        return host
    for width in (4, 8):
        # Of many features the units of all gates fill a wider vector.
        if units <= width < host.width and features <= 4 * width:
            return host._replace(width=width, narrowed=True)
    return host


@cache
def _machine(wanted: str) -> Machine:
    binding = _binding()
    features = binding.get_host_cpu_features()
    width, registers = 4, 16
    if features.get("avx512f"):
        width, registers = 16, 32
    elif features.get("avx"):
        width, registers = 8, 16
    elif platform.machine().lower() in ("arm64", "aarch64"):
        registers = 32
    if wanted:
        if wanted not in ("4", "8", "16"):
            raise Error(f"UNROLLED_CPU_WIDTH: {wanted!r} is no vector width; wanted 4, 8 or 16")
        width = int(wanted)
    return Machine(width, registers, binding.get_host_cpu_name(), features.flatten(), _l2())


def _l2() -> int:
    """The size of a core's own second cache in bytes."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if (index / "level").read_text().strip() == "2":
                return int((index / "size").read_text().strip().rstrip("K")) << 10
        except (OSError, ValueError):
            break
    return L2_DEFAULT


@cache
def _binding() -> Any:
    import llvmlite.binding as binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@cache
def _jit() -> Any:  # within `_linking`: a second one would be taken away from under its code
    # The older linker asks for a piece of memory for each section, and aborts the process where they lie
    # more than 2 GiB apart: between them may be all of CUDA. LLVM has no complete other one for Windows.
    return _binding().create_lljit_compiler(_target(), use_jit_link=sys.platform != "win32")


def _target() -> Any:
    host = machine()
    target = _binding().Target.from_default_triple()
    return target.create_target_machine(
        cpu=host.cpu, features=host.features, opt=3, reloc="pic", codemodel="default", jit=True
    )


def assemble(text: str, level: int = 2) -> bytes:
    """The object code of a module of LLVM IR; level: LLVM's passes, as its -O counts them."""
    binding = _binding()
    module = binding.parse_assembly(text)
    module.verify()
    target = _target()
    options = binding.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = binding.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    return target.emit_object(module)


_linking = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A child would find what another thread had half linked.
    os.register_at_fork(
        before=_linking.acquire, after_in_parent=_linking.release, after_in_child=_linking.release
    )
_numbers = itertools.count()
_linked: list[Any] = []
"""What holds the code in memory, as long as the process lives: any thread may be in it."""


def link(code: bytes, names: tuple[str, ...]) -> dict[str, int]:
    """The addresses of an object's functions, in memory from now on."""
    builder = _binding().JITLibraryBuilder().add_object_img(code).add_current_process()
    for name in names:
        builder.export_symbol(name)
    with _linking:
        made = builder.link(_jit(), f"unrolled{next(_numbers)}")
        _linked.append(made)
        return {name: made[name] for name in names}
