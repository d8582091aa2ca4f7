"""Symbols and their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from ..errors import Error
from . import counting
from .batch import Batch
from .corpus import Corpus
from .lookup import Lookup
from .reading import Report
from .units import Byte, Character, Form, Word, make_unit, normal, normalized

Row = str | Sequence[str]
"""One sequence of symbols: a str is cut into the vocabulary's units, a list is read symbol by symbol."""

OPTIONS = {
    "unit": "a text",
    "unknown": "a text or null",
    "padding": "a text or null",
    "begin": "a text or null",
    "end": "a text or null",
    "lower": "true or false",
    "normalize": "a text or null",
}
"""What makes a vocabulary beside its symbols."""


class Vocabulary:
    """The symbols a model knows, numbered from 0 in the order of their first appearance.

    symbols: a text (cut into symbols by the unit) or an iterable of symbols; repeats count once. Left
        out for unit="byte", whose symbols are always all 256 bytes.
    unit: what a text is cut into: "character" (code points), "grapheme" (UAX #29), "byte" (of UTF-8),
        "word" (UAX #29, without white space), "syllable" or "jamo" (Hangul; other characters as they are).
    unknown, padding, begin, end: symbols numbered after the others, in this order. Text outside the
        vocabulary is encoded as `unknown` if there is one; positions past a row's end hold `padding` (0
        without one); `begin` and `end` are put around rows by `encode(…, marks=True)`.
    lower: words in lower case; only for unit="word".
    normalize: "NFC", "NFD", "NFKC" or "NFKD" (UAX #15): the form into which a text is brought before it is
        cut, so that "é" is one symbol however it was typed; None: as it is. A list's symbols are taken as
        they are.

    `decode(encode(text))` is the text to the last code point, for every unit but "word", where it is the
    words with one space between. With `normalize` it is the text in that form: the same text exactly if it
    was in that form already.

    >>> Vocabulary("helo").encode("hello")
    tensor([0, 1, 2, 2, 3])
    """

    def __init__(
        self,
        symbols: Iterable[str] = (),
        *,
        unit: str = "character",
        unknown: str | None = None,
        padding: str | None = None,
        begin: str | None = None,
        end: str | None = None,
        lower: bool = False,
        normalize: Form | None = None,
    ) -> None:
        self.unit = unit
        self.lower = lower
        self.normalize: Form | None = normalize
        self.unknown, self.padding, self.begin, self.end = unknown, padding, begin, end
        self._unit = make_unit(unit, lower, normalize)
        if unit == Byte.name:
            if unknown is not None:
                raise Error("Vocabulary: unit='byte' knows every text; leave unknown out")
            symbols = Byte.symbols
        elif isinstance(symbols, str):
            text = self.normalized(symbols)
            symbols = text if unit == Character.name else self._unit.cut(text)
        self.symbols: tuple[str, ...] = self._numbered(symbols)
        self._index = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._lookup = Lookup(self._unit, self._index, None if unknown is None else self._index[unknown])
        single = (len(s) == 1 or s in self.specials for s in self.symbols)
        self._is_text = unit != Character.name or all(single)

    @classmethod
    def from_corpus(
        cls,
        paths: str | Path | Sequence[str | Path],
        *,
        unit: str = "character",
        column: str | None = None,
        min_count: int = 1,
        max_size: int | None = None,
        unknown: str | None = None,
        padding: str | None = None,
        begin: str | None = None,
        end: str | None = None,
        lower: bool = False,
        normalize: Form | None = None,
        report: Report | None = None,
    ) -> Vocabulary:
        """The symbols of files or folders larger than memory, the most frequent first, read once.

        paths, column: as for `Corpus`.
        min_count, max_size: only symbols that occur so often, and only the so many most frequent ones; the
            rest become `unknown`. Of equally frequent symbols the first by code points comes first.
        report: called with the bytes read so far and all there are.

        Memory: a block of a file, and the distinct symbols. Raises Error if a file cannot be read, there is
        no text, or one of the options is out of range.
        """
        if min_count < 1 or (max_size is not None and max_size < 1):
            raise Error(f"Vocabulary: min_count {min_count} and max_size {max_size} must be at least 1")
        some = min_count > 1 or max_size is not None
        if some and unknown is None and unit != Byte.name:
            raise Error("Vocabulary: min_count and max_size leave symbols out; give unknown='<unknown>'")
        specials = {"unknown": unknown, "padding": padding, "begin": begin, "end": end}
        options: dict[str, Any] = {"unit": unit, "lower": lower, "normalize": normalize, **specials}
        # A wrong option is found before hours of reading: any one symbol makes a vocabulary.
        cls(["a"], **options)
        corpus = Corpus(paths, column=column)
        counts = counting.count(corpus.texts(report), make_unit(unit, lower), normalize)
        if not counts:
            raise Error(f"{corpus}: no symbols; wanted a text to learn from")
        for name, special in specials.items():
            if special is not None and special in counts and name != "unknown":
                raise Error(
                    f"{corpus}: {special!r} is in the text {counts[special]:,} times and cannot be {name}; "
                    f"choose another, for instance '<{name}>'"
                )
        return cls(counting.kept(counts, min_count, max_size), **options)

    def normalized(self, text: str) -> str:
        """The text in the form `normalize`, which is what is cut into symbols."""
        return normal(text, self.normalize)

    def _numbered(self, symbols: Iterable[str]) -> tuple[str, ...]:
        try:
            found = dict.fromkeys(symbols)
        except TypeError as error:
            raise Error(f"Vocabulary: {error}; wanted a text or a list of strings") from error
        specials = self.specials
        for special in specials:
            found.pop(special, None)
            found[special] = None
        for symbol in found:
            if not isinstance(symbol, str) or not symbol:
                raise Error(f"Vocabulary: {symbol!r} is not a symbol; wanted strings that are not empty")
        if len(set(specials)) < len(specials):
            raise Error(
                f"Vocabulary: unknown, padding, begin and end must differ; they are {', '.join(specials)}"
            )
        if self.unit == Byte.name and len(found) != len(Byte.symbols) + len(specials):
            raise Error(f"Vocabulary: one of {', '.join(specials)} is the name of a byte; choose another")
        if not found:
            raise Error("Vocabulary: no symbols; wanted a text or a list with at least one")
        return tuple(found)

    @property
    def specials(self) -> tuple[str, ...]:
        """Those there are of the unknown, padding, begin and end symbols."""
        return tuple(s for s in (self.unknown, self.padding, self.begin, self.end) if s is not None)

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.symbols, self.unit, self.specials))

    def __repr__(self) -> str:
        shown = " ".join(repr(s) for s in self.symbols[:8])
        return f"Vocabulary({len(self)} symbols: {shown}{' …' if len(self) > 8 else ''})"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned integer that holds every number: uint8, uint16 or uint32."""
        return self._lookup.dtype

    def index(self, symbol: str) -> int:
        """The number of one symbol; raises Error if it is not in the vocabulary."""
        if symbol in self._index:
            return self._index[symbol]
        if self.unknown is not None:
            return self._index[self.unknown]
        raise self._lookup.refusal(symbol)

    @overload
    def encode(self, text: str, *, marks: bool = False) -> Tensor: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def encode(self, text: Sequence[Row], *, marks: bool = False) -> Batch: ...
    def encode(self, text: str | Sequence[Row], *, marks: bool = False) -> Tensor | Batch:
        """Numbers for symbols: one text gives (time,) int64, a list of rows gives a Batch.

        A row is a text, or a list of symbols. marks: the symbols `begin` and `end`, those of them that
        the vocabulary has, are put around the text, or around each row.

        Raises Error naming a symbol outside the vocabulary (if it has no unknown symbol) and its place.
        """
        if isinstance(text, str):
            return torch.from_numpy(self._row(text, marks).astype(np.int64))
        rows = [self._row(row, marks) for row in text]
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        filler = 0 if self.padding is None else self._index[self.padding]
        longest = max(map(len, rows), default=0)
        indices = np.full((len(rows), longest), filler, dtype=np.int64)
        for i, row in enumerate(rows):
            indices[i, : len(row)] = row
        return Batch(torch.from_numpy(indices), lengths, self)

    def numbers(self, text: Row) -> np.ndarray:
        """(time,) of the type `dtype`: what `encode` gives, in the least memory."""
        if not isinstance(text, str):
            return np.fromiter((self.index(symbol) for symbol in text), dtype=self.dtype, count=len(text))
        return self._lookup(self.normalized(text))

    def rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        """`numbers` of each text, much faster where there are many short ones."""
        # A part of a normalised text is normalised.
        if self.normalized(whole := "".join(texts)) != whole:
            texts = [self.normalized(text) for text in texts]
        return self._lookup.rows(texts)

    def sentences(self, blocks: Iterable[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """A text given in blocks as (numbers, ends), piece by piece: its numbers, of the type `dtype`, and
        where among a piece's numbers its lines end, line feed included.

        Raises Error as `encode` does.
        """
        for block in self._unit.blocks(normalized(blocks, self.normalize)):
            yield self._lookup.lines(block)

    @overload
    def decode(self, indices: Batch) -> list[str | list[str]]: ...
    @overload
    def decode(self, indices: Tensor | Sequence[int]) -> str | list[str]: ...
    def decode(self, indices: Batch | Tensor | Sequence[int]) -> Any:
        """The text of numbers: (time,) gives a text, a Batch gives a list of its rows' texts.

        Padding, begin and end are left out. Where the unit is "character" and a symbol is longer than one,
        as in a list of labels, each row is a list of symbols instead of a text.
        """
        if isinstance(indices, Batch):
            pairs = zip(indices.indices.cpu(), indices.lengths.tolist(), strict=True)
            return [self.decode(row[:length]) for row, length in pairs]
        numbers = indices.tolist() if isinstance(indices, Tensor) else indices
        if self._is_text:
            return "".join(self.stream(numbers))
        return list(self._shown(numbers))

    def stream(self, numbers: Iterable[int]) -> Iterator[str]:
        """The text of numbers that come one by one, each piece as soon as no later number can change it.

        Joined, the pieces are `decode` of all the numbers: bytes become characters, jamo syllables.
        """
        return self._unit.stream(self._shown(numbers))

    def continued(self, prompt: str, symbols: Iterable[str]) -> str:
        """The text of symbols that follow a prompt: after a word, a word begins with a space."""
        text = "".join(self.stream(map(self.index, symbols)))
        return self.between(prompt) + text if text else text

    def between(self, prompt: str) -> str:
        """What stands between a prompt and the symbols that follow it: a space after a word, or nothing."""
        return " " if self.unit == Word.name and prompt and not prompt[-1].isspace() else ""

    def _shown(self, numbers: Iterable[int]) -> Iterator[str]:
        hidden = {self.padding, self.begin, self.end}
        for i in numbers:
            if not isinstance(i, Integral) or not 0 <= i < len(self):
                raise Error(f"Vocabulary.decode: {i!r} is not a number from 0 to {len(self) - 1}")
            if (symbol := self.symbols[i]) not in hidden:
                yield symbol

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as plain data, for JSON."""
        return {"symbols": list(self.symbols), **{name: getattr(self, name) for name in OPTIONS}}

    @classmethod
    def from_dict(cls, data: Any) -> Vocabulary:
        """The vocabulary that `to_dict` described; raises Error if the data is something else."""
        if not isinstance(data, dict) or not isinstance(data.get("symbols"), list):
            raise Error("Vocabulary: wanted an object with a list 'symbols'")
        symbols = data["symbols"]
        given = {name: data[name] for name in OPTIONS if name in data}
        for name, value in given.items():
            if not isinstance(value, bool if name == "lower" else str | None):
                raise Error(f"Vocabulary: {name!r} is {value!r}; wanted {OPTIONS[name]}")
        vocabulary = cls(symbols, **given)
        if list(vocabulary.symbols) != symbols:
            raise Error("Vocabulary: the list 'symbols' repeats a symbol or misplaces a special one")
        return vocabulary

    def to_json(self) -> str:
        """The vocabulary as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """The vocabulary in a JSON text; raises Error if it holds something else."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Error(f"Vocabulary: not JSON: {error}") from error
        return cls.from_dict(data)

    def _row(self, row: Row, marks: bool) -> np.ndarray:
        before = [self._index[self.begin]] if marks and self.begin is not None else []
        after = [self._index[self.end]] if marks and self.end is not None else []
        numbers = self.numbers(row)
        return np.concatenate([before, numbers, after]) if before or after else numbers
