"""Files as text: what is read, and what is refused."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

import unrolled as ur
from unrolled.text import reading
from unrolled.text.corpus import read_text

TEXT = "안녕, 세계!\r\nsecond line\rstill the second\n\n\u2028no line feed at the end"
PACKED = gzip.compress(b"hello" * 99, mtime=0)


@pytest.mark.parametrize("block", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_blocks_of_any_size_are_the_text_to_the_character(tmp_path, monkeypatch, block, mark):
    if mark and block < len(mark):
        block = len(mark)
    monkeypatch.setattr(reading, "BLOCK", block)
    (tmp_path / "a.txt").write_bytes(mark + TEXT.encode())
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(mark + TEXT.encode()))
    for name in ("a.txt", "a.txt.gz"):
        assert read_text(tmp_path / name) == TEXT
        assert list(reading.read_lines(tmp_path / name)) == [
            "안녕, 세계!\r\n",
            "second line\rstill the second\n",
            "\n",
            "\u2028no line feed at the end",
        ]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), min_size=1))
def test_any_text_is_read_as_it_was_written(tmp_path_factory, text):
    place = tmp_path_factory.mktemp("text") / "a.txt"
    place.write_bytes(text.encode())
    assert read_text(place) == text
    assert "".join(reading.read_lines(place)) == text


def test_reading_reports_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 4)
    place = tmp_path / "a.txt"
    place.write_bytes(b"0123456789")
    seen = []
    read_text(place, lambda done, size: seen.append((done, size)))
    assert seen == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b"ab\xe9cd", r"not UTF-8 text \(byte 2 is 0xe9\); convert it"),
        ("a.txt", b"\xef\xbb\xbfab\xff", r"byte 5 is 0xff"),
        ("a.txt", b"ab\xea\xb0", r"byte 2 is 0xea"),
        ("a.txt", b"ab\0c", "NUL character at position 2"),
        ("a.txt.gz", b"not gzip", "cannot read .*a.txt.gz: Not a gzipped file"),
        ("a.txt.gz", PACKED[:-9], "cannot read .*: Compressed file ended"),
        ("a.txt.gz", PACKED[:10] + b"\xff" * 9, "cannot read .*: Error -3"),
    ],
)
@pytest.mark.parametrize("block", [4, 1 << 20])
def test_what_is_no_text_is_refused(tmp_path, monkeypatch, name, content, message, block):
    monkeypatch.setattr(reading, "BLOCK", block)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ur.Error, match=message):
        read_text(tmp_path / name)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ur.Error, match=r"cannot read .*none\.txt: No such file"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(ur.Error, match="Is a directory"):
        read_text(tmp_path)
