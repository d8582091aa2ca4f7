"""show and units, as a user runs them."""

import json
import sys

import pytest
import torch

import unrolled as ur
from unrolled.cli import main
from unrolled.models import Classifier, LanguageModel

TEXT = "Once (or twice),\nhe said “no” in 1984.\n\nThen he left (quickly).\n" * 5


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Runs the command in an empty folder; gives what it printed, and its status."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["unrolled", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        printed, errors = capsys.readouterr()
        return printed, errors, exited.value.code or 0

    return run


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    LanguageModel(ur.Vocabulary(TEXT), hidden_size=6, num_layers=2, embedding_size=3).save(
        tmp_path / "model"
    )
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def classifier(tmp_path):
    torch.manual_seed(0)
    vocabulary = ur.Vocabulary("hapysd ", unknown="?")
    Classifier(vocabulary, ["sad", "happy"], hidden_size=5, embedding_size=3, longest=8).save(
        tmp_path / "model"
    )
    rows = "text\tmood\n" + "happy day\thappy\nsad\tsad\n\tsad\n" * 20
    (tmp_path / "table.tsv").write_text(rows, encoding="utf-8")
    return tmp_path


def test_show_writes_a_page_with_passages(model, command):
    printed, _, status = command("show", "model", "he said", "--reference", "text.txt")
    assert status == 0
    assert "wrote page.html" in printed
    html = (model / "page.html").read_text(encoding="utf-8")
    assert "model: he said" in html
    assert f"all {len(TEXT)} characters read" in html
    command("show", "model", "he", "-o", "b.html", "--reference", "text.txt", "--reference-limit", 50)
    assert "the first 50 characters read" in (model / "b.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("figure", ["overview", "text", "next", "states", "gates", "path"])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_each_figure_is_drawn(model, command, figure, ending):
    options = ["-o", f"a.{ending}", "--figure", figure, "--layer", 0, "--unit", 5]
    _, errors, status = command("show", "model", "he said\n“no”", *options)
    assert status == 0, errors
    assert len((model / f"a.{ending}").read_bytes()) > 4000


def test_units_prints_rankings(model, command):
    printed, _, status = command("units", "model", "text.txt", "--draws", 5, "--limit", 200)
    assert status == 0
    assert f"read 200 of {len(TEXT)} characters as one stream; 5 shifted controls" in printed
    for name in (
        "position in line",
        "inside brackets",
        "inside quotes",
        "capital",
        "digit",
        "word boundary",
    ):
        assert f"\n{name} (" in printed
    assert "AUC" in printed
    found = json.loads(command("units", "model", "text.txt", "--draws", 5, "--json", "--examples", 2)[0])
    assert found["read"] == len(TEXT)
    assert found["whole"] is True
    for track in found["tracks"]:
        low, high = track["control"]
        assert 0 <= low <= high <= 1
        scores = [abs(unit["score"]) for unit in track["units"]]
        assert scores == sorted(scores, reverse=True)
        assert len(track["units"][0]["examples"]) == 2
        assert {unit["layer"] for unit in track["units"]} <= {0, 1}


def test_a_classifier_is_shown_and_its_labels_are_tracked(classifier, command):
    printed, errors, status = command("show", "model", "happy, sad and gone")
    assert status == 0, errors
    html = (classifier / "page.html").read_text(encoding="utf-8")
    assert "8 symbols read" in html  # the model's own limit
    assert '"labels":["sad","happy"]' in html
    assert command("show", "model", "happy", "-o", "a.png", "--figure", "path")[2] == 0
    _, errors, status = command("show", "model", "happy", "-o", "a.png", "--figure", "next")
    assert status == 2
    assert "predicts no symbols" in errors
    arguments = ["units", "model", "table.tsv", "--text", "text", "--label", "mood", "--draws", 5]
    printed, errors, status = command(*arguments)
    assert status == 0, errors
    assert "read 40 of 60 rows (220 symbols), each from its beginning" in printed
    assert "\nlabel happy (" in printed


def test_a_tagger_is_shown_and_its_tags_are_tracked(tmp_path, command):
    torch.manual_seed(0)
    words, letters = ur.Vocabulary(["the", "fox", "?"], unknown="?"), ur.Vocabulary("thefox?", unknown="?")
    ur.Tagger(words, letters, ["DET", "NOUN"], hidden_size=5).save(tmp_path / "model")
    (tmp_path / "tagged.txt").write_text("the DET\nfox NOUN\n\nFox NOUN\nthe DET\nfox NOUN\n\n" * 20)
    _, errors, status = command("show", "model", "the fox saw the fox")
    assert status == 0, errors
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '"labels":["DET","NOUN"]' in html
    assert "5 symbols read" in html
    assert command("show", "model", "the fox", "-o", "a.png", "--figure", "path")[2] == 0
    printed, errors, status = command("units", "model", "tagged.txt", "--draws", 5, "--limit", 60)
    assert status == 0, errors
    assert "read 8 of 40 sentences (20 words), each from its beginning" in printed
    assert "\nlabel NOUN (" in printed
    _, errors, status = command("units", "model", "tagged.txt", "--text", "1")
    assert status == 2
    assert "tagged sentences" in errors


def test_a_classifiers_path_is_of_what_it_takes_each_beginning_for(classifier):
    model = Classifier.load(classifier / "model")
    recording = ur.see.record(model, "happy?")
    expected = model.probabilities(["happy?"[:n] for n in range(1, 7)])
    torch.testing.assert_close(recording.label_probabilities, expected, rtol=1e-5, atol=1e-6)
    assert recording.symbols == tuple("happy?")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "model", ""], "the text is empty"),
        (["show", "model", "xyz"], "symbol 'x' (U+0078) at position 0"),
        (["show", "model", "h" * 2001], "at most 2,000 symbols"),
        (["show", "model", "h" * 401, "-o", "a.png"], "at most 400 symbols"),
        (["show", "model", "he", "-o", "/proc/nowhere/a.html"], "cannot write /proc/nowhere"),
        (["show", "model", "he", "-o", "a.gif"], "pictures are .png"),
        (["show", "model", "he", "-o", "a.png", "--figure", "x"], "figure 'x' is not one of overview"),
        (["show", "model", "he", "-o", "a.png", "--figure", "gates", "--unit", "6"], "unit is 6"),
        (["show", "model", "he", "-o", "a.html", "--unit", "6"], "unit is 6"),
        (["show", "model", "he", "-o", "a.png", "--figure", "states", "--layer", "2"], "layer is 2"),
        (["show", "model", "he", "-o", "a.png", "--layer", "2"], "layer is 2"),
        (["show", "model", "he", "-o", "a.html", "--layer", "1"], "--layer is for pictures"),
        (["units", "model", "text.txt", "--seed", str(10**30)], "units: seed is 10000"),
        (["show", "model", "he", "--reference", "nowhere"], "cannot read nowhere"),
        (["show", "model", "he", "--reference", "model/config.json"], "symbol '{'"),
        (
            ["show", "model", "he", "--reference", "text.txt", "--reference-limit", "0"],
            "--reference-limit is 0",
        ),
        (["show", ".", "he"], "is not a model"),
        (["units", "nowhere", "text.txt"], "nowhere is not a folder"),
        (["units", "model", "nowhere"], "cannot read nowhere"),
        (["units", "model", "model/config.json"], "symbol '{'"),
        (["units", "model", "text.txt", "--limit", "0"], "--limit is 0"),
        (["units", "model", "text.txt", "--limit", "9"], "wanted at least 40"),
        (["units", "model", "text.txt", "--best", "0"], "best=0"),
        (["units", "model", "text.txt", "--label", "x"], "with --text"),
        (["units", "model", "text.txt", "--text", "x"], "no column 'x'"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_status_2(model, command, arguments, message):
    before = sorted(path.name for path in model.iterdir())
    printed, errors, status = command(*arguments)
    assert status == 2
    assert message in errors
    assert errors.startswith("unrolled: ")
    assert errors.count("\n") == 1
    assert printed == ""
    assert sorted(path.name for path in model.iterdir()) == before
