"""What the machine can do at most, measured beside the rest: multiply-adds and memory traffic a second."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from ..errors import Error

CHAINS = 16
"""Independent chains of multiply-adds: more than any core has in flight (units × latency)."""

_STEPS = 200_000
_COPIED = 64 << 20  # bytes; far beyond the caches


def multiply_adds(threads: int | None = None) -> float:
    """Floating-point operations a second of fused multiply-adds in registers, on `threads` cores at once.

    A multiply-add is two operations. The best of several tries, since only interference slows it down.
    """
    count = threads or torch.get_num_threads()
    kernel, width = _kernel()
    operations = 2 * width * CHAINS * _STEPS * count
    with ThreadPoolExecutor(count) as pool:

        def together() -> None:
            list(pool.map(kernel, [_STEPS] * count))

        return operations / min(_time(together) for _ in range(10))


def memory_traffic() -> float:
    """Bytes a second that are read and written when large float32 memory is copied (torch's threads)."""
    source, target = torch.ones(2, _COPIED // 4).unbind()
    target.copy_(source)
    return 2 * _COPIED / statistics.median(_time(lambda: target.copy_(source)) for _ in range(10))


def _time(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


_compiled: list[object] = []  # the compiler's engine, which owns the kernel's memory


def _kernel() -> tuple[Callable[[int], float], int]:
    """A function that does `steps` rounds of CHAINS multiply-adds on vectors, and the vectors' width.

    Called through ctypes, it runs without the interpreter's lock.
    """
    try:
        from llvmlite import binding as llvm
    except ImportError as error:  # pragma: no cover
        raise Error("bench: the peak needs llvmlite; pip install llvmlite") from error
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    width = 16 if features.get("avx512f") else 8 if features.get("fma") else 4
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=3, jit=True
    )
    module = llvm.parse_assembly(_source(width))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _compiled.append(engine)
    prototype = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64)
    return prototype(engine.get_function_address("peak")), width


def _source(width: int) -> str:
    """a_i = a_i * b + b for CHAINS chains, `steps` times over; returns their sum, so all are needed."""
    vector = f"<{width} x float>"
    chains = range(CHAINS)
    phis = "\n".join(f"  %a{i} = phi {vector} [%seed{i}, %entry], [%n{i}, %loop]" for i in chains)
    seeds = "\n".join(
        f"  %seed{i} = insertelement {vector} zeroinitializer, float {i}.0, i32 0" for i in chains
    )
    steps = "\n".join(
        f"  %n{i} = call {vector} @llvm.fma.v{width}f32({vector} %a{i}, {vector} %b, {vector} %b)"
        for i in chains
    )
    sums = "\n".join(
        f"  %s{i + 1} = fadd {vector} {f'%s{i}' if i else 'zeroinitializer'}, %n{i}" for i in chains
    )
    return f"""
declare {vector} @llvm.fma.v{width}f32({vector}, {vector}, {vector})
define float @peak(i64 %steps) {{
entry:
  %half = insertelement {vector} zeroinitializer, float 0.5, i32 0
  %b = shufflevector {vector} %half, {vector} %half, <{width} x i32> zeroinitializer
{seeds}
  br label %loop
loop:
  %t = phi i64 [0, %entry], [%next, %loop]
{phis}
{steps}
  %next = add i64 %t, 1
  %more = icmp slt i64 %next, %steps
  br i1 %more, label %loop, label %done
done:
{sums}
  %result = extractelement {vector} %s{CHAINS}, i32 0
  ret float %result
}}
"""
