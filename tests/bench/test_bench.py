"""The benchmark refuses wrong numbers, and its report says what was measured."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from unrolled.bench import measure, peak
from unrolled.bench.features import STEPS, Feature, features
from unrolled.bench.measure import Row
from unrolled.bench.peers import peers
from unrolled.bench.report import data, table
from unrolled.bench.run import Result
from unrolled.bench.work import GRID, LAYERS, Shape
from unrolled.cli import app
from unrolled.errors import Error

TINY = Shape(2, 3, 4, 5)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("backward", [False, True])
def test_all_peers_agree(layer, backward):
    row = measure.measure(layer, TINY, backward, rounds=1)
    assert row.seconds.keys() >= {"unrolled", "torch.nn"}
    assert all(seconds > 0 for seconds in row.seconds.values())


def test_no_speed_is_reported_for_wrong_numbers(monkeypatch):
    def sabotaged(*arguments):
        found, truth = peers(*arguments)
        right = found[1].output()
        monkeypatch.setattr(found[1], "output", lambda: right + 1e-2)
        return found, truth

    monkeypatch.setattr(measure, "peers", sabotaged)
    with pytest.raises(Error, match=r"torch\.nn disagrees on gru 2, 3, 4→5: its output is off by"):
        measure.measure("gru", TINY, False, rounds=1)


def test_nan_is_wrong(monkeypatch):
    def sabotaged(*arguments):
        found, truth = peers(*arguments)
        monkeypatch.setattr(found[0], "output", lambda: np.full((2, 3, 5), np.nan, np.float32))
        return found, truth

    monkeypatch.setattr(measure, "peers", sabotaged)
    with pytest.raises(Error, match="unrolled disagrees"):
        measure.measure("rnn", TINY, False, rounds=1)


def test_operations_are_those_of_the_products():
    shape = Shape(2, 7, 3, 5)
    assert shape.operations("gru", False) == 2 * (2 * 7) * (3 * 5) * (3 + 5)
    assert shape.operations("gru", True) == 3 * shape.operations("gru", False)


def test_summary_and_data():
    rows = [
        Row("gru", TINY, False, {"unrolled": 1e-6, "torch.nn": 4e-6, "jax": 2e-6}, 10),
        Row("gru", GRID[0], False, {"unrolled": 1e-6, "torch.nn": 1e-6, "jax": 2e-6}, 10),
    ]
    result = Result(rows, [Feature("a thing", 2.5, "×", False)], 1e9, 1e9, 2, {"torch": "x"})
    text = table(result)
    assert "| gru | 2, 3, 4→5 | 1 | 4.00 | 2.00 | 1% |" in text
    assert (
        "- gru: against torch.nn 2.00 × (worst 1.00); against the fastest peer 1.41 × (worst 1.00)" in text
    )
    assert "- a thing: 2.5 ×" in text
    assert data(result)["rows"][0]["seconds"] == rows[0].seconds


def test_peak_is_a_rate_that_a_machine_can_have():
    assert 1e8 < peak.multiply_adds(1) < 1e13
    assert 1e8 < peak.memory_traffic() < 1e13


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.filterwarnings("ignore::unrolled.errors.EngineWarning")
def test_every_feature_is_measured(backward, monkeypatch):
    for name in STEPS:
        monkeypatch.setitem(STEPS, name, 3)
    assert all(f.value > 0 for f in features(backward, 1, 1e10))


def test_command(tmp_path):
    out = tmp_path / "bench.json"
    done = CliRunner().invoke(
        app,
        [
            "bench",
            "--layers",
            "rnn",
            "--shapes",
            "2:3:4:5",
            "--no-features",
            "--rounds",
            "3",
            "--json",
            str(out),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "| rnn | 2, 3, 4→5 |" in done.output
    assert [row["backward"] for row in json.loads(out.read_text())["rows"]] == [False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "elman"], "'elman' is not one of rnn, gru, lstm"),
        (["--shapes", "1:2:3"], "wanted batch:time:input:hidden"),
        (["--shapes", "0:2:3:4"], "wanted batch:time:input:hidden"),
    ],
)
def test_wrong_options(options, message):
    done = CliRunner().invoke(app, ["bench", *options])
    assert isinstance(done.exception, Error)
    assert message in str(done.exception)
