"""The table of baselines: which rows are left, and the page made of results."""

from dataclasses import replace

from unrolled.bench import baselines
from unrolled.bench.baselines_page import page


def result(row, nats):
    interval = [nats - 0.01, nats + 0.01]
    score = {"task": "language", "nats_per_symbol": nats, "nats_per_symbol_interval": interval}
    score |= {"windows_of_256": {"nats_per_symbol": nats + 0.1}, "baseline": {"nats_per_symbol": 2.0}}
    machine = {"cpu": "a processor", "threads": 2, "torch": "2"}
    sizes = {"parameters": 1234, "hidden_size": 8, "symbols_per_second": 99.0, "minutes": 3.0}
    names = {"key": row.key, "group": row.group, "name": row.name, "seed": row.seed}
    return {**names, **machine, **sizes, "score": score}


def test_rows_differ_and_those_with_a_result_are_not_run_again():
    rows = list(baselines.rows())
    assert len({row.key for row in rows}) == len(rows)
    done = [result(rows[0], 1.5)]
    left = list(baselines.chosen(iter(rows), done, "", None))
    assert left == rows[1:]
    some = list(baselines.chosen(iter(rows), [], "gru 256", 1))
    assert [(row.name, row.seed) for row in some] == [("gru 256", 1)] * len(baselines.MINUTES)


def test_a_page_says_the_mean_the_ends_and_the_commands(tmp_path):
    first = next(row for row in baselines.rows() if row.name == "lstm 256")
    results = [result(first, 1.5), result(replace(first, seed=1), 1.4)]
    baselines.write(tmp_path, results)
    assert baselines.read(tmp_path / baselines.RESULTS) == results
    text = page(results)
    assert "| lstm 256 | 3 | 1.4500 (1.4000 to 1.5000) | 2 | 1.4900 to 1.5100 | 1.5500 | 2.0000 |" in text
    assert "unrolled train language $DATA/tiny_shakespeare/input.txt" in text
    assert "--seed 0|1 --out DIR" in text
    head, rule = [line for line in text.splitlines() if line.startswith("|")][:2]
    assert head.count("|") == rule.count("|")
