"""Trainings that were cut off go on to the same bits; checkpoints that do not fit are refused."""

import os
import signal
import time

import numpy as np
import pytest

import unrolled as ur
from unrolled.vectors import Checkpoint, GloVe, Word2Vec, glove, word2vec

TEXT = [[f"w{(i * j) % 83}" for j in range(1, 12)] for i in range(600)]
MODELS = {
    "skip-gram": Word2Vec(8, min_count=1, epochs=3, threads=1),
    "cbow": Word2Vec(8, "cbow", min_count=1, epochs=3, threads=1),
    "glove": GloVe(8, window=5, min_count=1, epochs=3, threads=1),
}


@pytest.fixture(autouse=True)
def small_jobs(monkeypatch):
    monkeypatch.setattr(word2vec, "JOB", 500)
    monkeypatch.setattr(glove, "JOB", 200)


def cut_off(model, checkpoint, monkeypatch, at=14):
    """Fits with Ctrl-C in job number `at`, from which on they are slow; the vectors, and the share done."""
    owner, name = (glove.Run, "work") if isinstance(model, GloVe) else (word2vec.Run, "arguments")
    plain, jobs, reports = getattr(owner, name), [], []

    def slow(run, job):
        jobs.append(job)
        if len(jobs) == at:
            os.kill(os.getpid(), signal.SIGINT)
        if len(jobs) >= at:
            time.sleep(0.05)
        return plain(run, job)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, slow)
        vectors = model.fit(TEXT, reports.append, checkpoint)
    return vectors, reports[-1].fraction


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")
@pytest.mark.parametrize("name", MODELS)
def test_what_was_cut_off_goes_on_to_the_same_bits(tmp_path, monkeypatch, name):
    model, place = MODELS[name], tmp_path / "state"
    whole = model.fit(TEXT)
    cut, share = cut_off(model, Checkpoint(place), monkeypatch)
    assert 0 < share < 1
    assert cut.matrix.tobytes() != whole.matrix.tobytes()
    reports = []
    resumed = model.fit(TEXT, reports.append, Checkpoint(place, resume=True))
    training = [report for report in reports if report.stage == "training"]
    assert training[0].fraction > share - 1e-9
    assert training[-1].fraction == 1
    assert resumed.words == whole.words
    assert resumed.matrix.tobytes() == whole.matrix.tobytes()
    assert place.exists()
    Checkpoint(place).remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", MODELS)
def test_writing_checkpoints_changes_nothing(tmp_path, name):
    model, checkpoint = MODELS[name], Checkpoint(tmp_path / "state", every=1e-4)
    assert model.fit(TEXT, None, checkpoint).matrix.tobytes() == model.fit(TEXT).matrix.tobytes()


def test_a_checkpoint_that_does_not_fit_is_one_sentence(tmp_path, monkeypatch):
    model, place = MODELS["skip-gram"], tmp_path / "state"
    with pytest.raises(ur.Error, match="nothing to resume; train without --resume"):
        model.fit(TEXT, None, Checkpoint(place, resume=True))
    with pytest.raises(ur.Error, match="every 0 seconds"):
        model.fit(TEXT, None, Checkpoint(place, every=0))
    cut_off(model, Checkpoint(place), monkeypatch)
    content = place.read_bytes()
    with pytest.raises(ur.Error, match="holds an unfinished training; say --resume"):
        model.fit(TEXT, None, Checkpoint(place))
    other = Word2Vec(8, min_count=1, epochs=3, threads=1, window=3)
    flipped = bytearray(content)
    flipped[-100] ^= 1
    for wrong, source, stored, message in [
        (other, TEXT, content, "is a training with window 5, not 3"),
        (MODELS["glove"], TEXT, content, "is a training with model 'Word2Vec', not 'GloVe'"),
        (model, TEXT[:-1], content, "is a training with another text"),
        (model, TEXT, bytes(flipped), "damaged.*checksum does not fit"),
        (model, TEXT, content[:-9], "truncated or damaged"),
        (model, TEXT, b"", "truncated or damaged"),
        (model, TEXT, b"junk" * 99, "truncated or damaged"),
    ]:
        place.write_bytes(stored)
        with pytest.raises(ur.Error, match=message) as caught:
            wrong.fit(source, None, Checkpoint(place, resume=True))
        assert "\n" not in str(caught.value)
        assert place.read_bytes() == stored


def test_threads_may_change_between(tmp_path, monkeypatch):
    place = tmp_path / "state"
    cut_off(MODELS["cbow"], Checkpoint(place), monkeypatch)
    several = Word2Vec(8, "cbow", min_count=1, epochs=3, threads=3)
    assert np.isfinite(several.fit(TEXT, None, Checkpoint(place, resume=True)).matrix).all()
