"""unrolled export, as a user runs it."""

import sys

import pytest
import torch

import unrolled as ur
from unrolled.cli import main

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Runs the command in an empty folder: (exit status, printed, errors)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unrolled", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        return exited.value.code, *capsys.readouterr()

    return run


def test_a_saved_model_becomes_a_file(command, tmp_path):
    torch.manual_seed(0)
    ur.LanguageModel(ur.Vocabulary("abc"), hidden_size=4).save(tmp_path / "model")
    status, printed, errors = command("model", "model.onnx")
    assert (status, errors) == (0, "")
    assert "indices, lengths, h, c -> logits, h_n, c_n; onnxruntime differs by" in printed
    (recurrent,) = ur.export.layers(tmp_path / "model.onnx").values()
    assert isinstance(recurrent, ur.LSTM)


def test_a_users_mistake_is_one_sentence(command, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    ur.LanguageModel(ur.Vocabulary("abc"), hidden_size=4).save(tmp_path / "model")
    for arguments, message in (
        (("nowhere", "x.onnx"), "unrolled: nowhere is not a folder"),
        (("model", "x.pt"), "unrolled: x.pt: wanted a file name that ends in .onnx"),
        (("model", "file/x.onnx"), "unrolled: cannot write file"),
    ):
        status, _, errors = command(*arguments)
        assert status == 2
        assert errors.startswith(message)
        assert errors.count("\n") == 1
