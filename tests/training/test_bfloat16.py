"""Training under bfloat16 autocast: what is rounded and what is not, resumed to the bit, refused."""

import json

import pytest
import torch

import unrolled as ur
from unrolled.models import load
from unrolled.text import Sentence
from unrolled.training import (
    ClassifierOptions,
    Example,
    Options,
    Plan,
    TaggerOptions,
    train_classifier,
    train_language,
    train_tagger,
)

TEXT = "the quick brown fox jumps over the lazy dog\n" * 40
SMALL = {"hidden_size": 12, "embedding_size": 8, "batch": 4, "dropout": 0.2}
EXAMPLES = [Example(f"{letter} {i % 7}", letter) for i in range(60) for letter in "xy"]
SENTENCES = [Sentence(("a", "bb", f"c{i}"), ("A", "B", "A")) for i in range(60)]
TASKS = {
    "language": lambda out, plan, **more: train_language(
        TEXT, out, plan, Options(**SMALL, window=16, bfloat16=more.pop("bfloat16", True)), **more
    ),
    "classify": lambda out, plan, **more: train_classifier(
        EXAMPLES, out, plan, ClassifierOptions(**SMALL, bfloat16=more.pop("bfloat16", True)), **more
    ),
    "tag": lambda out, plan, **more: train_tagger(
        SENTENCES, out, plan, TaggerOptions(**SMALL, bfloat16=more.pop("bfloat16", True)), **more
    ),
}


class KilledError(Exception):
    """Stands for the end of the process."""


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_it_is_resumed_to_the_bit_and_written_down(tmp_path, task):
    def kill(progress):
        if progress.step == 17:
            raise KilledError

    train, plan = TASKS[task], Plan(steps=30, checkpoint_every=1e-9)
    train(tmp_path / "whole", plan)
    with pytest.raises(KilledError):
        train(tmp_path / "cut", plan, report=kill)
    torch.manual_seed(5)
    with pytest.raises(ur.Error, match="had bfloat16 True, and this call has False"):
        train(tmp_path / "cut", plan, resume=True, bfloat16=False)
    train(tmp_path / "cut", plan, resume=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut")
    train(tmp_path / "wide", plan, bfloat16=False)
    assert load(tmp_path / "wide").config["bfloat16"] is False
    wide, low = (load(tmp_path / name).state_dict() for name in ("wide", "whole"))
    assert any(not torch.equal(wide[name], low[name]) for name in wide)
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["bfloat16"] is True
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert summary["options"]["bfloat16"] is True


@pytest.mark.parametrize("options", [{}, {"layer_norm": True, "residual": True, "num_layers": 2}])
def test_the_layers_are_rounded_in_training_and_the_head_is_not(options):
    torch.manual_seed(0)
    model = ur.LanguageModel(ur.Vocabulary("helo"), hidden_size=5, bfloat16=True, **options)
    indices = torch.tensor([[0, 1, 2, 2, 3]])
    batch = ur.Batch(indices, None, model.vocabulary)
    with torch.autocast("cpu", torch.bfloat16):
        wanted, last = model.layers(batch)
    assert wanted.dtype == torch.bfloat16
    logits, state = model(indices)
    torch.testing.assert_close(logits, model.head(wanted.float()), rtol=0, atol=0)
    torch.testing.assert_close(state, tuple(s.float() for s in last), rtol=0, atol=0)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
    model.eval()
    exact, _ = model(indices)
    torch.testing.assert_close(exact, model.head(model.layers(batch)[0]), rtol=0, atol=0)
    assert not torch.equal(exact, logits)


def test_a_device_without_bfloat16_is_refused_and_one_that_gains_nothing_is_said(tmp_path, monkeypatch):
    said = []
    TASKS["language"](tmp_path / "m", Plan(steps=1), say=said.append)
    assert said == [
        "bfloat16: on a CPU the layers compute in float32 all the same, so that no time is gained"
    ]
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda kind: False)
    with pytest.raises(ur.Error, match="cpu cannot compute in bfloat16; leave it out"):
        TASKS["language"](tmp_path / "n", Plan(steps=1))
    assert not (tmp_path / "n").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.filterwarnings("ignore:RNN module weights are not part of single")
def test_a_gpu_trains_in_it(tmp_path):
    options = Options(hidden_size=64, embedding_size=8, batch=4, window=16, device="cuda", bfloat16=True)
    assert train_language(TEXT, tmp_path, Plan(steps=100, learning_rate=0.02), options).best < 1.0
