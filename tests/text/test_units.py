"""Units: how a text is cut, that it comes back, and that blocks are cut as the whole."""

import unicodedata
from itertools import pairwise

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

import unrolled as ur
from unrolled.text import units
from unrolled.text.units import UNITS, make_unit, normalized

EXACT = sorted(set(UNITS) - {"word"})
# Marks, joiners, jamo, flags, pictures, quotes: what the rules are about, beside any character at all.
SPECIAL = (
    "\r\n\t \u0085\u2028\u3000 aZé09_.,:;'’\"-של가각힣ᄀ하ᅵᆨᇂꥠힰퟋㄱㅏㅋ\u0301\u0308\u200d\u200c\ufe0f\u00ad"
    "🇰🇷🇫👩❤👍🏽Ⓜ한글กำनमस्तेिक्षアー日本ひ٠١\u0600\U000e0067\ud800\udc00\x00\ufeff"
)
TEXTS = st.text(st.one_of(st.characters(exclude_categories=[]), st.sampled_from(SPECIAL)))
CASES = {
    "안녕 각": {
        "grapheme": ["안", "녕", " ", "각"],
        "syllable": ["안", "녕", " ", "각"],
        "jamo": ["ᄋ", "ᅡ", "ᆫ", "ᄂ", "ᅧ", "ᆼ", " ", "ᄀ", "ᅡ", "ᆨ"],
        "word": ["안녕", "각"],
    },
    "ㅋㅋ까": {"syllable": ["ㅋ", "ㅋ", "까"], "jamo": ["ㅋ", "ㅋ", "ᄁ", "ᅡ"], "word": ["ㅋㅋ까"]},
    "\u1100\u1161\u1100\u1161\u11a8": {  # In conjoining jamo, as some systems write file names.
        "character": ["ᄀ", "ᅡ", "ᄀ", "ᅡ", "ᆨ"],
        "grapheme": ["\u1100\u1161", "\u1100\u1161\u11a8"],
        "syllable": ["\u1100\u1161", "\u1100\u1161\u11a8"],
        "jamo": ["\\ᄀ", "\\ᅡ", "\\ᄀ", "\\ᅡ", "\\ᆨ"],
        "word": ["\u1100\u1161\u1100\u1161\u11a8"],
    },
    "가\u11a8": {"syllable": ["가\u11a8"], "jamo": ["ᄀ", "ᅡ", "\\\u11a8"]},
    "👩‍👩‍👧‍👦👍🏽❤️": {"grapheme": ["👩‍👩‍👧‍👦", "👍🏽", "❤️"], "word": ["👩‍👩‍👧‍👦", "👍🏽", "❤️"]},
    "🇰🇷🇫🇷🇺": {"grapheme": ["🇰🇷", "🇫🇷", "🇺"], "word": ["🇰🇷", "🇫🇷", "🇺"]},
    "e\u0301a \u0301": {
        "character": ["e", "\u0301", "a", " ", "\u0301"],
        "grapheme": ["e\u0301", "a", " \u0301"],
        "word": ["e\u0301a", "\u0301"],
    },
    "a\r\n\n\r b": {"grapheme": ["a", "\r\n", "\n", "\r", " ", "b"], "word": ["a", "b"]},
    "ภาษา กำ": {"grapheme": ["ภ", "า", "ษ", "า", " ", "กำ"]},
    "नमस्ते": {"grapheme": ["न", "म", "स्ते"], "word": ["नमस्ते"]},
    "日本語カタカナひら": {"word": ["日", "本", "語", "カタカナ", "ひ", "ら"]},
    "Don't stop: 3.14, 1,000 e.g. U.S.A.": {
        "word": ["Don't", "stop", ":", "3.14", ",", "1,000", "e.g", ".", "U.S.A", "."]
    },
    '"x_1" (well-known)!': {"word": ['"', "x_1", '"', "(", "well", "-", "known", ")", "!"]},
    'ש"ל ש\' "של"': {"word": ['ש"ל', "ש'", '"', "של", '"']},
    "é€𐍈": {"byte": [f"<0x{b:02X}>" for b in "é€𐍈".encode()]},
    "a\n": {"byte": ["a", "\n"], "jamo": ["a", "\n"]},
}


@pytest.mark.parametrize("text", CASES)
def test_texts_are_cut_as_the_standard_says(text):
    for name, symbols in CASES[text].items():
        assert make_unit(name).cut(text) == symbols, name


def test_words_in_lower_case():
    assert make_unit("word", lower=True).cut("The İstanbul ΟΔΟΣ") == ["the", "i̇stanbul", "οδος"]


@pytest.mark.parametrize("name", EXACT)
@given(text=TEXTS)
@example("\ud800\udc00 é \ud83d")
def test_what_is_cut_is_the_text_again(name, text):
    unit = make_unit(name)
    assert "".join(unit.stream(unit.cut(text))) == text
    if text:
        vocabulary = ur.Vocabulary(text, unit=name)
        assert vocabulary.decode(vocabulary.encode(text)) == text
        assert vocabulary.decode(vocabulary.encode([text, "", text])) == [text, "", text]


@given(TEXTS)
def test_words_with_spaces_between_are_the_same_words(text):
    unit = make_unit("word")
    words = unit.cut(text)
    assert "".join(unit.stream(words)) == " ".join(words)
    assert unit.cut(" ".join(words)) == words
    assert "".join("".join(words).split()) == "".join(text.split())


@pytest.mark.parametrize("name", sorted(UNITS))
@given(text=TEXTS, cuts=st.lists(st.integers(0, 60)))
def test_blocks_give_the_symbols_of_the_whole(name, text, cuts):
    unit = make_unit(name)
    places = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    blocks = [text[i:j] for i, j in pairwise(places)]
    assert [s for block in unit.blocks(blocks) for s in unit.cut(block)] == unit.cut(text)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert "".join(normalized(blocks, form)) == unicodedata.normalize(form, text)
    assert "".join(normalized(blocks, None)) == text


@pytest.mark.parametrize("text", ["plain english words", "天地玄黃宇宙洪荒", "かなカナガ", "가각힣정말"])
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_a_text_without_lines_is_brought_into_a_form_block_by_block(text, form):
    blocks = [text * 10] * 100
    given = list(normalized(blocks, form))
    assert "".join(given) == unicodedata.normalize(form, "".join(blocks))
    assert max(map(len, given)) <= 3 * 11 * len(
        text
    )  # three jamo a syllable, and the end of a block before


@given(TEXTS)
def test_jamo_are_those_of_the_canonical_decomposition(text):
    wanted = []
    for character in text:
        if unicodedata.name(character, "").startswith("HANGUL SYLLABLE"):
            wanted += unicodedata.normalize("NFD", character)
        elif regex.match("[\u1100-\u1112\u1161-\u1175\u11a8-\u11c2]", character):
            wanted.append("\\" + character)
        else:
            wanted.append(character)
    assert make_unit("jamo").cut(text) == wanted


def test_every_syllable_is_composed_back():
    text = "".join(map(chr, range(0xAC00, 0xD7A4)))
    unit = make_unit("jamo")
    assert "".join(unit.cut(text)) == unicodedata.normalize("NFD", text)
    assert "".join(unit.stream(unit.cut(text))) == text


@given(st.lists(st.sampled_from(["ᄀ", "ᅡ", "ᆨ", "\\ᄀ", "\\ᅡ", "\\ᆨ", "가", "각", "a", "<unknown>"])))
def test_jamo_in_any_order_are_composed_where_they_can_be(symbols):
    plain = [s.removeprefix("\\") for s in symbols]
    text = "".join(make_unit("jamo").stream(symbols))
    assert unicodedata.normalize("NFD", text) == unicodedata.normalize("NFD", "".join(plain))


@given(TEXTS)
def test_graphemes_are_those_of_the_rules_alone(text):
    assert make_unit("grapheme").cut(text) == regex.findall(r"\X", text)


@given(st.text(st.sampled_from("ᄀ하ᅵᆨᇂ가각a\u115f\u1160\u11ff\ua960\ud7b0\ud7cb한")))
def test_syllables_are_grapheme_clusters_of_hangul(text):
    assert make_unit("syllable").cut(text) == regex.findall(r"\X", text)


def word_break(character: str) -> str:
    """The property Word_Break of a character, by name."""
    return next((name for name in NAMES if regex.match(rf"\p{{WB={name}}}", character)), "Other")


NAMES = [
    "CR",
    "LF",
    "Newline",
    "Extend",
    "ZWJ",
    "Regional_Indicator",
    "Format",
    "Katakana",
    "Hebrew_Letter",
]
NAMES += ["ALetter", "Single_Quote", "Double_Quote", "MidNumLet", "MidLetter", "MidNum", "Numeric"]
NAMES += ["ExtendNumLet", "WSegSpace"]
LETTERS = {"ALetter", "Hebrew_Letter"}
MIDDLE = {"MidNumLet", "Single_Quote"}


def is_word_boundary(text: str, place: int) -> bool:
    """The rules of UAX #29, section 4.1.1, read one after another at one place."""
    kinds = [word_break(c) for c in text]
    left, right = kinds[place - 1], kinds[place]
    ignored = {"Extend", "Format", "ZWJ"}
    if {left, right} & {"CR", "LF", "Newline"}:
        return (left, right) != ("CR", "LF")  # WB3, WB3a, WB3b
    if left == "ZWJ" and regex.match(r"\p{Extended_Pictographic}", text[place]):
        return False  # WB3c
    if left == right == "WSegSpace":
        return False  # WB3d
    if right in ignored:
        return False  # WB4
    newlines = {"CR", "LF", "Newline"}
    before = [
        k for i, k in enumerate(kinds[:place]) if k not in ignored or not i or kinds[i - 1] in newlines
    ]
    after = [k for k in kinds[place + 1 :] if k not in ignored]
    left, second = before[-1], before[-2] if len(before) > 1 else ""
    following = after[0] if after else ""
    joined = (
        (left in LETTERS and right in LETTERS)  # WB5
        or (left in LETTERS and right in {"MidLetter", *MIDDLE} and following in LETTERS)  # WB6
        or (second in LETTERS and left in {"MidLetter", *MIDDLE} and right in LETTERS)  # WB7
        or (left == "Hebrew_Letter" and right == "Single_Quote")  # WB7a
        or (left == following == "Hebrew_Letter" and right == "Double_Quote")  # WB7b
        or (second == right == "Hebrew_Letter" and left == "Double_Quote")  # WB7c
        or (left == "Numeric" and right == "Numeric")  # WB8
        or (left in LETTERS and right == "Numeric")  # WB9
        or (left == "Numeric" and right in LETTERS)  # WB10
        or (second == right == "Numeric" and left in {"MidNum", *MIDDLE})  # WB11
        or (left == following == "Numeric" and right in {"MidNum", *MIDDLE})  # WB12
        or (left == right == "Katakana")  # WB13
        or (left in {*LETTERS, "Numeric", "Katakana", "ExtendNumLet"} and right == "ExtendNumLet")  # WB13a
        or (left == "ExtendNumLet" and right in {*LETTERS, "Numeric", "Katakana"})  # WB13b
    )
    flags = 0
    while flags < len(before) and before[-1 - flags] == "Regional_Indicator":
        flags += 1
    return not (joined or (right == "Regional_Indicator" and flags % 2))  # WB15, WB16


@given(TEXTS)
@example("ש'3 ש'_ ש'ש ש\"")
@example("a\u200dⓂ❤\n\u0301a.\u0301b_カ__1")
def test_words_are_those_of_the_rules_read_one_by_one(text):
    ends = {i for i in range(1, len(text)) if is_word_boundary(text, i)} | {len(text)} - {0}
    pieces = units.Word().split(text)
    found = {sum(map(len, pieces[: i + 1])) for i in range(len(pieces))}
    assert "".join(pieces) == text
    assert found == ends


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "letter"}, "unit is 'letter'; wanted one of character, grapheme, byte, word"),
        ({"unit": ["word"]}, "wanted one of"),
        ({"unit": "character", "lower": True}, "lower=True is for unit='word' only"),
        ({"normalize": "NFX"}, "normalize is 'NFX'; wanted None or one of NFC"),
        ({"unit": "byte", "unknown": "?"}, "knows every text"),
        ({"unit": "byte", "padding": "<0x80>"}, "name of a byte"),
        ({"begin": "<s>", "end": "<s>"}, "must differ"),
    ],
)
def test_a_wrong_unit_is_refused(arguments, message):
    with pytest.raises(ur.Error, match=message):
        ur.Vocabulary("ab", **arguments)
