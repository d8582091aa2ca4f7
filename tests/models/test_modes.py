"""What predicting and writing leave as it was: the mode of every part, whoever else asks meanwhile."""

import threading

import pytest
import torch

import unrolled as ur
from unrolled.models.base import evaluating


@pytest.fixture
def writer():
    torch.manual_seed(0)
    return ur.LanguageModel(ur.Vocabulary("abcdefgh \n"), "gru", 16, embedding_size=8, dropout=0.5).train()


@pytest.fixture
def judge():
    torch.manual_seed(0)
    return ur.Classifier(ur.Vocabulary("ab"), ["x", "y"], hidden_size=6, embedding_size=3, dropout=0.5)


def test_two_writers_at_once(writer):
    wanted = "".join(writer.generate("a", 30, temperature=0))
    first, second = writer.generate("a", 2, temperature=0), writer.generate("a", 30, temperature=0)
    found = [next(first), next(second)]
    assert writer.training
    found += [*first]
    assert found[1] + "".join(second) == wanted
    assert all(part.training for part in writer.modules())


def test_each_part_keeps_its_own_mode(judge, writer):
    judge.train().layers.eval()
    writer.dropout.eval()
    before = [part.training for model in (judge, writer) for part in model.modules()]
    judge.predict(["ab"])
    list(writer.generate("a", 3))
    with pytest.raises(ur.Error):
        judge.predict(["z"])
    assert [part.training for model in (judge, writer) for part in model.modules()] == before


def test_many_threads_ask_one_model_that_is_in_training(judge):
    wanted = judge.eval().probabilities(["abab", "b"])
    judge.train()
    wrong = []

    def run():
        for _ in range(60):
            if not torch.equal(judge.probabilities(["abab", "b"]), wanted):
                wrong.append(1)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(part.training for part in judge.modules())


def test_the_k_likeliest_are_no_more_where_some_are_as_likely(writer):
    for parameter in writer.parameters():
        torch.nn.init.zeros_(parameter)
    assert len(set(writer.generate("a", 40, top_k=3, seed=1))) == 3
    assert len(set(writer.generate("a", 40, top_k=1, seed=1))) == 1


def test_a_huge_temperature_draws_evenly(writer):
    for parameter in writer.parameters():
        torch.nn.init.zeros_(parameter)
    assert len(set(writer.generate("a", 40, temperature=1e39, top_k=2, seed=1))) == 2


def test_within_a_block_it_is_in_evaluation_mode_whatever_has_been_said(judge):
    judge.train()
    with evaluating(judge):
        judge.train()
        with evaluating(judge):
            assert not any(part.training for part in judge.modules())
    assert all(part.training for part in judge.modules())

    def interrupted():
        raise KeyboardInterrupt

    judge.layers.train = lambda *_: interrupted()
    with pytest.raises(KeyboardInterrupt), evaluating(judge):
        pass
    del judge.layers.train
    judge.train()
    with evaluating(judge):
        assert not any(part.training for part in judge.modules())
    assert judge.training
