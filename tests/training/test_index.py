import pytest
import torch

from unrolled.text import Index, Vocabulary
from unrolled.training import Options, Plan, train_language
from unrolled.training.language import LARGEST_VALIDATION, numbers

TEXT = "the cat sat on the mat and the dog sat on the log\n" * 60


def test_training_through_an_index_is_training_on_the_text(tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "t.txt"
    file.write_text(TEXT)
    options = Options(hidden_size=8, embedding_size=4, batch=4, window=16)
    in_order = Index.build(file, vocabulary=Vocabulary(TEXT))
    plan = Plan(steps=6, validations=2)
    one = train_language(TEXT, tmp_path / "one", plan, options)
    two = train_language(in_order, tmp_path / "two", plan, options)
    assert one.best == pytest.approx(two.best, abs=1e-3)


def test_a_huge_index_keeps_a_bounded_part_for_judging(tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("unrolled.training.language.LARGEST_VALIDATION", 100)
    assert LARGEST_VALIDATION == 1_000_000
    file = tmp_path / "t.txt"
    file.write_text(TEXT)
    index = Index.build(file)
    known, judged = numbers(index.vocabulary, index, None, Options())
    assert len(judged) == 100
    assert torch.equal(torch.cat([known, judged]), torch.from_numpy(index.numbers))
