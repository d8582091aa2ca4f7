"""However a letter was typed, composed or in parts, a model reads the same symbols."""

import unicodedata

import pytest
import torch

import unrolled as ur
from unrolled import see
from unrolled.cli import main
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

COMPOSED = "각 나라의 café, naïve 한글 Ångström. "
PARTS = unicodedata.normalize("NFD", COMPOSED)
PLAN = Plan(steps=3, validations=1)
SMALL = {"hidden_size": 6, "embedding_size": 4, "batch": 4}
UNITS = ["character", "grapheme", "syllable", "jamo", "word"]


def language(text, out, **options):
    train_language(text * 40, out, PLAN, Options(window=8, **SMALL, **options))
    return ur.LanguageModel.load(out)


@pytest.mark.parametrize("unit", UNITS)
def test_a_language_model_reads_both_spellings_alike(tmp_path, unit):
    assert PARTS != COMPOSED
    one = language(COMPOSED, tmp_path / "one", unit=unit)
    two = language(PARTS, tmp_path / "two", unit=unit)
    assert one.vocabulary == two.vocabulary
    assert one.vocabulary.normalize == "NFC"
    assert one.vocabulary.encode(PARTS).tolist() == one.vocabulary.encode(COMPOSED).tolist()
    if unit != "word":
        assert one.vocabulary.decode(one.vocabulary.encode(PARTS)) == COMPOSED
    for name, weights in one.state_dict().items():
        assert torch.equal(weights, two.state_dict()[name]), name
    written = ["".join(one.generate(text, 20, seed=1)) for text in (COMPOSED, PARTS)]
    assert written[0] == written[1]
    recordings = [see.record(one, text) for text in (COMPOSED, PARTS)]
    assert recordings[0].symbols == recordings[1].symbols
    assert torch.equal(recordings[0].hidden, recordings[1].hidden)


def test_a_text_as_it_is_and_another_form_can_be_chosen(tmp_path):
    plain = language(PARTS + COMPOSED, tmp_path / "plain", normalize="none")
    assert plain.vocabulary.normalize is None
    assert {"é", "\u0301", "각", "\u1100"} < set(plain.vocabulary.symbols)
    assert plain.vocabulary.decode(plain.vocabulary.encode(PARTS + COMPOSED)) == PARTS + COMPOSED
    parts = language(COMPOSED, tmp_path / "parts", normalize="NFD")
    assert set(parts.vocabulary.symbols) == set(PARTS)
    byte = language(PARTS, tmp_path / "byte", unit="byte")
    assert byte.vocabulary.decode(byte.vocabulary.encode(PARTS)) == PARTS
    with pytest.raises(ur.Error, match="normalize is 'nfc'; wanted NFC, NFD, NFKC, NFKD, or none"):
        language(COMPOSED, tmp_path / "wrong", normalize="nfc")


@pytest.mark.parametrize("unit", [*UNITS, "byte"])
def test_a_part_for_judging_begins_at_a_symbol(tmp_path, unit):
    """Of a text that has no space or letter at the place of nine tenths, but the middle of one."""
    text = "a b c d e f g h e\u0301e\u0301e\u0301e\u0301 abcdefgh"
    model = language(text, tmp_path, unit=unit, normalize="none")
    assert model.vocabulary.unknown is None
    assert len(model.vocabulary) > 8


def test_a_classifier_gives_both_spellings_one_label(tmp_path):
    texts = [(f"{word} {n}", label) for n in range(20) for word, label in (("각 é", "x"), ("나 a", "y"))]
    mixed = [
        Example(unicodedata.normalize("NFD" if i % 3 else "NFC", text), label)
        for i, (text, label) in enumerate(texts)
    ]
    train_classifier(mixed, tmp_path, PLAN, ClassifierOptions(**SMALL))
    model = ur.Classifier.load(tmp_path)
    assert "각" in model.vocabulary
    assert "\u0301" not in model.vocabulary
    composed, parts = model.predict(["각 é 5", unicodedata.normalize("NFD", "각 é 5")])
    assert composed == parts


def test_texts_side_by_side_are_not_one_letter(tmp_path):
    texts = [Example(text, label) for _ in range(20) for text, label in (("e", "x"), ("\u0301a", "y"))]
    train_classifier(texts, tmp_path, PLAN, ClassifierOptions(**SMALL))
    assert set(ur.Classifier.load(tmp_path).vocabulary.symbols) == {"e", "\u0301", "a", "<unknown>"}


def test_a_tagger_gives_both_spellings_one_tag(tmp_path):
    words = ["각", "café", "나라", "x"]
    both = [[unicodedata.normalize(form, word) for word in words] for form in ("NFC", "NFD")]
    sentences = [Sentence(tuple(both[i % 2]), ("A", "B", "A", "B")) for i in range(20)]
    train_tagger(sentences, tmp_path, PLAN, TaggerOptions(**SMALL, character_size=4))
    model = ur.Tagger.load(tmp_path)
    assert set(model.vocabulary.symbols) == {*words, "<unknown>"}
    composed, parts = (model(model.read([some])) for some in both)
    assert torch.equal(composed, parts)


def test_a_model_saved_before_there_was_a_choice_reads_as_it_did(tmp_path, monkeypatch):
    described = ur.Vocabulary.to_dict
    with monkeypatch.context() as older:
        older.setattr(
            ur.Vocabulary,
            "to_dict",
            lambda self: {k: v for k, v in described(self).items() if k != "normalize"},
        )
        ur.LanguageModel(ur.Vocabulary(PARTS + COMPOSED), hidden_size=4).save(tmp_path)
    assert "normalize" not in (tmp_path / "config.json").read_text()
    old = ur.LanguageModel.load(tmp_path)
    assert old.vocabulary.decode(old.vocabulary.encode(PARTS)) == PARTS


def test_the_command_reads_both_alike_through_an_index_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    sizes = "--steps 2 --hidden-size 4 --embedding-size 2 --window 8"
    for name, text in (("composed", COMPOSED), ("parts", PARTS)):
        (tmp_path / f"{name}.txt").write_text(text * 40)
        for how, more in (
            ("whole", ""),
            ("mapped", f"--index {name}.index"),
            ("plain", "--normalize none"),
        ):
            command = f"unrolled train language {name}.txt --out {name}-{how} {sizes} {more}"
            monkeypatch.setattr("sys.argv", command.split())
            with pytest.raises(SystemExit) as exited:
                main()
            assert exited.value.code == 0, capsys.readouterr().err
    read = {
        path.name: ur.LanguageModel.load(path).vocabulary
        for path in tmp_path.iterdir()
        if (path / "config.json").exists()
    }
    assert set(read["composed-whole"].symbols) == set(COMPOSED)
    assert read["composed-whole"] == read["parts-whole"]
    assert read["composed-mapped"] == read["parts-mapped"]
    assert read["composed-mapped"].normalize == "NFC"
    assert set(read["parts-plain"].symbols) == set(PARTS)
