"""Tables with named columns."""

import gzip

import pytest

import unrolled as ur
from unrolled.text.table import read_columns

ROWS = [("좋아요", "1"), ("", "0"), ('he said "no"', "0")]
TABLES = {
    "a.tsv": 'id\ttext\tlabel\n1\t좋아요\t1\n2\t\t0\n\n3\the said "no"\t0\n',
    "windows.tsv": '\ufeffid\ttext\tlabel\r\n1\t좋아요\t1\r\n2\t\t0\r\n3\the said "no"\t0',
    "a.csv": 'id,text,label\n1,좋아요,1\n2,,0\n3,"he said ""no""",0\n',
    "windows.csv": 'id,text,label\r\n1,"좋아요",1\r\n2,,0\r\n3,"he said ""no""",0\r\n',
    "a.jsonl": '{"text": "좋아요", "label": 1}\n\n{"label": 0, "text": null}\n'
    '{"text": "he said \\"no\\"", "label": "0"}\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_each_form_gives_the_same_rows(tmp_path, name):
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8", newline="")
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(TABLES[name].encode()))
    assert read_columns(tmp_path / name, ["text", "label"]) == ROWS
    assert read_columns(tmp_path / f"{name}.gz", ["text", "label"]) == ROWS
    assert read_columns(tmp_path / name, ["label"]) == [row[1:] for row in ROWS]


def test_columns_by_number_have_no_first_line(tmp_path):
    (tmp_path / "a.tsv").write_text("fine\t4\tx1\nbad\t2\tx2\n")
    assert read_columns(tmp_path / "a.tsv", ["2", "1"]) == [("4", "fine"), ("2", "bad")]


def test_a_quoted_cell_may_hold_lines_and_be_long(tmp_path):
    long = "x" * 200_000
    (tmp_path / "a.csv").write_text(f'text,label\n"two\nlines, one cell",1\n{long},0\n')
    assert read_columns(tmp_path / "a.csv", ["text"]) == [("two\nlines, one cell",), (long,)]


REFUSED = [
    (
        "a.tsv",
        "text\tlabel\na\t1\n",
        ["text", "stars"],
        r"no column 'stars'; its first line has text, label",
    ),
    ("a.tsv", "text\ttext\na\t1\n", ["text"], "more than one column 'text'"),
    ("a.tsv", "a\t1\n", ["3"], "no column 3; its first line has 2, numbered from 1"),
    ("a.tsv", "a\t1\n", ["0"], "no column 0"),
    ("a.tsv", "text\tlabel\na\t1\nb\n", ["text"], "line 3: 1 columns; wanted 2, as in the first line"),
    ("a.csv", "text,label\na,1\nb,2,3\n", ["text"], "line 3: 3 columns; wanted 2"),
    ("a.csv", 'text,label\n"a,1\nb,2\n', ["text"], "line 3: not CSV: unexpected end of data"),
    ("a.csv", 'text,label\n"a"b,1\n', ["text"], "line 2: not CSV"),
    ("a.tsv", "text\tlabel\n", ["text"], "a.tsv has no rows"),
    ("a.csv", "", ["text"], "a.csv has no rows"),
    ("a.csv", "\n\n", ["1"], "a.csv has no rows"),
    ("a.jsonl", "", ["text"], "a.jsonl has no rows"),
    ("a.jsonl", '{"text": "a"}\n{"txt": "b"}\n', ["text"], "line 2: no column 'text'; it has txt"),
    ("a.jsonl", '{"text": "a"}\n{"text": \n', ["text"], "line 2: not JSON"),
    ("a.jsonl", "[" * 100_000, ["text"], "line 1: not JSON"),
    ("a.jsonl", "[1]\n", ["text"], "line 1: not a JSON object"),
    ("a.jsonl", '{"text": ["a"]}\n', ["text"], "line 1: column 'text' is not a text"),
    ("a.xlsx", "x", ["text"], r"tables are \.tsv, \.csv or \.jsonl"),
    ("a.tsv", "text\na\n", [], "at least one name"),
    ("a.tsv", "text\na\n", "text", "wanted a list"),
]


@pytest.mark.parametrize(("name", "content", "columns", "message"), REFUSED)
def test_a_wrong_table_is_refused_in_one_sentence(tmp_path, name, content, columns, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ur.Error, match=message) as caught:
        read_columns(tmp_path / name, columns)
    assert "\n" not in str(caught.value)


def test_bad_utf8_is_refused_with_its_place(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"text\nok\n\xff\n")
    with pytest.raises(ur.Error, match="byte 8 is 0xff"):
        read_columns(tmp_path / "a.tsv", ["text"])


def test_the_film_reviews(data):
    rows = read_columns(data / "nsmc" / "ratings_train.txt.gz", ["document", "label"])
    assert len(rows) == 150_000
    assert rows[0] == ("아 더빙.. 진짜 짜증나네요 목소리", "0")
    assert {label for _, label in rows} == {"0", "1"}


def test_the_emotions(data):
    rows = read_columns(data / "goemotions" / "ekman" / "train.tsv", ["1", "2"])
    assert len(rows) == 43_410
    assert sum(label == "4" for _, label in rows) > 12_000
