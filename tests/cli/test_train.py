"""`unrolled train`: the options that its commands share, and what they say."""

import json
import re

import pytest

SIZES = ["--hidden-size", 8, "--embedding-size", 4, "--batch", 4, "--steps", 4, "--validations", 1]
TEXT = "the quick brown fox jumps over the lazy dog\n" * 20
FILES = {
    "text.txt": TEXT,
    "table.csv": "text,label\n" + "".join(f"{letter}{i},{letter}\n" for i in range(20) for letter in "xy"),
    "words.tsv": "a\tA\nbb\tB\n\n" * 20,
}
COMMANDS = {
    "language": ["text.txt", "--window", 8],
    "classify": ["table.csv", "--text", "text", "--label", "label"],
    "tag": ["words.tsv"],
}


@pytest.fixture
def train(accepted, tmp_path):
    """Runs `unrolled train COMMAND` here on a small file; what it printed."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)

    def run(command, *more):
        return accepted("train", command, *COMMANDS[command], "--out", "m", *SIZES, *more)

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_the_shared_options_reach_the_run(train, tmp_path, command):
    given = {
        "cell": "min_gru",
        "num_layers": 2,
        "dropout": 0.1,
        "residual": True,
        "layer_norm": True,
        "variational": True,
        "input_dropout": 0.2,
        "word_dropout": 0.3,
        "recurrent_dropout": 0.0,
        "zoneout": 0.05,
        "bfloat16": True,
        "learning_rate": 0.5,
        "validations": 2,
        "patience": 3,
        "seed": 4,
        "checkpoint_every": 5.0,
    }
    words = []
    for name, value in given.items():
        name = "--layers" if name == "num_layers" else "--" + name.replace("_", "-")
        words += [name] if value is True else [name, value]
    assert "bfloat16: on a CPU the layers compute in float32 all the same" in train(command, *words)
    options = json.loads((tmp_path / "m" / "summary.json").read_text())["options"]
    assert {name: options[name] for name in given} == given


@pytest.mark.parametrize("unit", ["character", "word"])
def test_a_score_is_of_the_unit_that_was_read(train, unit):
    printed = train("language", "--unit", unit)
    assert printed.count(f"bits per {unit}") == 4  # each validation, the score, beside it, the end
    assert re.search(rf"over \d+ {unit}s$", printed, re.MULTILINE)
    assert "bits per symbol" not in printed
