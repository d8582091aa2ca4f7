import json
import math
import struct

import pytest
import torch

import unrolled as ur
from unrolled.cells import CELLS
from unrolled.models import LanguageModel

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")


def small(**options):
    torch.manual_seed(0)
    return LanguageModel(
        ur.Vocabulary("helo \n"), **{"hidden_size": 5, "embedding_size": 3, **options}
    ).eval()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("embedding_size", [0, 3])
def test_it_is_saved_and_loaded_whole(tmp_path, cell, embedding_size):
    model = small(cell=cell, num_layers=2, embedding_size=embedding_size)
    model.save(tmp_path / "model", {"note": 1})
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
        "summary.json",
    ]
    loaded = ur.LanguageModel.load(tmp_path / "model")
    assert loaded.vocabulary == model.vocabulary
    indices = model.vocabulary.encode("hello\nhello")[None]
    torch.testing.assert_close(loaded(indices), model(indices), rtol=0, atol=0)
    assert all(p.requires_grad for p in loaded.parameters())
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["task"] == "language"
    assert config["cell"] == cell
    assert config["unrolled"] == ur.__version__


def test_logits_and_state_go_on_where_they_stopped():
    model = small()
    indices = model.vocabulary.encode("hello hello")[None]
    whole, _ = model(indices)
    assert whole.shape == (1, 11, 6)
    first, state = model(indices[:, :4])
    second, _ = model(indices[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


def test_generation_draws_from_the_models_own_probabilities():
    model = small()
    torch.nn.init.normal_(model.head.weight, std=3)
    logits, _ = model(model.vocabulary.encode("he")[None])
    wanted = (logits[0, -1] / 0.7).softmax(-1)
    drawn = [next(model.generate("he", 1, temperature=0.7, seed=s)) for s in range(2000)]
    counts = torch.tensor([drawn.count(s) for s in model.vocabulary.symbols]) / len(drawn)
    assert (counts - wanted).abs().max() < 4 * 0.5 / math.sqrt(len(drawn))


def test_generation_is_repeatable_and_takes_the_likeliest_at_zero():
    model = small()
    once = "".join(model.generate("h", 30, seed=3))
    assert once == "".join(model.generate("h", 30, seed=3))
    assert once != "".join(model.generate("h", 30, seed=4))
    assert len(once) == 30
    greedy = "".join(model.generate("h", 10, temperature=0, seed=1))
    text = "h"
    for _ in range(10):
        logits, _ = model(model.vocabulary.encode(text)[None])
        text += model.vocabulary.symbols[int(logits[0, -1].argmax())]
    assert text[1:] == greedy
    assert greedy == "".join(model.generate("h", 10, top_k=1, seed=9))
    for cold in (1e-30, 1e-50, 5e-324):
        assert greedy == "".join(model.generate("h", 10, temperature=cold, seed=9))


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("", {}, "prompt has no symbols"),
        (" ", {"unit": "word"}, "prompt has no symbols"),
        ("hex", {}, "symbol 'x'"),
        ("h", {"temperature": -1.0}, "temperature is -1.0"),
        ("h", {"temperature": math.nan}, "temperature is nan"),
        ("h", {"top_k": 0}, "top_k is 0"),
        ("h", {"length": -1}, "length is -1"),
    ],
)
def test_generation_refuses(prompt, options, message):
    model = small()
    if "unit" in options:
        model = ur.LanguageModel(ur.Vocabulary(["a", "b"], unit=options.pop("unit")), hidden_size=3)
    with pytest.raises(ur.Error, match=message):
        next(model.generate(prompt, **{"length": 3, **options}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "brain"}, "'brain' is not one of rnn_tanh"),
        ({"hidden_size": 0}, "hidden_size must be greater than zero"),
        ({"num_layers": 0}, "num_layers must be greater than zero"),
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"embedding_size": -1}, "embedding_size is -1"),
    ],
)
def test_what_is_no_model_is_refused(options, message):
    with pytest.raises(ur.Error, match=message):
        small(**options)


def change(folder, **changes):
    """The config edited by hand, and the fingerprint in the weights made to fit it."""
    from unrolled.models import folder as files

    config, weights = files.read(folder)
    files.write(folder, {**config, **changes}, weights, {})


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def lie_about_the_header(path):
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: flip(d / "model.safetensors", -1), "damaged: its checksum does not fit"),
        (lambda d: flip(d / "model.safetensors", -400), "damaged: its checksum does not fit"),
        (lambda d: (d / "config.json").unlink(), "has no config.json"),
        (lambda d: (d / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda d: truncate(d / "model.safetensors"), "truncated or not a safetensors file"),
        (lambda d: lie_about_the_header(d / "model.safetensors"), "truncated or not a safetensors file"),
        (lambda d: (d / "model.safetensors").write_bytes(b""), "truncated or not a safetensors file"),
        (lambda d: truncate(d / "config.json"), "cannot be read as JSON"),
        (lambda d: (d / "config.json").write_text("[1]"), "does not describe a model"),
        (lambda d: (d / "config.json").write_bytes(b"\xff"), "cannot be read as JSON"),
        (lambda d: (d / "config.json").write_text('{"format": 1}'), "not of one save"),
        (lambda d: change(d, format=2, unrolled="9.0"), "saved by unrolled 9.0 in format 2"),
        (lambda d: change(d, task="tagging"), "a model for 'tagging'"),
        (lambda d: change(d, hidden_size=10**12), "hidden_size 1000000000000; the weights are"),
        (lambda d: change(d, num_layers=10**12), "num_layers 1000000000000; the weights are"),
        (lambda d: change(d, hidden_size=6), "do not fit the config"),
        (lambda d: change(d, num_layers=2), "do not fit the config"),
        (lambda d: change(d, hidden_size="5"), "hidden_size '5'"),
        (lambda d: change(d, embedding_size=None), "embedding_size None"),
        (lambda d: change(d, cell=["lstm"]), "cell"),
        (lambda d: change(d, dropout="0"), "dropout"),
        (lambda d: change(d, vocabulary={"symbols": ["h"]}), "do not fit the config"),
        (lambda d: change(d, vocabulary=3), "Vocabulary"),
    ],
)
def test_a_spoilt_folder_is_refused_in_one_sentence(tmp_path, spoil, message):
    small().save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ur.Error, match=message) as caught:
        ur.LanguageModel.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_model_saved_without_a_checksum_loads(tmp_path):
    model = small()
    model.save(tmp_path)
    change(tmp_path, weights_sha256=None)
    flip(tmp_path / "model.safetensors", -1)
    loaded = ur.LanguageModel.load(tmp_path).state_dict()
    assert loaded.keys() == model.state_dict().keys()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ur.Error, match="is not a folder"):
        ur.LanguageModel.load(tmp_path / "none")


def test_a_save_that_fails_leaves_the_old_model(tmp_path, monkeypatch):
    model = small()
    model.save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ur.Error, match=r"No space left on device; nothing there was changed"):
        small(hidden_size=4).save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
