"""The benchmark refuses wrong numbers, and its report says what was measured."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from unrolled.bench import first, host, measure, memory, peak, quiet, training
from unrolled.bench.features import FEATURES, STEPS
from unrolled.bench.figure import Figure
from unrolled.bench.first import FIRST
from unrolled.bench.measure import Row, agree
from unrolled.bench.memory import MEMORY
from unrolled.bench.peers import peers
from unrolled.bench.report import data, join, read, table
from unrolled.bench.run import Result, jobs, part
from unrolled.bench.targets import SMALL, targets
from unrolled.bench.ways import SHAPES, WAYS_OF_CALLING
from unrolled.bench.work import GRID, LAYERS, Shape, random_shapes
from unrolled.cells import CELLS
from unrolled.cli import app
from unrolled.errors import Error
from unrolled.layers import GRU

TINY = Shape(2, 3, 4, 5)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nothing waits for a quiet machine."""
    quiet.cores.cache_clear()
    monkeypatch.setattr(quiet, "PATIENCE", 0.0)
    monkeypatch.setattr(quiet, "_FIRST", 0.0)
    monkeypatch.setattr(quiet, "_PLACED", 0.0)
    yield
    quiet.cores.cache_clear()


@pytest.fixture
def few_adds(monkeypatch):
    monkeypatch.setattr(peak, "STEPS", 100)
    monkeypatch.setattr(peak, "READ", 1 << 10)
    monkeypatch.setattr(measure, "WARM", 0)


def a_result(rows=(), figures=(), **changed):
    machine = {"cpu": "a processor", "cores": "2 cores"}
    whole = {
        "elsewhere": 0.25,
        "again": 3,
        "anyway": 1,
        "peak": 2e9,
        "bandwidth": 1e9,
        "rounds": 5,
        "threads": 2,
    }
    kept = {"machine": machine, "versions": {"unrolled": "1", "torch": "2"}}
    return Result(**whole | kept | {"rows": list(rows), "figures": list(figures)} | changed)


def a_row(layer="gru", shape=TINY, backward=False, peak=1e9, **seconds):
    return Row(layer, shape, backward, seconds or {"unrolled": 1e-6, "torch.nn": 4e-6, "jax": 2e-6}, peak)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.usefixtures("few_adds")
def test_all_peers_agree(layer, backward):
    row = measure.measure(layer, TINY, backward, rounds=1)
    assert row.seconds.keys() >= {"unrolled", "torch.nn"}
    assert all(seconds > 0 for seconds in row.seconds.values())
    assert 0 < row.call < row.least


def test_no_speed_is_reported_for_wrong_numbers(monkeypatch):
    def sabotaged(*arguments):
        found, *others = peers(*arguments)
        right = found[1].output()
        monkeypatch.setattr(found[1], "output", lambda: right + 1e-2)
        return found, *others

    monkeypatch.setattr(measure, "peers", sabotaged)
    with pytest.raises(Error, match=r"torch\.nn disagrees on gru 2, 3, 4→5: its output is off by"):
        measure.measure("gru", TINY, False, rounds=1)


def test_nan_is_wrong_and_gradients_are_told_apart():
    right = np.ones(3)
    with pytest.raises(Error, match="jax disagrees on x: its output is off by nan"):
        agree("jax", "x", [np.full(3, np.nan)], [right])
    with pytest.raises(Error, match="its gradient 1 is off by"):
        agree("jax", "x", [right, right * 1.01], [right, right])
    agree("jax", "x", [right, right * 1.0001], [right, right])


def test_operations_are_those_of_the_products():
    shape = Shape(2, 7, 3, 5)
    assert shape.operations("gru", False) == 2 * (2 * 7) * (3 * 5) * (3 + 5)
    assert shape.operations("gru", True) == 3 * shape.operations("gru", False)
    assert shape.recurrent("gru", False) == 2 * (2 * 7) * (3 * 5) * 5
    assert shape.recurrent("gru", True) == 2 * shape.recurrent("gru", False)
    assert shape.weights("gru") == 4 * 3 * 5 * 5


def test_what_a_layer_takes_at_least():
    recurrent, whole = (f("gru", False) / 1e9 for f in (TINY.recurrent, TINY.operations))
    row = replace(a_row(), call=3e-6, reads=recurrent / 2)
    assert row.least == pytest.approx(3e-6 + whole)
    row = replace(row, reads=5 * recurrent)
    assert row.least == pytest.approx(3e-6 + whole + 4 * recurrent)
    assert row.limit("torch.nn") == pytest.approx(4e-6 / row.least)
    assert row.fraction == pytest.approx(whole / 1e-6)


def test_random_shapes_are_the_same_for_a_seed():
    shapes = random_shapes(20, 3)
    assert shapes == random_shapes(20, 3) != random_shapes(20, 4)
    assert all(1 <= s.batch <= 256 and 2 <= s.hidden_size <= 1024 for s in shapes)


def test_table():
    rows = [a_row(), a_row(shape=GRID[0], unrolled=1e-6, **{"torch.nn": 1e-6, "jax": 2e-6})]
    text = table(a_result(rows, [Figure("a thing", True, 2.5, "×", 3, limit=9)]))
    assert "a processor, 2 cores; 2 threads" in text
    assert "used by other processes meanwhile: 0.25 cores" in text
    # 2·3 steps of 15·9 multiply-adds are 1620 operations, in 1 µs; the peak is 1e9 a second.
    assert "| gru | 2, 3, 4→5 | 1 | 4.00 | 2.00 | 162% |" in text
    assert (
        "- gru: against torch.nn 2.00 × (worst 1.00); against the fastest peer 1.41 × (worst 1.00)" in text
    )
    assert "| a thing | yes | ≥ 3 × | 2.5 × | **no** | 9 × |" in text


@pytest.mark.parametrize(("got", "met"), [(0.9999, False), (1.0, True)])
def test_a_target_is_met_as_it_is_not_as_it_is_rounded(got, met):
    assert Figure("x", False, got, "×", 1.0).met is met
    assert Figure("x", False, 2 - got, "×", 1.0, at_most=True).met is met


def test_targets_of_rows():
    large = Shape(32, 10, 128, 128)
    peak_of = large.operations("rnn_tanh", True) / 1e-3
    rows = [
        a_row("rnn", SMALL, True, unrolled=1e-3, **{"torch.nn": 16e-3, "jax": 2e-3}),
        a_row("rnn", large, True, peak_of / 0.5, unrolled=1e-3, **{"torch.nn": 1e-3, "jax": 0.5e-3}),
    ]
    found = {f.what: f for f in targets(rows)}
    assert all(f.backward for f in found.values())
    assert found["rnn, torch.nn: geometric mean"].got == pytest.approx(4)
    assert found["rnn, torch.nn: worst shape"].got == pytest.approx(1)
    # At the peak the large one would take half a millisecond, as JAX does.
    assert rows[1].limit() == pytest.approx(1)
    assert rows[1].limit("torch.nn") == pytest.approx(2)
    assert found[f"rnn, torch.nn: {SMALL}"].met
    assert found["all, fastest peer: worst shape"].got == pytest.approx(0.5)
    whole = found[f"of the FMA peak, batch ≥ 32, hidden ≥ 128: worst (rnn {large})"]
    assert whole.got == pytest.approx(50)
    assert not whole.met
    assert list(targets([])) == []


def test_every_part_is_measured_once():
    every = jobs("rnn,lstm", GRID, [False, True], True, True)
    names = [job.name for job in every]
    assert (
        len(set(names))
        == len(names)
        == 2 * (2 * len(GRID) + len(FEATURES) + len(WAYS_OF_CALLING)) + len(FIRST) + len(MEMORY)
    )
    assert sorted(j.name for k in range(1, 6) for j in part(f"{k}/5", every)) == sorted(names)


def test_parts_are_joined_and_read_again(tmp_path):
    rows = [a_row("rnn"), a_row("lstm"), a_row("rnn", backward=True)]
    figures = [Figure("a", False, 1.0, "×", 2), Figure("b", True, 1.0, "ms", 2, at_most=True)]
    parts = [a_result(rows[::2], figures[:1]), a_result(rows[1:2], figures[1:], peak=3e9, elsewhere=0.5)]
    places = [tmp_path / "1.json", tmp_path / "2.json"]
    for place, one in zip(places, parts, strict=True):
        place.write_text(json.dumps(data(one)))
        assert read(place) == one
    whole = join([read(place) for place in places])
    assert whole == a_result(rows, figures, peak=3e9, elsewhere=0.5, again=6, anyway=2)
    with pytest.raises(Error, match=r"cannot be joined: versions .*'3'.* is not"):
        join([parts[0], a_result(versions={"torch": "3"})])


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "is not what"), ("{}", "'rows'"), ("[]", "is not what")]
)
def test_a_file_that_is_no_run(tmp_path, text, reason):
    place = tmp_path / "x.json"
    place.write_text(text)
    with pytest.raises(Error, match=reason):
        read(place)
    with pytest.raises(Error, match="No such file"):
        read(tmp_path / "nowhere.json")


def test_peak_and_copy_count_what_they_do(monkeypatch):
    one, two = peak.MultiplyAdds(1), peak.MultiplyAdds(2)
    assert two.operations == 2 * one.operations
    seconds, *_ = measure.medians([one], 1)
    assert 1e8 < one.operations / seconds < 1e13
    monkeypatch.setattr(peak, "COPIED", 1 << 12)
    copy = peak.Copy()
    copy._target.zero_()
    copy()
    assert copy._target.eq(1).all()
    assert copy._target.nbytes == 1 << 12


class Host:
    """A clock, and multiply-adds that take as long on it as the host lets them."""

    operations = 1

    def __init__(self):
        self.now, self.takes, self.slept = 0.0, [1e-4], 0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.slept += 1
        if self.slept == 5:
            self.takes = [1e-4]

    def __call__(self):
        self.now += self.takes[0]
        self.takes = self.takes[1:] or self.takes


@pytest.fixture
def a_host(monkeypatch):
    a_host = Host()
    monkeypatch.setattr(quiet, "time", a_host)
    monkeypatch.setattr(quiet, "MultiplyAdds", lambda threads, steps: a_host)
    monkeypatch.setattr(quiet, "PATIENCE", 10.0)
    monkeypatch.setattr(quiet, "_FIRST", 0.01)
    monkeypatch.setattr(quiet, "_PLACED", 0.02)
    return a_host


def test_a_turn_waits_for_all_cores(a_host):
    cores = quiet.Cores(2)
    assert cores.all_there()
    a_host.takes = [2e-4]
    assert not cores.all_there()
    cores.wait()
    assert a_host.slept == 5
    assert cores.all_there()
    a_host.takes = [2e-4, 2e-4, 1e-4, 1e-4, 2e-4, 1e-4, 1e-4]  # now and then somebody else has a moment
    assert cores.all_there()
    a_host.takes = [1.04e-4]
    assert cores.all_there()
    a_host.takes = [1.1e-4]
    assert not cores.all_there()
    a_host.takes = [0.9e-4]  # and of a faster machine more is wanted
    assert cores.all_there()
    a_host.takes = [1e-4]
    assert not cores.all_there()


def test_a_machine_that_has_become_slower_is_not_waited_for(a_host, monkeypatch):
    monkeypatch.setattr(quiet, "_ONCE", 1.0)
    monkeypatch.setattr(a_host, "sleep", lambda seconds: setattr(a_host, "now", a_host.now + seconds))
    cores = quiet.Cores(2)
    a_host.takes = [1.2e-4]
    cores.wait()
    assert 1.0 < a_host.now < 1.2
    assert cores.all_there()
    a_host.takes = [1.4e-4]
    assert not cores.all_there()


def test_a_turn_is_had_again_while_there_is_patience(a_host):
    cores = quiet.Cores(2)
    assert not cores.disturbed(1.0)
    a_host.takes = [2e-4]
    assert [cores.disturbed(4.0) for _ in range(5)] == [True, True, True, False, False]
    assert (cores.again, cores.anyway) == (3, 2)
    cores.wait()  # no more
    assert not a_host.slept


def test_a_call_is_timed_until_its_turn_is_quiet(monkeypatch):
    asked = iter([True, True, False])

    class Noisy:
        def wait(self):
            pass

        def disturbed(self, seconds):
            return next(asked)

    monkeypatch.setattr(measure, "cores", lambda threads: Noisy())
    monkeypatch.setattr(measure, "WARM", 0)
    calls = []
    measure.medians([lambda: calls.append(0)], 1)
    assert next(asked, "all asked") == "all asked"


def test_reading_reads_what_a_core_has_of_it(monkeypatch):
    monkeypatch.setattr(peak, "READ", 1 << 20)
    reads = peak.Reads((1 << 16) + 100, 2)
    assert reads.rounds == 32
    seconds, *_ = measure.medians([reads], 1)
    assert 1e8 < 2 * peak.READ / seconds < 1e13
    peak.Reads(16, 2)()  # less than one turn of the loop is none


def test_what_others_use_is_not_what_we_use():
    elsewhere = host.Elsewhere()
    assert sum(i * i for i in range(300_000)) > 0
    cores = elsewhere.cores()
    assert cores is None or cores >= 0


@pytest.mark.parametrize("backward", [False, True])
def test_the_ways_of_calling(backward, monkeypatch):
    monkeypatch.setattr(measure, "WARM", 0)
    monkeypatch.setattr("unrolled.bench.ways.SHAPES", SHAPES[:1])
    found = [f for way in WAYS_OF_CALLING.values() for f in way(backward, 1)]
    assert len({f.what for f in found}) == len(found) == len(WAYS_OF_CALLING)
    assert all(f.got > 0 and f.unit == "×" and f.backward == backward for f in found)
    forward = GRU.forward
    monkeypatch.setattr(GRU, "forward", lambda *a, **k: tuple(2 * t for t in forward(*a, **k)))
    with pytest.raises(Error, match="unrolled disagrees on GRU, both directions"):
        list(WAYS_OF_CALLING["both directions"](backward, 1))


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.filterwarnings("ignore::unrolled.errors.EngineWarning")
def test_every_feature_is_measured(backward, monkeypatch):
    for name in STEPS:
        monkeypatch.setitem(STEPS, name, 3)
    monkeypatch.setattr(peak, "COPIED", 1 << 12)
    monkeypatch.setattr(measure, "WARM", 0)
    found = [f for feature in FEATURES.values() for f in feature(backward, 1)]
    assert all(f.got > 0 and f.backward is backward for f in found)
    assert len({f.what for f in found}) == len(found)
    dense = {name for name, cell in CELLS.items() if cell.recurrent == "dense"} - {"gru"}
    assert {f.what.split(",")[0] for f in found} >= dense | {"min_gru", "sru", "RNN", "GRU", "LSTM"}


def test_a_feature_with_wrong_numbers_has_no_speed(monkeypatch):
    monkeypatch.setitem(STEPS, "lengths", 3)
    pad = "pad_packed_sequence"
    padded = getattr(__import__("unrolled.bench.features", fromlist=[pad]), pad)
    monkeypatch.setattr(f"unrolled.bench.features.{pad}", lambda *a, **k: (padded(*a, **k)[0] + 1,))
    with pytest.raises(Error, match="unrolled disagrees on GRU, lengths"):
        list(FEATURES["lengths GRU"](False, 1))


def test_first_calls_in_new_processes(monkeypatch):
    monkeypatch.setattr(first, "IMPORTS", 1)
    (imported,) = FIRST["import"](1)
    assert imported.got > 0
    calls = list(FIRST["first min_gru"](1))
    assert [f.backward for f in calls] == [False, True, False, True]
    # Compiling takes many times as long as reading what was compiled.
    assert calls[0].got > calls[2].got
    (overhead,) = FIRST["overhead GRU"](1)
    assert overhead.unit == "µs"
    assert "torch.nn: " in overhead.what


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_memory_in_new_processes(monkeypatch):
    monkeypatch.setattr(memory, "SHAPE", Shape(32, 300, 128, 128))
    for figures in MEMORY.values():
        held, most = figures(1)
        assert 0.2 < held.got < 1.5
        assert 0.2 < most.got < 1.5
        assert held.at_most


def test_a_process_that_fails_is_told():
    with pytest.raises(Error, match="a new process failed: ZeroDivisionError"):
        first.python("1 / 0")


@pytest.mark.usefixtures("few_adds")
def test_command(tmp_path):
    out = tmp_path / "bench.json"
    only = ["--layers", "rnn", "--shapes", "2:3:4:5", "--no-features", "--no-first-call", "--rounds", "3"]
    done = CliRunner().invoke(app, ["bench", *only, "--json", str(out)])
    assert done.exit_code == 0, done.output
    assert "| rnn | 2, 3, 4→5 |" in done.output
    assert [row["backward"] for row in json.loads(out.read_text())["rows"]] == [False, True]
    again = CliRunner().invoke(app, ["bench", str(out)])
    assert again.exit_code == 0, again.output
    assert "| rnn | 2, 3, 4→5 |" in again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "elman"], "'elman' is not one of rnn, gru, lstm"),
        (["--shapes", "1:2:3"], "wanted batch:time:input:hidden"),
        (["--shapes", "0:2:3:4"], "wanted batch:time:input:hidden"),
        (["--part", "3/2"], "wanted k/n"),
        (["--part", "2"], "wanted k/n"),
        (["nowhere.json"], "No such file"),
    ],
)
def test_wrong_options(options, message):
    done = CliRunner().invoke(app, ["bench", *options])
    assert isinstance(done.exception, Error)
    assert message in str(done.exception)


def test_training_is_timed_beside_torch_nns_loop(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 40, encoding="utf-8")
    sizes = ["--hidden-size", "8", "--batch", "2", "--window", "8", "--rounds", "1"]
    training.main([str(text), *sizes])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "8 units, batches of 2 x 8, symbols a second"
    assert [line.split()[0] for line in lines] == ["RNN", "GRU", "LSTM"]
    for line in lines:
        _, _, *rates, ratio, _ = [word for word in line.replace(",", "").split() if word != "torch.nn"]
        ours, theirs = map(float, rates)  # as they are printed, rounded
        assert (ours - 0.5) / (theirs + 0.5) - 0.006 < float(ratio) < (ours + 0.5) / (theirs - 0.5) + 0.006
