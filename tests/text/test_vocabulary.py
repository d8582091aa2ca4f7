import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unrolled as ur

WORDS = ["hello", "eolll", "lleel"]


def test_the_lessons_letters_become_the_lessons_tensor():
    batch = ur.Vocabulary("helo").encode(WORDS)
    one_hot = batch.one_hot()
    assert one_hot.shape == (3, 5, 4)
    assert one_hot.dtype == torch.float32
    assert one_hot[0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert repr(batch) == "Batch(batch 3, time 5, feature 4)"


def test_symbols_are_numbered_in_order_of_first_appearance():
    assert ur.Vocabulary("banana").symbols == ("b", "a", "n")
    assert ur.Vocabulary(["sad", "happy", "angry"]).index("angry") == 2


def test_unknown_and_padding_come_last_and_do_not_move_the_others():
    vocabulary = ur.Vocabulary("ab", unknown="?", padding="_")
    assert vocabulary.symbols == ("a", "b", "?", "_")
    assert vocabulary.encode("axb").tolist() == [0, 2, 1]
    batch = vocabulary.encode(["ab", "b"])
    assert batch.indices.tolist() == [[0, 1], [1, 3]]
    assert batch.lengths.tolist() == [2, 1]
    assert vocabulary.decode(batch) == ["ab", "b"]
    assert vocabulary.decode(torch.tensor([0, 3])) == "a"


def test_one_hot_is_zero_past_a_rows_length():
    batch = ur.Vocabulary("ab").encode(["ab", "a", ""])
    assert batch.lengths.tolist() == [2, 1, 0]
    assert batch.one_hot().sum(-1).tolist() == [[1, 1], [1, 0], [0, 0]]


def test_symbols_of_several_characters_are_rows_of_lists():
    vocabulary = ur.Vocabulary(["sad", "happy", "angry"])
    batch = vocabulary.encode([["happy", "sad"], ["angry"]])
    assert batch.indices.tolist() == [[1, 0], [2, 0]]
    assert vocabulary.decode(batch) == [["happy", "sad"], ["angry"]]


def test_an_unknown_symbol_is_named_with_its_place():
    with pytest.raises(ur.Error, match=r"symbol 'z' \(U\+007A\) at position 2 is not among the 2 symbols"):
        ur.Vocabulary("ab").encode("abz")
    with pytest.raises(ur.Error, match="symbol 'joy'"):
        ur.Vocabulary(["sad"]).encode([["joy"]])


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ([""], {}, "no symbols"),
        ([["a", ""]], {}, "not a symbol"),
        ([["a", 3]], {}, "3 is not a symbol"),
        ([["a", ["b"]]], {}, "wanted a text or a list of strings"),
        (["ab"], {"unknown": "?", "padding": "?"}, "must differ"),
    ],
)
def test_what_is_no_vocabulary_is_refused(arguments, keywords, message):
    with pytest.raises(ur.Error, match=message):
        ur.Vocabulary(*arguments, **keywords)


def test_decode_refuses_numbers_outside():
    with pytest.raises(ur.Error, match="4 is not a number from 0 to 3"):
        ur.Vocabulary("helo").decode([0, 4])


def test_decode_takes_the_numbers_that_numbers_gives():
    vocabulary = ur.Vocabulary("helo")
    assert vocabulary.decode(vocabulary.numbers("hello")) == "hello"


@given(st.text(min_size=1), st.text())
def test_encoding_and_back_is_the_text(known, more):
    vocabulary = ur.Vocabulary(known + more)
    for text in (known, more, known + more):
        assert vocabulary.decode(vocabulary.encode(text)) == text
    rows = [known, more, "", more + known]
    assert vocabulary.decode(vocabulary.encode(rows)) == rows


@given(st.text(min_size=1), st.sampled_from([None, "<unknown>"]), st.sampled_from([None, "·"]))
def test_json_out_and_in(text, unknown, padding):
    vocabulary = ur.Vocabulary(text, unknown=unknown, padding=padding)
    assert ur.Vocabulary.from_json(vocabulary.to_json()) == vocabulary


@pytest.mark.parametrize("data", ["{", "[]", "{}", '{"symbols": "ab"}', '{"symbols": ["a", "a"]}'])
def test_json_of_something_else_is_refused(data):
    with pytest.raises(ur.Error, match="Vocabulary"):
        ur.Vocabulary.from_json(data)


def test_json_that_misplaces_a_special_symbol_is_refused():
    data = json.dumps({"symbols": ["_", "a"], "padding": "_"})
    with pytest.raises(ur.Error, match="misplaces"):
        ur.Vocabulary.from_json(data)


@pytest.mark.parametrize(
    ("indices", "lengths", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), None, r"wanted int64 \(batch, time\)"),
        (torch.zeros(3, 2), None, "torch.float32"),
        (torch.zeros(3, 2, dtype=torch.int64), torch.tensor([1, 2]), r"wanted int64 \(3,\)"),
        (torch.zeros(1, 2, dtype=torch.int64), torch.tensor([3]), "from 0 to 2"),
        (torch.zeros(1, 2, dtype=torch.int64), torch.tensor([-1]), "from 0 to 2"),
        (torch.tensor([[4]]), None, "wanted 0 to 3"),
        (torch.tensor([[-1]]), None, "wanted 0 to 3"),
    ],
)
def test_what_is_no_batch_is_refused(indices, lengths, message):
    with pytest.raises(ur.Error, match=message):
        ur.Batch(indices, lengths, ur.Vocabulary("helo"))


@pytest.mark.parametrize(
    ("unit", "prompt", "symbols", "wanted"),
    [
        ("character", "ab", ["c", "d"], "cd"),
        ("jamo", "가", ["ᄂ", "ᅡ", "ᆫ"], "난"),
        ("byte", "a", [], "한"),
        ("word", "the", ["king", ",", "the"], None),
    ],
)
def test_what_follows_a_prompt_is_a_text(unit, prompt, symbols, wanted):
    vocabulary = ur.Vocabulary("가난 한 ab cd the king, the", unit=unit)
    if unit == "byte":
        symbols = [vocabulary.symbols[b] for b in "한".encode()]
    text = vocabulary.continued(prompt, symbols)
    if unit == "word":
        assert text.startswith(" king")
        assert vocabulary.continued("the ", symbols) == text[1:]
    else:
        assert text == wanted


@pytest.mark.parametrize("unit", ["character", "byte", "jamo", "grapheme", "word"])
@pytest.mark.parametrize("normalize", [None, "NFC", "NFD"])
def test_rows_are_the_numbers_of_each_text(unit, normalize):
    # Joined, the second text's first mark would go with the first text's last letter.
    texts = ["cafe", "\u0301 é", "", "한글 각", "e\u0301", "a b  c"]
    options = {} if normalize is None else {"normalize": normalize}
    if unit == "byte":
        vocabulary = ur.Vocabulary("", unit=unit, **options)
    else:
        vocabulary = ur.Vocabulary(" ".join(texts), unit=unit, unknown="<?>", **options)
    rows = vocabulary.rows([*texts, "ω"])
    assert [row.tolist() for row in rows] == [vocabulary.numbers(t).tolist() for t in [*texts, "ω"]]
    assert vocabulary.rows([]) == []


def test_rows_name_the_place_within_the_text():
    with pytest.raises(ur.Error, match=r"symbol 'x' .* at position 1 "):
        ur.Vocabulary("abc").rows(["abc", "axb"])
