"""Grapheme clusters and words: the default boundaries of Unicode (UAX #29)."""

from __future__ import annotations

import re
from functools import cache
from itertools import accumulate, pairwise

import regex

# Between any two characters of these there is a boundary of grapheme clusters: printable ASCII, tab and
# line feed, Latin, Greek and Cyrillic letters, kana, ideographs, Hangul syllables, common punctuation.
_PLAIN = r"[\t\n -~À-ʯΑ-ωЀ-҂ぁ-ゖァ-ヺ一-鿿가-힣‘-”、-〃]"
_RUN = re.compile(rf"((?:\A|(?<={_PLAIN})){_PLAIN}+(?={_PLAIN}|\Z))")


def graphemes(text: str) -> list[str]:
    """The text in extended grapheme clusters; joined they are the text."""
    # Runs of plain characters are cut without looking up rules; what is between goes to the rules.
    found: list[str] = []
    for i, part in enumerate(_RUN.split(text)):
        found.extend(part if i % 2 else _clusters().findall(part))
    return found


@cache
def _clusters() -> regex.Pattern[str]:
    return regex.compile(r"\X")


def words(text: str) -> list[str]:
    """The text in words, numbers, punctuation marks and runs of white space; joined they are the text.

    Scripts that put no space between words (Han, hiragana, Thai) are cut into characters, as the standard
    does where there is no dictionary.
    """
    ends = accumulate(map(len, _WORD.findall(text.translate(_CLASSES))), initial=0)
    return [text[begin:end] for begin, end in pairwise(ends)]


_NAMES = {
    "r": r"\r",
    "n": r"\n",
    "v": r"\p{WB=Newline}",
    "Z": r"\p{WB=ZWJ}",
    "X": r"[\p{WB=Extend}\p{WB=Format}]",
    "H": r"\p{WB=Hebrew_Letter}",
    "Q": r"[\p{WB=ALetter}&&\p{Extended_Pictographic}]",
    "A": r"\p{WB=ALetter}",
    "0": r"\p{WB=Numeric}",
    "K": r"\p{WB=Katakana}",
    "_": r"\p{WB=ExtendNumLet}",
    ":": r"\p{WB=MidLetter}",
    ",": r"\p{WB=MidNum}",
    ".": r"\p{WB=MidNumLet}",
    "'": r"\p{WB=Single_Quote}",
    '"': r"\p{WB=Double_Quote}",
    "R": r"\p{WB=Regional_Indicator}",
    "P": r"\p{Extended_Pictographic}",
    " ": r"\p{WB=WSegSpace}",
    "?": r"(?s:.)",
}
"""A letter for each value of the property Word_Break, and which characters have it."""


class _Classes(dict[int, str]):
    """The letter of each character's class, looked up when the character is first met."""

    def __missing__(self, point: int) -> str:
        found = _class_of().fullmatch(chr(point))
        number = (found and found.lastindex) or len(_NAMES)
        self[point] = letter = list(_NAMES)[number - 1]
        return letter


@cache
def _class_of() -> regex.Pattern[str]:
    return regex.compile("(?V1)" + "|".join(f"({name})" for name in _NAMES.values()))


def _rules() -> re.Pattern[str]:
    def marked(letters: str) -> str:
        # WB4: marks, format characters and joiners belong to the character before them.
        return rf"[{letters}][XZ]*+"

    in_word, in_number = marked(":.'"), marked(",.'")
    hebrew, quote, apostrophe = marked("H"), marked('"'), marked("'")
    last = rf"{hebrew}{apostrophe}(?![AHQ])"  # WB7a; nothing joins what follows.
    letter = rf"(?:{marked('AQ')}|(?!{last}){hebrew}(?:{quote}(?=H))?+)"  # WB7b, WB7c
    a_word = rf"{letter}++(?:{in_word}(?!{last})(?=[AHQ]){letter}++)*+"  # WB5, WB6, WB7
    number = marked("0")
    a_number = rf"(?:{number})++(?:{in_number}(?:{number})++)*+"  # WB8, WB11, WB12
    mixed = rf"(?:{a_word}|{a_number})"  # WB9, WB10
    run = rf"(?:{mixed}++|(?:{marked('K')})++)"  # WB13
    joined = rf"(?:(?:{run})?(?:{marked('_')})++)"  # WB13a, WB13b
    word = rf"(?:{run}(?![_H])|{joined}*+(?:{mixed}*+{last}|{run})|{joined}++)"
    flag = rf"{marked('R')}(?:{marked('R')})?"  # WB15, WB16
    spaces = r" ++[XZ]*+"  # WB3d
    pictures = r"(?:(?<=Z)[PQ][XZ]*+)*+"  # WB3c
    plain = r"A++(?=[ n?])| (?=[A0])"  # Most of any text, found first.
    return re.compile(rf"{plain}|rn|[rnv]|(?:{word}|{flag}|{spaces}|.[XZ]*+){pictures}")


_CLASSES = _Classes()
_WORD = _rules()
