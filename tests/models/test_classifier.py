import json

import numpy as np
import pytest
import torch

import unrolled as ur
from unrolled.models.classifier import POOLINGS

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
TEXTS = ["hello", "", "o", "lleel" * 7]


def test_a_prediction_that_fails_leaves_the_model_in_training():
    model = ur.Classifier(ur.Vocabulary("ab"), ["no", "yes"], hidden_size=3).train()
    with pytest.raises(ur.Error, match="symbol 'z'"):
        model.predict(["a", "z"])
    assert model.training


def small(**options):
    torch.manual_seed(0)
    sizes = {"hidden_size": 5, "embedding_size": 3, **options}
    model = ur.Classifier(ur.Vocabulary("helo", unknown="?"), ["sad", "happy", "angry"], **sizes).eval()
    if model.votes is not None:  # which are zero at first
        torch.nn.init.normal_(model.votes.weight)
    return model


def by_hand(model, text):
    """The logits of one text alone, its outputs pooled by the words of the documentation."""
    pooling, width = model.config["pooling"], model.width
    if not text:
        return model.head(torch.zeros(width))
    read = model.read(text)[None]
    votes = 0 if model.votes is None else model.votes(read, torch.tensor([len(text)]))[0]
    output, _ = model.hidden(model.vocabulary.encode([text]))
    if pooling == "mean":
        pooled = output[0].mean(0)
    elif pooling == "max":
        pooled = output[0].max(0).values
    elif pooling == "attention":
        weights = model.score(output[0]).softmax(0)
        pooled = (weights * output[0]).sum(0)
    else:
        half = width // 2 if model.config["bidirectional"] else width
        pooled = torch.cat((output[0, -1, :half], output[0, 0, half:]))
    return model.head(pooled) + votes


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"cell": "lstm", "num_layers": 2}, {"layer_norm": True}, {"grams": 3}]
)
def test_each_text_is_read_as_if_it_were_alone(pooling, bidirectional, options):
    model = small(pooling=pooling, bidirectional=bidirectional, **options)
    got = model(model.vocabulary.encode(TEXTS))
    wanted = torch.stack([by_hand(model, text) for text in TEXTS])
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
    probabilities = model.probabilities(TEXTS)
    torch.testing.assert_close(probabilities, wanted.softmax(-1), rtol=1e-5, atol=1e-6)
    for text, row, prediction in zip(TEXTS, probabilities, model.predict(TEXTS), strict=True):
        assert prediction.label == model.labels[int(row.argmax())]
        assert prediction.probability == pytest.approx(float(row.max())), text


@pytest.mark.parametrize("pooling", POOLINGS)
def test_it_is_saved_and_loaded_whole(tmp_path, pooling):
    model = small(pooling=pooling, longest=7, grams=2)
    model.save(tmp_path)
    loaded = ur.Classifier.load(tmp_path)
    assert loaded.labels == ("sad", "happy", "angry")
    torch.testing.assert_close(loaded.probabilities(TEXTS), model.probabilities(TEXTS), rtol=0, atol=0)
    assert json.loads((tmp_path / "config.json").read_text())["task"] == "classify"
    with pytest.raises(ur.Error, match="a model for 'classify'; wanted one for 'language'"):
        ur.LanguageModel.load(tmp_path)


def test_a_long_text_is_read_up_to_its_limit():
    model = small(longest=4)
    long, short = model.probabilities(["hell" + "o" * 10**6, "hell"])
    torch.testing.assert_close(long, short, rtol=1e-5, atol=1e-6)
    assert small(longest=0).read("o" * 2000).shape == (2000,)


def test_no_texts_are_no_predictions():
    assert small().predict([]) == []
    with pytest.raises(TypeError, match="texts are one str"):
        small().predict("hello")


def test_many_texts_of_many_lengths_keep_their_places():
    texts = ["helo"[i % 4] * (i * 37 % 211) for i in range(400)]
    model = small()
    got = model.probabilities(texts)
    for i in (0, 1, 57, 399):
        torch.testing.assert_close(got[i], model.probabilities([texts[i]])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["a"], {}, "wanted at least two different"),
        (["a", "a"], {}, "wanted at least two different"),
        (["a", "b"], {"pooling": "sum"}, "pooling 'sum' is not one of last"),
        (["a", "b"], {"longest": -1}, "longest is -1"),
        (["a", "b"], {"word_dropout": 1.0}, "word_dropout is 1.0"),
        (["a", "b"], {"residual": 1}, "residual is 1; wanted True or False"),
        (["a", "b"], {"embedding_size": 0, "word_dropout": 0.1}, "give an embedding_size"),
        (["a", "b"], {"embedding_size": 0, "grams": 2}, "give an embedding_size"),
        (["a", "b"], {"grams": 0}, "grams is 0; wanted a number of symbols from 1 to 8"),
        (["a", "b"], {"grams": True}, "grams is True"),
    ],
)
def test_what_is_no_classifier_is_refused(labels, options, message):
    with pytest.raises(ur.Error, match=message):
        ur.Classifier(ur.Vocabulary("ab"), labels, **options)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", "ab"),
        ("labels", ["a", 1]),
        ("bidirectional", 1),
        ("pooling", []),
        ("longest", "x"),
        ("grams", 2.5),
    ],
)
def test_a_spoilt_config_is_refused(tmp_path, key, value):
    from unrolled.models import folder

    small().save(tmp_path)
    config, weights = folder.read(tmp_path)
    folder.write(tmp_path, {**config, key: value}, weights, {})
    with pytest.raises(ur.Error, match=key):
        ur.Classifier.load(tmp_path)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    "options", [{"layer_norm": True}, {"residual": True, "embedding_size": 5}], ids=str
)
def test_the_last_output_is_what_comes_after_norm_and_residual(bidirectional, options):
    model = small(pooling="last", bidirectional=bidirectional, **options)
    before = model.probabilities(["hello", "", "oh"])
    for text in ("hello", "oh"):
        torch.testing.assert_close(
            model(model.batch([model.read(text)]))[0], by_hand(model, text), rtol=1e-5, atol=1e-6
        )
    model.train()(model.batch([model.read("hello")])).sum().backward()
    assert all(p.grad is not None for p in model.layers.parameters())
    if "layer_norm" in options:
        with torch.no_grad():
            model.layers.norms[0].weight.mul_(3.0)
        after = model.probabilities(["hello", "", "oh"])
        assert not torch.equal(after[0], before[0])
        assert torch.equal(after[1], before[1])


def test_what_is_written_over_the_file_is_not_the_loaded_models(tmp_path):
    small().save(tmp_path)
    model = ur.Classifier.load(tmp_path)
    before = model.probabilities(["hello"])
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"\0" * weights.stat().st_size)
    assert torch.equal(model.probabilities(["hello"]), before)


def test_numpys_sizes_are_saved_and_labels_are_names(tmp_path):
    sizes = {"hidden_size": np.int64(5), "num_layers": np.int32(1), "dropout": np.float32(0.1)}
    small(**sizes).save(tmp_path)
    assert ur.Classifier.load(tmp_path).config["hidden_size"] == 5
    with pytest.raises(ur.Error, match=r"labels are \[1, 2\]; wanted names"):
        ur.Classifier(ur.Vocabulary("ab"), [1, 2])
    with pytest.raises(ur.Error, match="embedding_size is True; wanted a whole number"):
        small(embedding_size=True)


def test_a_model_whose_last_output_left_out_the_norm_is_refused(tmp_path):
    model = small(pooling="last", layer_norm=True)
    del model.config["pooled"]  # as it was saved before
    model.save(tmp_path)
    with pytest.raises(ur.Error, match="left out layer_norm"):
        ur.Classifier.load(tmp_path)
