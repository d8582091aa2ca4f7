"""Words and a vector for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import Error

BLOCK = 1 << 24
"""The most similarities that are in memory at once."""


class WordVectors:
    """A table of words and their vectors.

    words: tuple of distinct strings, the most frequent first where the file says nothing else.
    matrix: (words, dimension) float32, row i is the vector of words[i].
    replaced: how many words were not UTF-8 in the file they came from; they hold `\\\\x` escapes.

    Raises Error for a repeated word, a matrix of another shape or dtype, or a number that is not finite.
    """

    def __init__(self, words: Sequence[str], matrix: np.ndarray, *, replaced: int = 0) -> None:
        if matrix.ndim != 2 or matrix.dtype != np.float32 or 0 in matrix.shape:
            raise Error(
                f"WordVectors: the matrix is {matrix.dtype} of shape {matrix.shape}; "
                f"wanted float32 (words, dimension), neither of them 0"
            )
        if len(words) != len(matrix):
            raise Error(
                f"WordVectors: {len(words)} words for a matrix of {len(matrix)} rows; wanted as many"
            )
        self.words: tuple[str, ...] = tuple(words)
        self.matrix = matrix
        self.replaced = replaced
        self._index = {word: i for i, word in enumerate(self.words)}
        if len(self._index) < len(self.words):
            self._refuse_repeated()
        norms = np.empty(len(matrix), dtype=np.float32)
        with np.errstate(all="ignore"):  # what is not finite is refused with its word
            for rows in _blocks(len(matrix), matrix.shape[1]):
                norms[rows] = np.sqrt(np.einsum("ij,ij->i", matrix[rows], matrix[rows], dtype=np.float64))
        if not np.isfinite(norms).all():
            self._refuse_infinite(norms)
        norms[norms == 0] = 1  # a vector of zeros is like nothing
        self._norms = norms

    def _refuse_repeated(self) -> None:
        seen: dict[str, int] = {}
        for i, word in enumerate(self.words):
            if word in seen:
                raise Error(
                    f"the word {word!r} is there twice, as number {seen[word] + 1} and number {i + 1}; "
                    f"wanted distinct words: remove one of the rows"
                )
            seen[word] = i

    def _refuse_infinite(self, norms: np.ndarray) -> None:
        for i in np.flatnonzero(~np.isfinite(norms)):
            wrong = self.matrix[i][~np.isfinite(self.matrix[i])]
            what = wrong[0] if len(wrong) else "a number too large to square in float32"
            raise Error(
                f"the vector of {self.words[i]!r} (number {i + 1}) holds {what}; wanted finite numbers"
            )

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._index

    def __repr__(self) -> str:
        return f"WordVectors({len(self)} words, dimension {self.dimension})"

    def __getitem__(self, word: str) -> np.ndarray:
        """(dimension,) float32, the word's vector; raises Error for a word that is not in the table."""
        return self.matrix[self.index(word)]

    @property
    def dimension(self) -> int:
        """How many numbers each vector has."""
        return self.matrix.shape[1]

    def index(self, word: str) -> int:
        """The row of a word; raises Error if it is not in the table."""
        if word not in self._index:
            raise Error(f"the word {word!r} is not among the {len(self):,} words of these vectors")
        return self._index[word]

    def similarity(self, first: str, second: str) -> float:
        """The cosine of the angle between two words' vectors, u·v / (|u| |v|); 0 for a vector of zeros."""
        return self.cosine(self.index(first), self.index(second))

    def cosine(self, first: int, second: int) -> float:
        """The same for two rows of the table."""
        u, v = self._units([first, second])
        return float(np.clip(u @ v, -1, 1))

    def nearest(self, word: str | np.ndarray, count: int = 10) -> list[tuple[str, float]]:
        """The words whose vectors are at the smallest angle, each with its cosine, the nearest first.

        word: a word of the table (left out of the answer), or a vector (dimension,).
        """
        if isinstance(word, str):
            row = self.index(word)
            return self._ranked(self._units([row])[0], count, {row})
        vector = np.asarray(word, dtype=np.float64)  # of which float32 may not hold the squares
        if vector.shape != (self.dimension,) or not np.isfinite(vector).all():
            raise Error(
                f"nearest: got a vector of shape {vector.shape}; "
                f"wanted finite numbers of shape ({self.dimension},), or a word"
            )
        return self._ranked(vector / (np.linalg.norm(vector) or 1), count, set())

    def analogy(self, a: str, b: str, c: str, count: int = 10) -> list[tuple[str, float]]:
        """Words that are to c as b is to a, the likeliest first: argmax_w cos(w, b − a + c).

        The three vectors are first brought to length 1, and the three words left out of the answer
        (3CosAdd; Mikolov, Yih and Zweig, "Linguistic regularities in continuous space word
        representations", 2013). The figure beside each word is that cosine.
        """
        rows = [self.index(word) for word in (a, b, c)]
        u, v, w = self._units(rows)
        target = v - u + w
        return self._ranked(target / (np.linalg.norm(target) or 1), count, set(rows))

    def _units(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        return self.matrix[rows] / self._norms[rows][:, None]

    def _ranked(self, unit: np.ndarray, count: int, left_out: set[int]) -> list[tuple[str, float]]:
        if count < 1:
            raise Error(f"count is {count}; wanted at least 1 word")
        cosines = self.matrix @ unit.astype(np.float32) / self._norms
        cosines[list(left_out)] = -np.inf
        count = min(count, len(self) - len(left_out))
        if count < 1:
            return []
        best = np.argpartition(-cosines, count - 1)[:count]
        best = best[np.lexsort((best, -cosines[best]))]
        return [(self.words[i], float(cosines[i])) for i in best]

    def answers(self, questions: np.ndarray) -> np.ndarray:
        """(questions,) rows, `analogy`'s first answers; questions: (questions, 3) rows of a, b, c."""
        found = np.empty(len(questions), dtype=np.int64)
        for part in _blocks(len(questions), len(self)):
            asked = questions[part]
            a, b, c = (self._units(asked[:, k]) for k in range(3))
            cosines = (b - a + c) @ self.matrix.T
            cosines /= self._norms
            cosines[np.arange(len(asked))[:, None], asked] = -np.inf
            found[part] = cosines.argmax(axis=1)
        return found


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK // max(1, width))
    for begin in range(0, rows, step):
        yield slice(begin, min(rows, begin + step))
