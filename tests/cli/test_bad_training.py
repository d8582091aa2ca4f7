"""Training data that is wrong, or odd: one sentence and status 2, or a model all the same."""

import json
import shlex
import shutil

import pytest

from unrolled.training import checkpoint

SIZES = ["--hidden-size", 4, "--batch", 4, "--steps", 3, "--validations", 1, "--checkpoint-every", 1e-9]
GOOD = "text,label\n" + "a b,x\nb c,y\n" * 10
SENTENCES = "a\tA\nb\tB\n\n" * 10
TEXT = "the quick brown fox\n" * 20
CLASSIFY = ["--text", "text", "--label", "label"]
REFUSED = {
    "one class": (
        "classify",
        {"t.csv": "text,label\n" + "a,x\n" * 20},
        CLASSIFY,
        "all 18 texts have the label 'x'; wanted at least two labels",
    ),
    "one class of those named": (
        "classify",
        {"t.csv": GOOD},
        [*CLASSIFY, "--labels", "x"],
        "all 9 texts have the label 'x'; wanted at least two labels",
    ),
    "a label named that no row has": (
        "classify",
        {"t.csv": GOOD},
        [*CLASSIFY, "--labels", "x,z"],
        "t.csv: no row has the label 'z'; it has x, y",
    ),
    "labels that training never saw": (
        "classify",
        {"t.csv": GOOD, "v.csv": "text,label\na,x\nb,w\nc,w\n"},
        [*CLASSIFY, "--validation", "v.csv"],
        "validation: 2 text(s) have the label 'w', which no text to train on has",
    ),
    "no such column": (
        "classify",
        {"t.csv": GOOD},
        ["--text", "texts", "--label", "label"],
        "t.csv has no column 'texts'; its first line has text, label",
    ),
    "no column of that number": (
        "classify",
        {"t.csv": GOOD},
        ["--text", "1", "--label", "3"],
        "t.csv has no column 3; its first line has 2, numbered from 1",
    ),
    "no such column in the other table": (
        "classify",
        {"t.csv": GOOD, "v.csv": "text,class\na,x\n"},
        [*CLASSIFY, "--validation", "v.csv"],
        "v.csv has no column 'label'; its first line has text, class",
    ),
    "no such column of JSON": (
        "classify",
        {"t.jsonl": '{"text": "a"}\n'},
        CLASSIFY,
        "t.jsonl, line 1: no column 'label'; it has text",
    ),
    "rows without a label": (
        "classify",
        {"t.csv": GOOD + "b,\na, \n"},
        CLASSIFY,
        "rows have no 'label', row",
    ),
    "nothing but empty texts": (
        "classify",
        {"t.csv": "text,label\n" + '"",x\n"",y\n' * 10},
        CLASSIFY,
        "no symbol occurs 2 times in the texts; wanted texts with symbols",
    ),
    "one text": (
        "classify",
        {"t.csv": "text,label\na,x\n"},
        CLASSIFY,
        "1 examples are too few to keep a part for validation",
    ),
    "no such unit": (
        "classify",
        {"t.csv": GOOD},
        [*CLASSIFY, "--unit", "letters"],
        "unit is 'letters'; wanted one of character, grapheme",
    ),
    "one tag": ("tag", {"t.tsv": "a\tA\n\n" * 20}, [], "with 1 different tags"),
    "no tags": ("tag", {"t.tsv": "a\nb\n"}, [], "t.tsv, line 1: 'a' is not a word and its tag"),
    "no sentences": ("tag", {"t.tsv": "\n\n"}, [], "t.tsv has no sentences"),
    "no such column of CoNLL-U": (
        "tag",
        {"t.conllu": "1\ta" + "\t_" * 8 + "\n"},
        ["--column", "POS"],
        "'POS' is not a column of CoNLL-U; wanted one of ID, FORM",
    ),
    "an empty text": ("language", {"t.txt": ""}, [], "t.txt is empty"),
    "a text of one symbol": ("language", {"t.txt": "a"}, [], "fewer than one window"),
    "symbols that training never saw": (
        "language",
        {"t.txt": TEXT, "v.txt": "the fox é"},
        ["--validation", "v.txt", "--window", 8],
        "validation: symbol 'é' (U+00E9) at position 8 is not among the 17 symbols of the vocabulary; "
        "leave it out, or let rare symbols be read as unknown (least 2)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(refused, tmp_path, name):
    command, files, options, message = REFUSED[name]
    for file, content in files.items():
        (tmp_path / file).write_text(content)
    assert message in refused("train", command, next(iter(files)), "--out", "m", *SIZES, *options)


RESUMED = {
    "language": ({"t.txt": TEXT, "other": TEXT + "!"}, ["--window", 8]),
    "classify": ({"t.csv": GOOD, "other": GOOD + "c,y\n"}, CLASSIFY),
    "tag": ({"t.tsv": SENTENCES, "other": SENTENCES + "b\tA\n"}, []),
}


@pytest.mark.parametrize("command", RESUMED)
def test_a_resume_with_other_data_or_settings_is_refused(accepted, refused, tmp_path, monkeypatch, command):
    (name, content), (_, other) = RESUMED[command][0].items()
    (tmp_path / name).write_text(content)
    arguments = ["train", command, name, "--out", "m", *SIZES, *RESUMED[command][1]]
    assert "m has no checkpoint to resume from" in refused(*arguments, "--resume")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "remove", lambda folder: None)  # the run stays as if it were unfinished
        accepted(*arguments)
    finished = ["finished" if a == "m" else a for a in arguments]
    accepted(*finished)
    assert "but a model: its run is finished" in refused(*finished, "--resume")
    for options, message in (
        (["--hidden-size", 8], "had hidden_size 4, and this call has 8; resume with the same data and set"),
        (["--steps", 9], "had steps 3, and this call has 9"),
        (["--seed", 1], "had seed 0, and this call has 1"),
        (["--cell", "min_gru"], "and this call has min_gru"),
        (["--bfloat16"], "had bfloat16 False, and this call has True"),
        (["--zoneout", 0.5], "had zoneout 0.0, and this call has 0.5"),
    ):
        assert message in refused(*arguments, *options, "--resume")
    assert "holds an unfinished run; say --resume to go on" in refused(*arguments)
    (tmp_path / name).write_text(other)
    assert "the run to resume was on other data; give the same files" in refused(*arguments, "--resume")
    for task, (files, options) in RESUMED.items():
        if task != command:
            file, content = next(iter(files.items()))
            (tmp_path / file).write_text(content)
            another = ["train", task, file, "--out", "m", *SIZES, *options, "--resume"]
            assert f"had task {command}, and this call has {task}" in refused(*another)


def test_empty_and_endless_texts_are_texts(accepted, refused, tmp_path):
    endless = "a b c d " * (1 << 17)
    (tmp_path / "t.csv").write_text(GOOD + f'"",x\n{endless},y\n' * 2)
    accepted("train", "classify", "t.csv", "--out", "m", *SIZES, *CLASSIFY)
    (tmp_path / "texts").write_text(f"\n{endless}\n")
    rows = [json.loads(line) for line in accepted("predict", "m", "--file", "texts", "--json").splitlines()]
    assert [len(row["text"]) for row in rows] == [0, len(endless)]
    assert all(row["label"] in "xy" and 0.5 <= row["probability"] <= 1 for row in rows)
    (tmp_path / "texts").write_bytes("a\r\n\r\nb\u2028b\x0cb\r\n".encode())
    printed = accepted("predict", "m", "--file", "texts", "--json")
    rows = [json.loads(line) for line in printed.rstrip("\n").split("\n")]
    assert [row["text"] for row in rows] == ["a", "", "b\u2028b\x0cb"]
    (tmp_path / "v.csv").write_text('text,label\n"",x\na,w\n')
    message = "evaluation: 1 text(s) have the label 'w', which the model does not know; it has x, y"
    assert message in refused("evaluate", "m", "v.csv", *CLASSIFY)


def test_a_word_of_a_million_letters_and_a_tag_that_is_new(accepted, tmp_path):
    (tmp_path / "t.tsv").write_text(SENTENCES)
    accepted("train", "tag", "t.tsv", "--out", "m", *SIZES)
    assert accepted("predict", "m", "").strip() == ""
    assert accepted("predict", "m", "b" * 10_000).startswith("b")
    (tmp_path / "v.tsv").write_text("a\tNEW\n" * 3 + SENTENCES)
    known = len(SENTENCES.split()) // 2
    report = json.loads(accepted("evaluate", "m", "v.tsv", "--json"))
    assert (report["unknown"], report["words"]) == (3, known + 3)
    assert report["accuracy"] <= known / (known + 3)
    assert "3 of them have a tag that the model does not know" in accepted("evaluate", "m", "v.tsv")


def test_tags_of_another_column(accepted, refused, tmp_path):
    words = [(f"{letter}{i}", letter.upper(), f"x{letter}") for i in range(30) for letter in "ab"]
    rows = ["\t".join([str(n % 3 + 1), w, w, *tags, *["_"] * 5]) for n, (w, *tags) in enumerate(words)]
    lines = [row + "\n" * (1 + (n % 3 == 2)) for n, row in enumerate(rows)]
    (tmp_path / "t.conllu").write_text("".join(lines) + "\n")
    printed = accepted("train", "tag", "t.conllu", "--column", "XPOS", "--out", "m m", *SIZES)
    last = shlex.split(printed.strip().splitlines()[-1])
    assert last == ["unrolled", "evaluate", "m m", "FILE", "--column", "XPOS", "--train", "t.conllu"]
    assert "accuracy" in accepted(*["t.conllu" if word == "FILE" else word for word in last[1:]])
    assert "label xa" in accepted("units", "m m", "t.conllu", "--column", "XPOS", "--draws", 2)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    message = "the model knows none of the tags (A, B); it has xa, xb: name the column"
    assert message in refused("evaluate", "m m", "t.conllu")


def test_the_only_row_of_a_label_is_trained_on(accepted, tmp_path):
    rows = "".join(f"{letter}{i},{letter}\n" for i in range(20) for letter in "xy")
    (tmp_path / "t.csv").write_text("text,label\n" + rows + "odd,once\n")
    for seed in range(12):
        accepted("train", "classify", "t.csv", *CLASSIFY, "--out", f"m{seed}", *SIZES, "--seed", seed)


def test_a_prediction_is_one_line(accepted, tmp_path):
    rows = "".join(f"{letter}{i},{letter}\n" for i in range(20) for letter in "xy")
    (tmp_path / "t.csv").write_text("text,label\n" + rows)
    accepted("train", "classify", "t.csv", *CLASSIFY, "--out", "m", *SIZES)
    assert accepted("predict", "m", "a\tb\nc  d").split("\t", 2)[2] == "a b c  d\n"
