"""Two processes under torchrun train what one does, and lose nothing when one of them is killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unrolled.training import checkpoint

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="workers are found in /proc")

TEXT = "the quick brown fox jumps over the lazy dog\n" * 100
SIZES = ["--hidden-size", "16", "--embedding-size", "8", "--batch", "5", "--window", "16", "--dropout", "0"]
"""Five streams: the two processes have two and three of them."""


def start(folder, out, *options, processes=2, nodes=None):
    """A training in the folder: one process, or those of one torchrun, or of one of two that meet."""
    command = [sys.executable, "-m"]
    if nodes is not None:
        rank, port = nodes
        meeting = ["--nnodes", "2", "--node-rank", str(rank), "--master-port", str(port)]
        command += ["torch.distributed.run", *meeting, "--nproc-per-node", "1", "-m"]
    elif processes > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    command += ["unrolled", "train", "language", "text.txt", "--out", out, *SIZES, *options]
    path = os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finished(process, status=0):
    output, errors = process.communicate(timeout=240)
    assert process.returncode == status, errors
    return output + errors


def losses(folder):
    with (folder / "curves.csv").open() as file:
        return [float(row["training_loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("parallel")
    (place / "text.txt").write_text(TEXT)
    finished(start(place, "two", "--steps", "150"))
    return place


def test_two_processes_learn_as_one_with_the_same_batch(folder):
    said = finished(start(folder, "one", "--steps", "150", processes=1))
    assert "done after" in said
    assert losses(folder / "two") == pytest.approx(losses(folder / "one"), rel=2e-3)
    assert losses(folder / "two")[-1] < 0.7 * losses(folder / "two")[0]
    assert json.loads((folder / "two" / "summary.json").read_text())["processes"] == 2


def test_two_groups_that_meet_learn_the_same(folder):
    port = 20000 + os.getpid() % 20000
    both = [start(folder, "nodes", "--steps", "150", nodes=(rank, port)) for rank in (0, 1)]
    for process in both:
        finished(process)
    assert losses(folder / "nodes") == losses(folder / "two")


def test_a_killed_process_ends_all_and_the_run_resumes_to_the_bit(folder):
    often = ["--steps", "150", "--checkpoint-every", "0.01"]
    process = start(folder, "killed", *often)
    until = time.monotonic() + 120
    while not checkpoint.exists(folder / "killed"):
        assert time.monotonic() < until
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "SIGKILL" in errors or "lost the others" in errors
    finished(start(folder, "killed", *often, "--resume"))
    weights = [(folder / name / "model.safetensors").read_bytes() for name in ("two", "killed")]
    assert weights[0] == weights[1]
