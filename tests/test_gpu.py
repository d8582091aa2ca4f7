"""What holds on a CPU holds on a GPU: every cell's numbers, and runs that are stopped and go on."""

import copy
import pickle

import pytest
import torch

import unrolled as ur
from unrolled.cells import CELLS
from unrolled.training import (
    ClassifierOptions,
    Example,
    Options,
    Plan,
    train_classifier,
    train_language,
)

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore::unrolled.EngineWarning"),
]


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """No products in fewer bits than float32 has."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_gives_what_it_gives_on_a_cpu(name, options):
    here = ur.Recurrent(CELLS[name], 5, 7, batch_first=True, **options)
    there = ur.Recurrent(CELLS[name], 5, 7, batch_first=True, **options).cuda()
    there.load_state_dict(here.state_dict())
    x, lengths, reset = torch.randn(4, 9, 5), torch.tensor([9, 0, 3, 7]), torch.rand(4, 9) < 0.2
    for named in ({}, {"lengths": lengths}, {"reset": reset}, {"lengths": lengths, "reset": reset}):
        found = []
        for layer, device in ((here, "cpu"), (there, "cuda")):
            given = x.to(device, copy=True).requires_grad_()
            output, _ = layer(given, **{k: v.to(device) if k == "reset" else v for k, v in named.items()})
            wanted = [given, *layer.parameters()]
            gradients = torch.autograd.grad(output.sin().sum(), wanted, allow_unused=True)
            found.append([t for t in (output, *gradients) if t is not None])
        torch.testing.assert_close([t.cpu() for t in found[1]], found[0], atol=1e-4, rtol=1e-4)
    batch = ur.Vocabulary("helo!").encode(["hello", "eo!", "lleel"])
    torch.testing.assert_close(there(batch.to("cuda"))[0].cpu(), here(batch)[0], atol=1e-5, rtol=1e-5)


PYTORCHS = ("rnn_tanh", "rnn_relu", "gru", "lstm")


@pytest.mark.parametrize("name", PYTORCHS)
def test_a_copys_parameters_lie_in_one_piece(name):
    # If they did not, PyTorch would warn, which is an error here.
    layers = [ur.Recurrent(CELLS[name], 5, 7, num_layers=2, device="cuda")]
    kinds = {"rnn_tanh": ur.RNN, "gru": ur.GRU, "lstm": ur.LSTM}
    layers += [kinds[name](5, 7, num_layers=2).cuda()] if name in kinds else []
    x = torch.randn(9, 4, 5, device="cuda")
    for layer in layers:
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            torch.testing.assert_close(other(x)[0], layer(x)[0])
            assert len({p.untyped_storage().data_ptr() for p in other.parameters()}) == 1


# PyTorch lays no weights together beforehand that are bfloat16, and cuDNN then does it in every call.
apart = pytest.mark.filterwarnings("ignore:RNN module weights are not part of single")


@apart
@pytest.mark.parametrize("lengths", [None, torch.tensor([9, 0, 3, 7])])
@pytest.mark.parametrize("name", [*PYTORCHS, "min_gru"])
def test_autocast(name, lengths):
    layer = ur.Recurrent(CELLS[name], 5, 7, num_layers=2, batch_first=True, device="cuda")
    x = torch.randn(4, 9, 5, device="cuda")
    wanted, _ = layer(x, lengths=lengths)
    with torch.autocast("cuda", torch.bfloat16):
        output, state = layer(x, lengths=lengths)
    assert output.dtype is torch.bfloat16
    assert all(s.dtype is torch.bfloat16 for s in (state if isinstance(state, tuple) else (state,)))
    torch.testing.assert_close(output.float(), wanted, atol=0.05, rtol=0.05)
    found, truth = (torch.autograd.grad(o.sum(), list(layer.parameters())) for o in (output, wanted))
    for got, want in zip(found, truth, strict=True):
        assert got.dtype is torch.float32
        torch.testing.assert_close(got, want, atol=0.05 * want.abs().max().item() + 0.01, rtol=0.05)
    double = layer.double()
    with torch.autocast("cuda", torch.bfloat16):
        assert double(x.double())[0].dtype is torch.float64


class KilledError(Exception):
    """Stands for the end of the process."""


def language(folder, report, **more):
    text = "the quick brown fox jumps over the lazy dog\n" * 60
    options = Options(
        hidden_size=16,
        embedding_size=8,
        batch=4,
        window=16,
        dropout=0.3,
        device="cuda",
        **more.pop("own", {}),
    )
    train_language(text, folder, Plan(steps=60, checkpoint_every=1e-9), options, report=report, **more)


def classifier(folder, report, **more):
    rows = [Example(f"{letter}{i % 7} {'abc'[i % 3]}", letter) for i in range(60) for letter in "xyz"]
    options = ClassifierOptions(hidden_size=16, embedding_size=8, batch=8, device="cuda")
    train_classifier(rows, folder, Plan(steps=60, checkpoint_every=1e-9), options, report=report, **more)


@pytest.mark.parametrize("train", [language, classifier])
def test_a_run_goes_on_where_it_was_stopped(tmp_path, train):
    def stop(progress):
        if progress.step == 23:
            raise KilledError

    train(tmp_path / "whole", lambda progress: None)
    with pytest.raises(KilledError):
        train(tmp_path / "stopped", stop)
    train(tmp_path / "stopped", lambda progress: None, resume=True)
    load = (ur.LanguageModel if train is language else ur.Classifier).load
    whole, stopped = (load(tmp_path / name).state_dict() for name in ("whole", "stopped"))
    torch.testing.assert_close(stopped, whole, atol=1e-4, rtol=1e-3)


@apart
def test_training_in_bfloat16(tmp_path):
    language(tmp_path / "model", lambda progress: None, own={"bfloat16": True})
    written = "".join(ur.LanguageModel.load(tmp_path / "model").generate("the ", 5, seed=0))
    assert len(written) == 5
