"""What counts as one symbol of a text, and how symbols are a text again."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, get_args

import numpy as np

from ..errors import Error
from . import boundaries, hangul


class Unit:
    """A way to cut any text into symbols.

    `"".join(unit.stream(unit.cut(text)))` is the text, for every unit but Word.
    """

    name = ""

    def cut(self, text: str) -> list[str]:
        """The symbols of the text, in order."""
        raise NotImplementedError

    def stream(self, symbols: Iterable[str]) -> Iterator[str]:
        """The text of the symbols, piece by piece, as soon as no later symbol can change it."""
        yield from symbols

    def blocks(self, blocks: Iterable[str]) -> Iterator[str]:
        """The same text in blocks that can be cut one by one: together they give the whole's symbols."""
        yield from blocks


class Coded(Unit):
    """A unit whose symbols are numbers already, so that an array of them is encoded at once."""

    def codes(self, text: str) -> np.ndarray:
        """The text's symbols as an array of codes, from 0 on."""
        raise NotImplementedError

    def symbol(self, code: int) -> str:
        """The name of a code."""
        return chr(code)

    def code(self, symbol: str) -> int | None:
        """The code of a symbol, or None for one that is in no text."""
        return ord(symbol) if len(symbol) == 1 else None

    def cut(self, text: str) -> list[str]:
        """The symbols of the text, in order."""
        return [self.symbol(code) for code in self.codes(text).tolist()]


class Character(Coded):
    """Code points, as they are."""

    name = "character"

    def codes(self, text: str) -> np.ndarray:
        """(characters,) uint32."""
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")

    def cut(self, text: str) -> list[str]:
        """The symbols of the text, in order."""
        return list(text)


class Byte(Coded):
    """The bytes of UTF-8. Those of ASCII are named by their character, the others <0x80> to <0xFF>.

    What is not UTF-8, as a model may write it, reads as U+FFFD.
    """

    name = "byte"
    symbols = tuple(chr(b) if b < 0x80 else f"<0x{b:02X}>" for b in range(256))
    _codes = {symbol: b for b, symbol in enumerate(symbols)}  # noqa: RUF012

    def codes(self, text: str) -> np.ndarray:
        """(bytes,) uint8."""
        return np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)

    def symbol(self, code: int) -> str:
        """The name of a byte."""
        return self.symbols[code]

    def code(self, symbol: str) -> int | None:
        """The byte of a name."""
        return self._codes.get(symbol)

    def stream(self, symbols: Iterable[str]) -> Iterator[str]:
        """The text of the bytes, a character as soon as it is whole."""
        decoder = codecs.getincrementaldecoder("utf-8")("unrolled.lenient")
        for symbol in symbols:
            if text := decoder.decode(bytes([self._codes[symbol]])):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text


def _lenient(error: UnicodeError) -> tuple[str | bytes, int]:
    """Lone surrogates, which Python's strings may hold, are read back; any other fault as U+FFFD."""
    try:
        return codecs.lookup_error("surrogatepass")(error)
    except UnicodeError:
        return codecs.lookup_error("replace")(error)


codecs.register_error("unrolled.lenient", _lenient)


class Jamo(Coded):
    """Hangul syllables in their jamo, other characters as they are; see `hangul`."""

    name = "jamo"

    def codes(self, text: str) -> np.ndarray:
        """(symbols,) int64."""
        return hangul.decompose(Character().codes(text))

    def symbol(self, code: int) -> str:
        """The name of a code."""
        return hangul.symbol(code)

    def code(self, symbol: str) -> int | None:
        """The code of a name."""
        return hangul.code(symbol)

    def stream(self, symbols: Iterable[str]) -> Iterator[str]:
        """The text of the jamo, composed."""
        yield from hangul.compose(symbols)


class Pieces(Unit):
    """A unit whose borders depend on the characters on both sides."""

    def split(self, text: str) -> list[str]:
        """The text in pieces, which joined are the text."""
        raise NotImplementedError

    def cut(self, text: str) -> list[str]:
        """The symbols of the text, in order."""
        return self.split(text)

    def blocks(self, blocks: Iterable[str]) -> Iterator[str]:
        """The text in blocks that end where a piece ends."""
        # No rule looks further ahead than over one piece; three are held back to be on the safe side.
        return held(blocks, lambda text: len(text) - sum(map(len, self.split(text)[-3:])))


class Syllable(Pieces):
    """A Hangul syllable, precomposed or in conjoining jamo; any other character as it is."""

    name = "syllable"

    def split(self, text: str) -> list[str]:
        """The text in syllables and characters."""
        return hangul.BLOCK.findall(text)


class Grapheme(Pieces):
    """What a reader takes for one character: the extended grapheme clusters of UAX #29."""

    name = "grapheme"

    def split(self, text: str) -> list[str]:
        """The text in grapheme clusters."""
        return boundaries.graphemes(text)


class Word(Pieces):
    """Words, numbers and punctuation marks between the word boundaries of UAX #29, without white space.

    As a text they have one space between any two. lower: each word in lower case.
    """

    name = "word"

    def __init__(self, lower: bool = False) -> None:
        self.lower = lower

    def split(self, text: str) -> list[str]:
        """The text in words, marks and white space."""
        return boundaries.words(text)

    def cut(self, text: str) -> list[str]:
        """The symbols of the text, in order."""
        words = [word for piece in self.split(text) if (word := piece.strip())]
        return [word.lower() for word in words] if self.lower else words

    def stream(self, symbols: Iterable[str]) -> Iterator[str]:
        """The words with a space between."""
        for i, symbol in enumerate(symbols):
            yield f" {symbol}" if i else symbol


UNITS: dict[str, type[Unit]] = {
    unit.name: unit for unit in (Character, Grapheme, Byte, Word, Syllable, Jamo)
}
Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


def make_unit(name: str, lower: bool = False, normalize: Form | None = None) -> Unit:
    """The unit of that name. Raises Error for a name that is none, lower without words, or no form."""
    if normalize is not None and normalize not in get_args(Form):
        raise Error(f"normalize is {normalize!r}; wanted None or one of {', '.join(get_args(Form))}")
    if name not in list(UNITS):
        raise Error(f"unit is {name!r}; wanted one of {', '.join(UNITS)}")
    if name == Word.name:
        return Word(lower)
    if lower:
        raise Error(f"lower=True is for unit='word' only, and the unit is {name!r}; lower the text itself")
    return UNITS[name]()


def normal(text: str, form: Form | None) -> str:
    """The text in a normalization form of Unicode (UAX #15); form: None leaves it as it is."""
    return text if form is None else unicodedata.normalize(form, text)


def normalized(blocks: Iterable[str], form: Form | None) -> Iterator[str]:
    """The text of the blocks in a form, as `normal` brings it there, block by block."""
    if form is None:
        yield from blocks
        return
    for block in held(blocks, _settled):
        yield normal(block, form)


def held(blocks: Iterable[str], border: Callable[[str], int]) -> Iterator[str]:
    """The same text in blocks that end in a line feed or, in a block without one, at a border.

    border: the place in a text before which whatever follows the text changes nothing.
    """
    kept = ""
    for block in blocks:
        kept += block
        # Every unit ends at a line feed, and nothing after one combines with it.
        end = kept.rfind("\n") + 1 or border(kept)
        if end:
            yield kept[:end]
            kept = kept[end:]
    if kept:
        yield kept


_SETTLED = re.compile(r"(?s:.+)(?=[\x00-\x7fぁ-ゖァ-ヺ一-鿿가-힣])")
"""As much of a text as ends before one of these, none of which combines with anything before it in any
form: ASCII, and what scripts without spaces between words are written in."""


def _settled(text: str) -> int:
    """The place before which no form of Unicode can change what stands there, whatever follows the text."""
    found = _SETTLED.match(text)
    return found.end() if found else 0
