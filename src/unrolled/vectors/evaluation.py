"""How good vectors are: analogies answered, and similarities judged as people judge them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import Error
from .table import WordVectors

Z95 = 1.959963984540054
"""The normal quantile of a two-sided interval of 95 %."""


@dataclass(frozen=True)
class Score:
    """One section's score.

    value: analogies: the share answered right; similarities: Spearman's ρ; nan if nothing was judged.
    low, high: an interval of 95 % for it. judged, asked: items that entered the score, and all there are.
    """

    section: str
    value: float
    low: float
    high: float
    judged: int
    asked: int


@dataclass(frozen=True)
class Protocol:
    """How a score is taken; published figures differ by more than twofold in this alone.

    restrict: only the first so many words of the vectors are asked about and answered with; None: all.
    lower: words of the questions are looked up in lower case, and the vectors' too (of several that
        differ in case alone, the first).
    missing: a question with a word that has no vector is left out ("skip") or is a wrong answer ("wrong").
    """

    restrict: int | None = None
    lower: bool = True
    missing: str = "skip"

    def __post_init__(self) -> None:
        if self.restrict is not None and self.restrict < 4:
            raise Error(f"restrict is {self.restrict}; wanted at least 4 words, or None for all")
        if self.missing not in ("skip", "wrong"):
            raise Error(f"missing is {self.missing!r}; wanted 'skip' or 'wrong'")

    def __str__(self) -> str:
        return (
            f"{'all words' if self.restrict is None else f'the first {self.restrict:,} words'}, "
            f"{'letter case ignored' if self.lower else 'letter case kept'}, "
            f"items with an unknown word {'left out' if self.missing == 'skip' else 'counted as wrong'}"
        )


def analogies(vectors: WordVectors, path: str | Path, protocol: Protocol | None = None) -> list[Score]:
    """Scores each section of a file of analogies, then `semantic`, `syntactic` and `total`.

    The file: lines of four words `a b c d`, sections headed `: name` (those named gram… are the syntactic
    ones), as in word2vec's questions-words.txt. An answer is 3CosAdd's, argmax_w cos(w, b − a + c) over
    vectors of length 1 without a, b and c, right if it is d. Intervals are Wilson's ("Probable inference",
    1927). Raises Error for a file that cannot be read, has no questions, or a line of another length.
    """
    protocol = protocol or Protocol()
    table = _table(vectors, protocol)
    right: dict[str, int] = {}
    judged: dict[str, int] = {}
    asked: dict[str, int] = {}
    for section, questions in _questions(Path(path)).items():
        rows = (_rows(table, words, protocol) for words in questions)
        known = np.array([q for q in rows if q is not None], dtype=np.int64).reshape(-1, 4)
        right[section] = int(np.sum(table.answers(known[:, :3]) == known[:, 3]))
        asked[section] = len(questions)
        judged[section] = len(known) if protocol.missing == "skip" else len(questions)
    kinds: dict[str, Callable[[str], bool]] = {
        "semantic": lambda name: not name.startswith("gram"),
        "syntactic": lambda name: name.startswith("gram"),
        "total": lambda name: True,
    }
    scores = [_share(name, right[name], judged[name], asked[name]) for name in asked]
    for kind, belongs in kinds.items():
        names = [name for name in asked if belongs(name)]
        sums = (sum(figures[name] for name in names) for figures in (right, judged, asked))
        scores.append(_share(kind, *sums))
    return scores


def similarities(vectors: WordVectors, path: str | Path, protocol: Protocol | None = None) -> Score:
    """Spearman's rank correlation between the cosines of pairs of words and people's judgements.

    The file: lines `word word number`, comments after #, as WordSim-353 and SimLex-999 come; a first line
    whose third field is no number is a heading. Ties get their mean rank. missing="wrong": a pair with an
    unknown word has the cosine 0. The interval is Fisher's z with the variance (1 + ρ²/2)/(n − 3) of
    Bonett and Wright ("Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations", 2000). Raises Error for a file that cannot be read or that has another line.
    """
    place, protocol = Path(path), protocol or Protocol()
    table = _table(vectors, protocol)
    cosines, judgements, asked = [], [], 0
    for first, second, judgement in _pairs(place):
        asked += 1
        pair = _rows(table, (first, second), protocol)
        if pair is None and protocol.missing == "skip":
            continue
        cosines.append(0.0 if pair is None else table.cosine(*pair))
        judgements.append(judgement)
    n = len(cosines)
    rho = _correlation(_ranks(np.array(cosines)), _ranks(np.array(judgements)))
    low = high = math.nan
    if n > 3 and abs(rho) < 1:
        z, half = math.atanh(rho), Z95 * math.sqrt((1 + rho * rho / 2) / (n - 3))
        low, high = math.tanh(z - half), math.tanh(z + half)
    return Score(place.name, rho, low, high, n, asked)


def _table(vectors: WordVectors, protocol: Protocol) -> WordVectors:
    """The words that the protocol asks about, folded as it folds them."""
    words = vectors.words[: protocol.restrict]
    if protocol.lower:
        words = tuple(word.lower() for word in words)
    first = {word: i for i, word in reversed(list(enumerate(words)))}
    rows = slice(len(words)) if len(first) == len(words) else sorted(first.values())
    return WordVectors([words[i] for i in sorted(first.values())], vectors.matrix[rows])


def _rows(table: WordVectors, words: tuple[str, ...], protocol: Protocol) -> list[int] | None:
    folded = [word.lower() if protocol.lower else word for word in words]
    return [table.index(word) for word in folded] if all(word in table for word in folded) else None


def _text(place: Path) -> list[str]:
    try:
        return place.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise Error(f"cannot read {place}: {error.strerror or error}; wanted a text file") from error
    except UnicodeDecodeError as error:
        raise Error(f"{place} is not UTF-8 text (byte {error.start}); wanted questions as text") from error


def _questions(place: Path) -> dict[str, list[tuple[str, ...]]]:
    sections: dict[str, list[tuple[str, ...]]] = {}
    name = place.stem
    for number, line in enumerate(_text(place), 1):
        words = tuple(line.split())
        if words and words[0].startswith(":"):
            name = line.strip()[1:].strip()
            sections.setdefault(name, [])
        elif words and len(words) != 4:
            raise Error(
                f"{place}, line {number}: {len(words)} words; wanted four (a is to b as c is to d), "
                f"or ': ' and a section's name"
            )
        elif words:
            sections.setdefault(name, []).append(words)
    if not any(sections.values()):
        raise Error(f"{place} has no questions; wanted lines of four words: a is to b as c is to d")
    return sections


def _pairs(place: Path) -> list[tuple[str, str, float]]:
    pairs, begun = [], False
    for number, line in enumerate(_text(place), 1):
        fields = line.partition("#")[0].replace(",", "\t").replace(";", "\t").split()
        if not fields:
            continue
        try:
            first, second, judgement = fields
            pairs.append((first, second, float(judgement)))
            begun = True
        except ValueError as error:
            if not begun and len(fields) >= 3:
                begun = True
                continue  # the heading of the columns
            raise Error(f"{place}, line {number}: {line[:60]!r}; wanted two words and a number") from error
    if not pairs:
        raise Error(f"{place} has no pairs; wanted lines of two words and a number")
    if not all(math.isfinite(judgement) for *_, judgement in pairs):
        raise Error(f"{place} holds a judgement that is not finite; wanted two words and a number")
    return pairs


def _share(section: str, right: int, judged: int, asked: int) -> Score:
    """Wilson's interval: (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)."""
    if not judged:
        return Score(section, math.nan, math.nan, math.nan, 0, asked)
    p, zz = right / judged, Z95 * Z95 / judged
    middle, half = p + zz / 2, Z95 * math.sqrt(p * (1 - p) / judged + zz / (4 * judged))
    return Score(
        section, p, max(0.0, (middle - half) / (1 + zz)), (middle + half) / (1 + zz), judged, asked
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, those of equal values their mean."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 2:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(np.clip(x @ y / scale, -1, 1)) if scale else math.nan
