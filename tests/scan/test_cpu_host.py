"""The CPU engine among threads and processes, on the disk, at other widths, and what it refuses."""

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch
from cpu_cases import EVERY, flat, layer, repeat

import unrolled as ur
from unrolled.scan.cpu import cache, fills, team
from unrolled.scan.cpu import machine as machines
from unrolled.scan.cpu.cache import folder
from unrolled.scan.cpu.machine import machine
from unrolled.scan.cpu.program import forward_kernel

SRC = str(Path(ur.__file__).parents[1])

PROGRAM = """
import torch, unrolled as ur
torch.manual_seed(0)
for size, hidden in ((9, 17), (4, 3)):
    m = ur.GRU(size, hidden, batch_first=True)
    x = torch.randn(5, 6, size, requires_grad=True)
    with ur.engine("cpu"):
        output, _ = m(x)
        got = torch.autograd.grad(output.sum(), [x, *m.parameters()])
    with ur.engine("reference"):
        truth, _ = m(x)
        wanted = torch.autograd.grad(truth.sum(), [x, *m.parameters()])
    torch.testing.assert_close(output, truth)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for _ in range(3):
            assert torch.equal(m(x[:1, :1])[0], m(x)[0][:1, :1])
print("agrees")
"""


def start(program, **variables):
    path = os.pathsep.join([SRC, os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    try:
        output, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, errors
    return output


def results_and_gradients(module, x):
    with ur.engine("cpu"):
        with torch.no_grad():
            quiet = flat(module(x))
        kept = flat(module(x))
        return [*quiet, *torch.autograd.grad(kept[0].square().sum(), list(module.parameters()))]


@pytest.fixture(params=["torch's team", "own workers"])
def threads_of(request, monkeypatch):
    if request.param == "own workers":
        monkeypatch.setattr(team, "_forked", True)


@pytest.mark.usefixtures("threads_of")
def test_many_threads_at_once():
    layers = [layer(name, 16, 70) for name in ("gru", "lstm", "rnn_tanh", "slstm")]
    inputs = [torch.randn(b, 20, 16) for b in (1, 5, 30)]
    work = [(m, x) for m in layers for x in inputs]
    wanted = [results_and_gradients(*w) for w in work]
    wrong, done = [], []

    def run(offset):
        for index in range(2 * len(work)):
            at = (index * 5 + offset) % len(work)
            got = results_and_gradients(*work[at])
            if not all(torch.equal(a, b) for a, b in zip(got, wanted[at], strict=True)):
                wrong.append(at)
        done.append(offset)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(done) == list(range(8))
    assert not wrong


FIRST = """
import sys, threading, torch, unrolled as ur
sys.setswitchinterval(1e-5)
names, right = ("gru", "lstm", "rnn_tanh", "rnn_relu"), []
together = threading.Barrier(len(names))
def run(name):
    layer, x = ur.Recurrent(ur.cells.CELLS[name], 3, 5), torch.randn(4, 2, 3)
    together.wait()
    with torch.no_grad():
        for _ in range(3):
            got = layer(x)[0]
    layer(x)[0].sum().backward()
    with ur.engine("reference"):
        torch.testing.assert_close(layer(x)[0], got)
    right.append(name)
threads = [threading.Thread(target=run, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(right) == sorted(names))
"""

LOST = """
import gc, torch
from unrolled.scan.cpu import digest
ones = torch.ones(100)
before = digest.Digest([ones])
digest._code.cache_clear()  # as where another thread made it too, and was later
gc.collect()
print(before.holds())
"""


def test_the_first_calls_of_many_threads():
    assert [finish(start(program)) for program in (FIRST, FIRST, LOST)] == ["True\n"] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_while_the_workers_wait_for_more():
    # The child compares without torch, whose own threads do not survive a fork.
    program = """
import os, warnings, torch, unrolled as ur
from unrolled.scan.cpu import pool
def check(m, x, wanted):
    with torch.no_grad(), ur.engine("cpu"):
        assert all((m(x)[0].numpy() == wanted).all() for _ in range(5))
warnings.simplefilter("ignore", DeprecationWarning)
torch.set_num_threads(2)
m, x = ur.GRU(32, 96), torch.randn(50, 16, 32)
with torch.no_grad(), ur.engine("cpu"):
    wanted = m(x)[0].numpy()
pid = os.fork()
if not pid:
    assert not pool.current._wakes
    check(m, x, wanted)
    assert len(pool.current._wakes) == 1
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
check(m, x, wanted)
print("whole")
"""
    assert finish(start(program)) == "whole\n"


def test_a_team_smaller_than_asked_for_runs_nothing():
    program = """
import torch, unrolled as ur
from unrolled.scan.cpu import pool
m, x = ur.GRU(64, 128), torch.randn(60, 32, 64)
with torch.no_grad(), ur.engine("cpu"):
    torch.set_num_threads(1)
    wanted = m(x)[0]
    torch.set_num_threads(3)
    assert torch.equal(m(x)[0], wanted)
assert len(pool.current._wakes) == 2
print("whole")
"""
    assert finish(start(program, OMP_THREAD_LIMIT="2")) == "whole\n"


# The address space has many small holes, and room for more only 8 GiB below them.
SCATTERED = """
import ctypes, mmap
c = ctypes.CDLL(None)
c.mmap.restype, size = ctypes.c_size_t, ctypes.c_size_t
c.mmap.argtypes, c.munmap.argtypes = [size, size, *[ctypes.c_int] * 3, ctypes.c_long], [size, size]
take = lambda n: c.mmap(0, n, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
holes = [take(1 << 14) for _ in range(4000)]
below = take(1 << 33)
while take(1 << 15) > below:
    pass
for hole in holes[::2]:
    c.munmap(hole, 1 << 14)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="where memory lies is Linux's choice here")
def test_kernels_are_loaded_where_memory_is_scattered():
    first, rest = PROGRAM.split("\n", 2)[1:]
    assert finish(start(first + SCATTERED + rest)) == "agrees\n"


def test_spawn():
    context = torch.multiprocessing.get_context("spawn")
    m, x = layer("gru", 32, 96).requires_grad_(False), torch.randn(16, 20, 32)
    with ur.engine("cpu"):
        process = context.Process(target=repeat, args=(m, x, m(x)[0]))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_other_vector_widths():
    started = [start(PROGRAM, UNROLLED_CPU_WIDTH=width) for width in ("4", "8", "16")]
    assert [finish(p) for p in started] == ["agrees\n"] * len(started)


@torch.no_grad()
@pytest.mark.parametrize("name", ["lstm", "slstm"])
def test_the_bits_are_the_same_in_narrow_vectors(name, monkeypatch):
    for size, hidden in ((4, 3), (9, 7)):
        x = torch.randn(5, 6, size)
        wanted = flat(layer(name, size, hidden)(x))
        with monkeypatch.context() as patch:
            patch.setattr(machines, "_narrowed", lambda host, *_: host)
            got = flat(layer(name, size, hidden)(x))
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("kind", [ur.RNN, ur.LSTM])
def test_layers_that_are_wider_than_the_next_give_the_same_bits(kind):
    """Of 40 features the first layer has wider vectors than the second, and so has the whole."""
    module, x = kind(40, 8, num_layers=2), torch.randn(30, 3, 40)
    trained, state = module(x)[0].detach(), None
    with torch.no_grad():
        for _ in range(3):
            whole = module(x)[0]
        steps = []
        for step in x.split(1):
            output, state = module(step, state)
            steps.append(output)
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.full((3,), 30))
        padded, _ = torch.nn.utils.rnn.pad_packed_sequence(module(packed)[0])
    assert all(torch.equal(got, whole) for got in (trained, torch.cat(steps), padded))


def test_vectors_are_no_wider_than_few_units_fill(monkeypatch):
    def width(size, hidden, **options):
        stack = ur.LSTM(size, hidden, **options).stack
        return forward_kernel(stack, False).shape.machine.width

    host = machine().width
    assert width(4, 2) == width(16, 4) == width(16, 4, num_layers=2, bidirectional=True) == min(4, host)
    assert width(4, 5) == width(17, 4) == width(32, 8) == min(8, host)
    assert width(4, 9) == width(33, 8) == host
    monkeypatch.setenv("UNROLLED_CPU_WIDTH", str(host))
    assert width(4, 2) == host


def test_the_cache_with_two_processes_at_once_then_corrupted_or_unwritable(tmp_path):
    program = PROGRAM.replace("GRU", "LSTM")
    started = [start(program, UNROLLED_CACHE=str(tmp_path)) for _ in range(2)]
    assert [finish(p) for p in started] == ["agrees\n"] * 2
    kept = sorted(tmp_path.glob("*.o"))
    assert finish(start(program, UNROLLED_CACHE=str(tmp_path))) == "agrees\n"
    assert sorted(tmp_path.glob("*.o")) == kept  # each was found again
    assert len(kept) >= 3
    whole = [f.read_bytes() for f in kept]
    for number, file in enumerate(kept):
        file.write_bytes((b"", whole[number][:100], whole[number][:-1] + b"?")[number % 3])
    # And one whose folder cannot be made.
    started = [start(program, UNROLLED_CACHE=str(place)) for place in (tmp_path, kept[0] / "below")]
    assert [finish(p) for p in started] == ["agrees\n"] * 2
    assert [f.read_bytes() for f in kept] == whole
    assert not [f for f in tmp_path.iterdir() if f.suffix != ".o"]


def test_the_cache_is_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path))
    assert folder() == tmp_path


def test_of_too_many_kernels_those_go_that_were_read_longest_ago(tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "_MOST", 6)
    strangers = [tmp_path / "mine.o", tmp_path / ("f" * 64 + ".txt")]
    for stranger in strangers:
        stranger.touch()
        os.utime(stranger, (1, 1))
    strangers += [tmp_path / ("e" * 64 + ".o"), tmp_path / ("d" * 64 + ".o")]
    strangers[2].symlink_to(tmp_path / "nowhere")
    strangers[3].mkdir()
    names = [f"{n:064x}.o" for n in range(7)]
    for age, name in enumerate(names[:6]):
        cache._write(name, name.encode())
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    assert len(list(tmp_path.iterdir())) == 10
    assert cache._read(names[0]) == names[0].encode()
    cache._write(names[6], b"new")
    assert {f.name for f in tmp_path.iterdir()} == {names[n] for n in (0, 5, 6)} | {
        s.name for s in strangers
    }


def test_there_may_be_no_home(monkeypatch):
    def none(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("UNROLLED_CACHE", raising=False)
    monkeypatch.setattr(Path, "expanduser", none)
    made = cache.library(fills._emit, "fill", ("fill",), machine())
    assert made["fill"]


@pytest.mark.parametrize("own", [False, True])
def test_set_num_threads_is_obeyed(own):
    program = f"""
import threading, torch, unrolled as ur
from unrolled.scan.cpu import team
m, x = ur.GRU(64, 128), torch.randn(60, 32, 64)
team._forked = {own}
teams, run = [], team.Team.run
def watched(self, order):
    came = run(self, order)
    if came:
        teams.append(order.given[2])
    return came
team.Team.run = watched
def ours(): return [t.name for t in threading.enumerate() if t.name.startswith("unrolled")]
with torch.no_grad(), ur.engine("cpu"):
    torch.set_num_threads(1)
    m(x)
    assert not ours() and not teams, (ours(), teams)
    torch.set_num_threads(3)
    m(x)
    assert (len(ours()), teams) == ((2, []) if {own} else (0, [3])), (ours(), teams)
    assert torch.get_num_threads() == 3
print("obeyed")
"""
    assert finish(start(program)) == "obeyed\n"


@ur.cell(gates=1)
def with_a_bessel_function(x, r, h):
    return torch.special.bessel_j0(x[0] + r[0])


@ur.cell(gates=1)
def sees_its_neighbours(x, r, h):
    return torch.tanh(x[0] + r[0]) - h.mean(-1, keepdim=True)


@pytest.mark.parametrize(
    ("cell", "op"),
    [(with_a_bessel_function, "bessel_j0"), (sees_its_neighbours, "mean")],
    ids=["op", "mean"],
)
def test_a_refused_cell_is_named_by_its_op_and_said_once(cell, op):
    recurrent, x = ur.Recurrent(cell, 3, 5), torch.randn(4, 2, 3)
    assert op in ur.explain(recurrent, x).refused["cpu"]
    with pytest.warns(ur.EngineWarning, match=op):
        recurrent(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recurrent(x)
    with ur.engine("cpu"), pytest.raises(ur.Error, match=op):
        recurrent(x)


def test_every_shipped_cell_is_taken():
    for name in EVERY:
        assert ur.explain(layer(name, 3, 5), torch.randn(2, 4, 3)).engine == "cpu"
