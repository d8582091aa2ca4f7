"""A run that is killed at any moment and resumed ends as one that never was."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

import unrolled as ur
from unrolled.training import Options, Plan, checkpoint, train_language

TEXT = "the quick brown fox jumps over the lazy dog\n" * 60
OPTIONS = Options(hidden_size=16, embedding_size=8, batch=4, window=16, dropout=0.3)
PLAN = Plan(steps=120, checkpoint_every=1e-9)
KILLS = int(os.environ.get("UNROLLED_KILLS", "3"))
"""How many times the run is killed; the long test: UNROLLED_KILLS=100."""


class KilledError(Exception):
    """Stands for the end of the process."""


def train(folder, stop=None, plan=PLAN, **options):
    def report(progress):
        if progress.step == stop:
            raise KilledError

    train_language(TEXT, folder, plan, OPTIONS, report=report, **options)
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights of a run that was never stopped."""
    return train(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("stop", [1, 13, 37, 119])
def test_a_run_stopped_at_a_step_is_resumed_to_the_bit(tmp_path, whole, stop):
    with pytest.raises(KilledError):
        train(tmp_path, stop)
    torch.manual_seed(random.randrange(1000))  # what is drawn between must not matter
    assert train(tmp_path, resume=True) == whole
    assert not checkpoint.exists(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"] == 120


SIZES = ["--hidden-size", "16", "--embedding-size", "8", "--batch", "4", "--steps", "300"]
COMMANDS = {
    "language": ["text.txt", "--window", "16"],
    "classify": ["table.csv", "--text", "text", "--label", "label", "--word-dropout", "0.1"],
    "tag": ["words.tsv", "--character-size", "8"],
}
ROWS = [(f"{letter}{i % 7} {'abc'[i % 3]}", letter) for i in range(60) for letter in "xyz"]
FILES = {
    "text.txt": TEXT,
    "table.csv": "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS),
    "words.tsv": "".join(f"{text.replace(' ', '')}\t{label}\nx\tX\n\n" for text, label in ROWS),
}


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("task", COMMANDS)
def test_a_process_killed_again_and_again_ends_in_the_same_weights(tmp_path, task):
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)

    def start(out, *more):
        command = [sys.executable, "-m", "unrolled", "train", task, *COMMANDS[task], "--out", out]
        options = [*SIZES, "--checkpoint-every", "0.02", *more]
        return subprocess.Popen(
            [*command, *options], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    first = start("whole")
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors
    chance, killed = random.Random(7), 0
    for _ in range(KILLS):
        resume = checkpoint.exists(tmp_path / "out")
        process = start("out", "--resume" if resume else "--overwrite")
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0.1, 0.8))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        killed += process.returncode == -signal.SIGKILL
    assert killed
    last = start("out", "--resume" if checkpoint.exists(tmp_path / "out") else "--overwrite")
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "out")]
    assert weights[0] == weights[1]
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left <= {"config.json", "model.safetensors", "summary.json", "curves.csv", "curves.png"}


def damage(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil", [lambda p: damage(p, -5), lambda p: damage(p, 300), lambda p: p.write_bytes(b"")]
)
def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path, whole, spoil):
    with pytest.raises(KilledError):
        train(tmp_path, 50)
    spoil(tmp_path / checkpoint.NAME)
    said = []
    assert train(tmp_path, resume=True, say=said.append) == whole
    assert len(said) == 1
    assert "checkpoint.safetensors is" in said[0]
    assert "going on from the one before it, step 48" in said[0]


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_whole_one(tmp_path, whole):
    with pytest.raises(KilledError):
        train(tmp_path, 50)
    damage(tmp_path / checkpoint.NAME, -5)
    with pytest.raises(KilledError):
        train(tmp_path, 49, resume=True)  # writes a checkpoint of its own before step 49
    (tmp_path / checkpoint.NAME).write_bytes(b"torn")
    assert train(tmp_path, resume=True) == whole


def test_there_must_be_a_run_to_resume(tmp_path):
    with pytest.raises(ur.Error, match="no checkpoint to resume from"):
        train(tmp_path, resume=True)


def test_no_whole_checkpoint_is_an_error(tmp_path):
    with pytest.raises(KilledError):
        train(tmp_path, 50)
    for name in (checkpoint.NAME, checkpoint.PREVIOUS):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(ur.Error, match="no checkpoint is whole"):
        train(tmp_path, resume=True)


def test_another_run_is_not_resumed_nor_replaced_unasked(tmp_path, whole):
    with pytest.raises(KilledError):
        train(tmp_path, 50)
    with pytest.raises(ur.Error, match="holds an unfinished run; say --resume"):
        train(tmp_path)
    with pytest.raises(ur.Error, match="the run to resume had steps 120, and this call has 130"):
        train(tmp_path, plan=Plan(steps=130, checkpoint_every=1e-9), resume=True)
    with pytest.raises(ur.Error, match="the run to resume was on other data"):
        train_language(TEXT + "!", tmp_path, PLAN, OPTIONS, resume=True)
    assert train(tmp_path, overwrite=True) == whole
