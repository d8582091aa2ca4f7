import pytest
import torch

import unrolled as ur
from unrolled import see
from unrolled.models import LanguageModel


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LanguageModel(ur.Vocabulary("helo $\n가\x07"), hidden_size=3, embedding_size=2)


def test_a_recording_is_the_models_own_reading(model):
    text = "hello\nhello"
    recording = see.record(model, text)
    model.eval()
    batch = model.vocabulary.encode([text])
    hidden, _ = model.hidden(batch)
    logits, _ = model(batch.indices)
    torch.testing.assert_close(recording.hidden, hidden[0])
    torch.testing.assert_close(recording.probabilities, logits[0].softmax(-1))
    assert recording.symbols == tuple(text)


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.PDF"])
def test_a_picture_is_drawn_in_each_format(model, tmp_path, name):
    see.draw(see.record(model, "hello $hello$\n\x07"), tmp_path / name, "title")
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[name[-3:].lower()]
    content = (tmp_path / name).read_bytes()
    assert content.startswith(begins)
    assert len(content) > 5000


def test_a_picture_shows_what_was_recorded(model, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, buffer, **options: figures.append(figure))
    recording = see.record(model, "hello")
    see.draw(recording, tmp_path / "a.png")
    above, below = figures[0].axes[:2]
    torch.testing.assert_close(torch.tensor(above.images[0].get_array().data), recording.hidden.T)
    assert [t.get_text() for t in above.get_xticklabels()] == list("hello")
    assert f"{recording.hidden[4, 2]:.2f}" in [t.get_text() for t in above.texts]
    top = recording.probabilities.topk(5).values.T
    torch.testing.assert_close(torch.tensor(below.images[0].get_array().data), top)


def test_the_overview_is_of_the_layer_that_is_asked_for(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, buffer, **options: figures.append(figure))
    torch.manual_seed(0)
    recording = see.record(ur.LanguageModel(ur.Vocabulary("helo"), hidden_size=3, num_layers=2), "hello")
    for layer in (0, 1, -1, -2):
        see.draw(recording, tmp_path / "a.png", layer=layer)
        drawn = torch.tensor(figures[-1].axes[0].images[0].get_array().data)
        torch.testing.assert_close(drawn, recording.layers[layer].states["h"].T, rtol=1e-5, atol=1e-6)
    with pytest.raises(ur.Error, match="layer is 2"):
        see.draw(recording, tmp_path / "a.png", layer=2)


def test_what_no_font_has_is_labelled_with_its_code_point():
    from unrolled.see.picture import fonts

    families, label = fonts(["A", "\U0010fffd"])
    assert not any(family.startswith("Last Resort") for family in families)
    assert (label("A"), label("\U0010fffd")) == ("A", "10FFFD")


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "a.png", "the text is empty"),
        ("hex", "a.png", "symbol 'x'"),
        ("hello", "a.jpeg", "pictures are .png, .svg, .pdf"),
        ("h" * 401, "a.png", "at most 400 symbols"),
    ],
)
def test_what_cannot_be_drawn_is_refused(model, tmp_path, text, name, message):
    with pytest.raises(ur.Error, match=message):
        see.draw(see.record(model, text), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_it_says_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ur.Error, match=r"pip install 'unrolled\[plot\]'"):
        see.check_picture(tmp_path / "a.png", 3)
