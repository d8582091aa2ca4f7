"""Vocabularies of corpora, and what a vocabulary's options do."""

import gzip
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import unrolled as ur
from unrolled.text import counting, reading
from unrolled.text.units import UNITS, make_unit

TEXT = "안녕 세계, 안녕!\nthe cat, the hat — the end\r\n"


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "a.txt").write_bytes(TEXT.encode())
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "b.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "deeper" / "not.bin").write_bytes(b"\xff\xff")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "c.txt").write_text("Ж")
    return tmp_path


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_a_corpus_gives_its_symbols_by_frequency(corpus, unit, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 8)
    counts = Counter(make_unit(unit).cut(TEXT))
    vocabulary = ur.Vocabulary.from_corpus(corpus, unit=unit)
    if unit == "byte":
        assert len(vocabulary) == 256
        assert vocabulary.encode("é").tolist() == list("é".encode())
    else:
        assert list(vocabulary.symbols) == sorted(counts, key=lambda s: (-counts[s], s))
    if unit != "word":
        assert vocabulary.decode(vocabulary.encode(TEXT)) == TEXT


def test_a_cut_off_and_a_limit_need_an_unknown_symbol(corpus):
    names = {"unknown": "<unknown>", "padding": "<padding>", "begin": "<begin>", "end": "<end>"}
    vocabulary = ur.Vocabulary.from_corpus(corpus, unit="word", min_count=4, lower=True, **names)
    assert vocabulary.symbols == ("the", ",", "안녕", *names.values())
    assert vocabulary.decode(vocabulary.encode("The hat, 안녕")) == "the <unknown> , 안녕"
    short = ur.Vocabulary.from_corpus([corpus / "a.txt"], unit="word", max_size=2, unknown="?")
    assert short.symbols == ("the", ",", "?")
    for options in ({"min_count": 2}, {"max_size": 2}):
        with pytest.raises(ur.Error, match="leave symbols out; give unknown='<unknown>'"):
            ur.Vocabulary.from_corpus(corpus, **options)


def test_marks_are_put_around_rows_and_left_out_of_the_text():
    vocabulary = ur.Vocabulary("ab", padding="_", begin="<", end=">")
    batch = vocabulary.encode(["ab", ""], marks=True)
    assert batch.indices.tolist() == [[3, 0, 1, 4], [3, 4, 2, 2]]
    assert batch.lengths.tolist() == [4, 2]
    assert vocabulary.decode(batch) == ["ab", ""]
    assert vocabulary.encode("ab", marks=True).tolist() == [3, 0, 1, 4]
    assert vocabulary.encode("ab").tolist() == [0, 1]
    assert ur.Vocabulary("ab", end=">").encode(["a"], marks=True).indices.tolist() == [[0, 2]]


def test_columns_of_tables_and_words_of_sentences(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tlabel\nab\t1\nba\t0\n")
    (tmp_path / "b.conllu").write_text("1\tccc\t_\tNOUN\t_\t_\t0\troot\t_\t_\n")
    vocabulary = ur.Vocabulary.from_corpus(tmp_path, column="text")
    assert vocabulary.symbols == ("\n", "c", "a", "b")


def test_normalization_makes_two_spellings_one():
    vocabulary = ur.Vocabulary("é", normalize="NFC")
    assert vocabulary.encode("e\u0301").tolist() == [0]
    assert vocabulary.decode([0]) == "é"
    assert ur.Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    jamo = ur.Vocabulary("각", unit="jamo", normalize="NFC")
    assert jamo.decode(jamo.encode("\u1100\u1161\u11a8")) == "각"


def test_a_vocabulary_reports_how_far_it_is(corpus, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 16)
    seen = []
    ur.Vocabulary.from_corpus(corpus, report=lambda done, size: seen.append((done, size)))
    total = sum((corpus / name).stat().st_size for name in ("a.txt", "deeper/b.txt.gz"))
    assert len(seen) > 4
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)


def test_a_stream_of_numbers_is_the_text_as_soon_as_it_is_sure():
    jamo = ur.Vocabulary("각가a", unit="jamo")
    numbers = jamo.encode("각가a가").tolist()
    given = []
    pieces = [(piece, len(given)) for piece in jamo.stream(given.append(n) or n for n in numbers)]
    assert pieces == [("각", 3), ("가", 6), ("a", 6), ("가", 8)]
    byte = ur.Vocabulary(unit="byte")
    assert list(byte.stream("é€".encode())) == ["é", "€"]
    assert list(byte.stream(b"a\xff\xe2\x82")) == ["a", "\ufffd", "\ufffd"]
    assert list(ur.Vocabulary("a b", unit="word").stream([0, 1])) == ["a", " b"]


@given(st.lists(st.integers(0, 255)))
def test_bytes_of_any_kind_are_shown_and_streamed_alike(numbers):
    byte = ur.Vocabulary(unit="byte")
    text = byte.decode(numbers)
    assert "".join(byte.stream(numbers)) == text
    if b"\xed" not in bytes(numbers):
        assert text == bytes(numbers).decode(errors="replace")


@given(st.text(min_size=1), st.sampled_from(sorted(UNITS)))
def test_json_out_and_in_for_every_unit(text, unit):
    unknown = None if unit == "byte" else "<unknown>"
    vocabulary = ur.Vocabulary(text, unit=unit, unknown=unknown, end="<end>", lower=unit == "word")
    again = ur.Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert hash(again) == hash(vocabulary)
    assert again.encode(text + "x").tolist() == vocabulary.encode(text + "x").tolist()


def test_a_vocabulary_of_an_older_version_is_one_of_characters():
    old = {"symbols": ["a", "b", "?"], "unknown": "?", "padding": None}
    vocabulary = ur.Vocabulary.from_json(json.dumps(old))
    assert vocabulary == ur.Vocabulary("ab", unknown="?", unit="character")
    assert vocabulary.encode("abz").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": 3}, "'unit' is 3; wanted a text"),
        ({"unit": None}, "wanted"),
        ({"unit": "byte"}, "repeats a symbol or misplaces"),
        ({"lower": "no"}, "'lower' is 'no'; wanted true or false"),
        ({"end": ["x"]}, "'end' is"),
        ({"normalize": "x"}, "normalize is 'x'"),
    ],
)
def test_a_wrong_option_in_json_is_refused(change, message):
    with pytest.raises(ur.Error, match=message):
        ur.Vocabulary.from_dict({**ur.Vocabulary("ab").to_dict(), **change})


def test_a_corpus_without_text_is_refused(tmp_path, corpus):
    (tmp_path / "empty.txt").write_text("")
    for arguments, options, message in (
        ([tmp_path / "empty.txt"], {}, "no symbols"),
        ([tmp_path / "none"], {}, "No such file"),
        ([[]], {}, "no paths"),
        ([corpus / ".hidden"], {"column": "text"}, r"no file here ends in \.tsv"),
        ([corpus / "deeper" / "not.bin"], {}, "not UTF-8"),
        ([corpus], {"min_count": 0}, "at least 1"),
        ([corpus], {"padding": "c"}, r"'c' is in the text 2 times and cannot be padding"),
        ([corpus], {"unit": "words"}, "wanted one of character"),
    ):
        with pytest.raises(ur.Error, match=message):
            ur.Vocabulary.from_corpus(*arguments, **options)


@given(st.lists(st.text()), st.sampled_from(sorted(UNITS)))
def test_counts_are_those_of_the_symbols(texts, unit):
    wanted = Counter(s for text in texts for s in make_unit(unit).cut(text))
    assert counting.count(([text] for text in texts), make_unit(unit)) == wanted


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_encoding_in_steps_is_encoding_at_once(unit, monkeypatch):
    vocabulary = ur.Vocabulary(TEXT, unit=unit)
    wanted = vocabulary.encode(TEXT).tolist()
    monkeypatch.setattr("unrolled.text.lookup.STEP", 3)
    assert vocabulary.encode(TEXT).tolist() == wanted
    assert vocabulary.encode("").tolist() == []


def test_the_place_of_an_unknown_symbol_is_that_in_the_whole_text(monkeypatch):
    monkeypatch.setattr("unrolled.text.lookup.STEP", 3)
    with pytest.raises(ur.Error, match=r"'z'.*at position 7"):
        ur.Vocabulary("ab").encode("ababababz"[1:])
    with pytest.raises(ur.Error, match=r"'hat' \(symbol 2 of the text\)"):
        ur.Vocabulary("the cat", unit="word").encode("the hat")


def test_the_film_reviews_in_jamo(data):
    place = data / "nsmc" / "ratings_test.txt.gz"
    vocabulary = ur.Vocabulary.from_corpus(place, unit="jamo", column="document")
    assert sum("\u1100" <= s <= "\u1112" for s in vocabulary.symbols) == 19
    assert len(vocabulary) < 0.5 * len(ur.Vocabulary.from_corpus(place, column="document"))
