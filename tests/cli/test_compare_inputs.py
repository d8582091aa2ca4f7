import re
import sys

import pytest

from unrolled.cli import main


def test_the_table_has_a_row_for_each_input_with_intervals(tmp_path, monkeypatch, capsys):
    texts = [
        f"{word} film {other}\t{label}\n"
        for word, label in (("good", "yes"), ("bad", "no"), ("odd", "other"))
        for other in ("here", "there", "now", "then", "seen") * 6
    ]
    (tmp_path / "t.tsv").write_text("text\tlabel\n" + "".join(texts))
    options = "--text text --label label --labels yes,no --seeds 2 --steps 6 --width 6 --hidden-size 8"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["unrolled", "compare-inputs", "t.tsv", *options.split()])
    with pytest.raises(SystemExit) as exited:
        main()
    printed, said = capsys.readouterr()
    assert exited.value.code == 0, said
    assert "t.tsv: 60 texts" in printed
    assert "8 units each way, width 6, 6 steps" in printed
    for name in ("one-hot", "learned", "Word2Vec", "GloVe"):
        row = re.search(
            rf"{name}\W+([01]\.\d{{4}})\W+(\d+\.\d{{4}})\W+([01]\.\d{{4}})\W+(\d+\.\d{{4}})", printed
        )
        assert row is not None, printed
        assert 0 <= float(row[1]) <= 1
        assert said.count(f"training with {name}") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["t.tsv"]
