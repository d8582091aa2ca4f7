import json
import math
import os
import signal
import threading

import numpy as np
import pytest
import torch

import unrolled as ur
from unrolled.models import LanguageModel
from unrolled.training import Options, Plan, nats_per_symbol, streams, train_language
from unrolled.training.streams import Streams

TEXT = "the quick brown fox jumps over the lazy dog\n" * 60
OPTIONS = Options(hidden_size=16, embedding_size=8, batch=4, window=16)


def test_it_learns_a_text_by_heart(tmp_path):
    seen = []
    result = train_language(
        TEXT, tmp_path / "model", Plan(steps=150, learning_rate=0.02), OPTIONS, report=seen.append
    )
    assert result.best < 0.3 < 2.0 < seen[0].loss
    assert result.steps == 150
    model = ur.LanguageModel.load(tmp_path / "model")
    assert "".join(model.generate("the qu", 5, temperature=0)) == "ick b"
    summary = json.loads((tmp_path / "model" / "summary.json").read_text())
    assert summary["validation_nats_per_symbol"] == result.best
    assert summary["steps"] == 150
    assert summary["parameters"] == sum(p.numel() for p in model.parameters())
    assert summary["symbols_per_second"] > 0
    assert summary["seconds"] > 0
    assert summary["options"]["hidden_size"] == 16
    assert [p.validation for p in seen if p.validation is not None][-1] >= result.best
    kept = model.vocabulary.encode(TEXT)[-round(len(TEXT) * 0.1) :]
    assert nats_per_symbol(model, kept) == pytest.approx(result.best, rel=1e-5)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        options = Options(hidden_size=8, embedding_size=0, cell="gru", batch=2, window=8, seed=seed)
        with ur.engine("reference"):
            train_language(TEXT, tmp_path / name, Plan(steps=5), options)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_a_budget_of_time_is_kept(tmp_path):
    result = train_language(TEXT, tmp_path, Plan(seconds=2.0), OPTIONS)
    assert 1.0 < result.seconds < 4.0
    assert result.steps > 1


def test_streams_read_every_window_once_a_pass_with_its_next_symbols():
    text = torch.arange(2000)
    streams = Streams(text, batch=3, window=10, generator=torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []

    class Model:
        def __call__(self, inputs, state):
            assert (state is None) == (len(seen) % (664 // 10) == 0 and not seen)
            seen.append(inputs)
            logits = torch.nn.functional.one_hot(inputs + 1, 2001) * 1e4
            return logits.float(), torch.zeros(1)

    for _ in range(60):
        assert streams.loss(Model()) < 1e-6  # the target is the symbol after each input
    rows = torch.cat(seen, dim=1)
    assert (rows[:, 1:] == rows[:, :-1] + 1).all()


def test_the_score_is_that_of_one_reading_from_beginning_to_end(monkeypatch):
    torch.manual_seed(0)
    vocabulary = ur.Vocabulary("abcdefgh")
    model = LanguageModel(vocabulary, hidden_size=12, embedding_size=4)
    text = torch.randint(8, (1003,))
    logits, _ = model(text[None, :-1])
    wanted = torch.nn.functional.cross_entropy(logits[0], text[1:]).item()
    assert nats_per_symbol(model, text, pieces=1) == pytest.approx(wanted, rel=1e-6)
    assert nats_per_symbol(model, text, pieces=7, chunk=100) == pytest.approx(wanted, rel=1e-6)
    assert nats_per_symbol(model, text, pieces=1, chunk=100) == pytest.approx(wanted, rel=1e-6)
    # A large vocabulary's logits are held a few steps at a time.
    most = []
    model.head.register_forward_hook(lambda head, read, logits: most.append(logits.numel()))
    monkeypatch.setattr(streams, "LOGITS", 7 * 8 * 5)
    assert nats_per_symbol(model, text, pieces=7, chunk=100) == pytest.approx(wanted, rel=1e-6)
    assert max(most) == 7 * 8 * 5
    assert model.training


@pytest.mark.parametrize(
    ("text", "plan", "options", "message"),
    [
        ("short", {"steps": 1}, {}, "fewer than one window of 64"),
        (TEXT, {"steps": 1}, {"hidden_size": 0}, "hidden_size must be greater than zero"),
        (TEXT, {"steps": 1}, {"batch": 0}, "batch is 0"),
        (TEXT, {"steps": 1}, {"window": -1}, "window is -1"),
        (TEXT, {"steps": 1}, {"validation": 0.0}, "validation is 0.0"),
        (TEXT, {"steps": 1}, {"cell": "x"}, "cell 'x'"),
        (TEXT, {"steps": 1}, {"device": "toaster"}, "device 'toaster' cannot be used here"),
        (TEXT, {"steps": 0}, {}, "steps is 0"),
        (TEXT, {"seconds": -1.0}, {}, "seconds is -1"),
        (TEXT, {"seconds": math.nan}, {}, "seconds is nan"),
        (TEXT, {}, {}, "either a number of minutes or a number of steps"),
        (TEXT, {"steps": 1, "seconds": 1.0}, {}, "either a number of minutes or a number of steps"),
        (TEXT, {"steps": 1, "learning_rate": 0.0}, {}, "learning_rate is 0.0"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(tmp_path, text, plan, options, message):
    with pytest.raises(ur.Error, match=message):
        train_language(text, tmp_path / "model", Plan(**plan), Options(**options))
    assert not (tmp_path / "model").exists()


def test_a_model_is_not_replaced_unasked(tmp_path):
    train_language(TEXT, tmp_path, Plan(steps=1), OPTIONS)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(ur.Error, match="already holds a model"):
        train_language(TEXT, tmp_path, Plan(steps=2), OPTIONS)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    train_language(TEXT, tmp_path, Plan(steps=2), OPTIONS, overwrite=True)
    assert (tmp_path / "model.safetensors").read_bytes() != before


@pytest.mark.skipif(os.name != "posix", reason="needs the system's locks")
@pytest.mark.parametrize("how", [{}, {"overwrite": True}, {"resume": True}])
def test_two_runs_are_not_in_one_folder_at_once(tmp_path, how):
    refused = []

    def begin_another(progress):
        if progress.step == 3:
            with pytest.raises(ur.Error, match="another training is in progress in") as told:
                train_language(TEXT, tmp_path, Plan(steps=1), OPTIONS, **how)
            refused.append(str(told.value))

    plan = Plan(steps=6, checkpoint_every=1e-9)
    train_language(TEXT, tmp_path, plan, OPTIONS, report=begin_another)
    assert refused
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 6
    train_language(TEXT, tmp_path, Plan(steps=1), OPTIONS, overwrite=True)


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_best(tmp_path):
    spoilt = []

    def spoil(progress):
        if progress.validation is not None and not spoilt:
            spoilt.append(progress.validation)
            with torch.no_grad():
                kept[0].head.bias.fill_(math.nan)

    kept: list[LanguageModel] = []
    with pytest.raises(ur.Error, match=r"loss became nan at step 11; the best model so far \("):
        train_language(TEXT, tmp_path, Plan(steps=100), OPTIONS, report=spoil, prepared=kept.append)
    model = ur.LanguageModel.load(tmp_path)
    assert all(p.isfinite().all() for p in model.parameters())


def test_ctrl_c_ends_the_run_with_the_best_model(tmp_path):
    assert threading.current_thread() is threading.main_thread()

    def interrupt(progress):
        if progress.step == 5 and progress.validation is None:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    result = train_language(TEXT, tmp_path, Plan(seconds=600.0), OPTIONS, report=interrupt)
    assert result.interrupted
    assert result.steps == 5
    assert signal.getsignal(signal.SIGINT) is handler
    assert json.loads((tmp_path / "summary.json").read_text())["interrupted"] is True
    ur.LanguageModel.load(tmp_path)


@pytest.fixture
def interrupted_as_by_hand():
    # A program that a shell runs in the background ignores SIGINT from the start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupted_as_by_hand")
def test_a_second_ctrl_c_tears_the_run_off_and_says_what_is_left(tmp_path):
    def interrupt(progress):
        # The report of the step, then that of the validation at the end.
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        train_language(TEXT, tmp_path, Plan(steps=100), OPTIONS, report=interrupt, say=said.append)
    assert said == [
        f"the unfinished run is in {tmp_path}; the same call with resume goes on from there",
    ]
    result = train_language(TEXT, tmp_path, Plan(steps=100), OPTIONS, resume=True)
    assert (result.steps, result.interrupted) == (100, False)


def test_tiny_shakespeare_is_learnt_from_the_real_file(data, tmp_path):
    text = (data / "tiny_shakespeare" / "input.txt").read_text()
    options = Options(hidden_size=64, embedding_size=32, batch=32)
    result = train_language(text, tmp_path, Plan(steps=250, learning_rate=0.01), options)
    assert result.best < 2.1


def test_the_score_of_the_last_step_is_that_of_the_model_saved(tmp_path):
    result = train_language(TEXT, tmp_path, Plan(steps=40, validations=4), OPTIONS)
    model = ur.LanguageModel.load(tmp_path)
    kept = max(2, round(len(TEXT) * 0.1))
    with ur.engine("reference"):
        score = nats_per_symbol(model, model.vocabulary.encode(TEXT[-kept:]))
    assert score == pytest.approx(result.best, rel=1e-4)


def test_word_vectors_of_none_of_the_words_are_refused(tmp_path):
    table = ur.vectors.WordVectors(["zebra"], np.ones((1, 3), dtype=np.float32))
    ur.vectors.write(table, tmp_path / "v.txt")
    options = Options(hidden_size=4, unit="word", input="frozen", vectors=str(tmp_path / "v.txt"))
    with pytest.raises(ur.Error, match=r"none of the .* words to train on has a vector in .*v\.txt"):
        train_language("the cat sat\n" * 100, tmp_path / "no", Plan(steps=1), options)
    assert not (tmp_path / "no").exists()
    said = []
    train_language("the zebra sat\n" * 100, tmp_path / "yes", Plan(steps=1), options, say=said.append)
    assert said[0].startswith("1 of 3 words have a vector in")


def test_weight_decay_fades_in_three_passes_at_the_mean_rate():
    plan = Plan(steps=1, learning_rate=4e-3)
    for steps in (1000, 5000):
        mean = plan.learning_rate / 2
        assert (1 - mean * plan.decay(steps)) ** (3 * steps) == pytest.approx(math.exp(-1), rel=1e-2)
    assert plan.decay(1) == plan.decay(300) > plan.decay(301)
    assert Plan(steps=1, weight_decay=0.0).decay(1000) == 0
    for wrong in (-0.1, math.inf, math.nan):
        with pytest.raises(ur.Error, match="weight_decay is"):
            Plan(steps=1, weight_decay=wrong)


def test_a_pass_has_as_many_steps_as_it_takes():
    text, generator = torch.arange(101), torch.Generator().manual_seed(0)
    reading = Streams(text, batch=3, window=10, generator=generator)
    steps, offset = 0, reading.position()[1]["offset"]
    model = ur.LanguageModel(ur.Vocabulary(map(str, range(101))), hidden_size=2)
    while reading.position()[1]["offset"] == offset and steps < 10:
        reading.loss(model)
        steps += 1
        if reading.position()[1]["position"] == 0:
            break
    assert steps == reading.windows == 3
