"""Records of vector files to rows of a matrix: compiled loops over bytes."""

from __future__ import annotations

import numpy as np
from numba import njit

from .stream import LONGEST_WORD

# Why a kernel came back.
CONSUMED = 0  # the bytes hold no further whole record
FULL = 1  # the matrix, or the list of numbers left to Python, has no room for another record
NO_WORD = 2
NO_NUMBER = 3
NOT_FINITE = 4
TOO_FEW = 5
TOO_MANY = 6
LONG_WORD = 7


_SPACE, _TAB, _NEWLINE, _RETURN = 32, 9, 10, 13
# float64 powers of ten; up to 10^22 they are exact, so one multiplication rounds correctly.
_POWERS = np.array([float(f"1e{k}") for k in range(61)])
_WORDS_OF_NO_NUMBER = ("nan", "inf", "infinity")
_LONGEST_EXACT = 1 << 53


@njit(cache=True, nogil=True)
def _is_special(data, begin, end):
    """Whether the token is nan, inf or infinity, signed or not, in any case."""
    if data[begin] == 43 or data[begin] == 45:
        begin += 1
    for name in _WORDS_OF_NO_NUMBER:
        if end - begin == len(name):
            same = True
            for k in range(len(name)):
                if data[begin + k] | 32 != ord(name[k]):
                    same = False
            if same:
                return True
    return False


@njit(cache=True, nogil=True)
def _number(data, begin, end, scratch):
    """(kind, value) of a token: 0 a number, 1 none, 2 not finite, 3 left to Python's float().

    The value is float64 and rounds to the float32 that float32(float(token)) is: it is exact to the last
    bit, or a few units off where no float32 rounding can tell.
    """
    i = begin
    negative = data[i] == 45
    if negative or data[i] == 43:
        i += 1
    mantissa, digits, exponent, seen = np.uint64(0), 0, 0, False
    point = False
    while i < end:
        c = data[i]
        if 48 <= c <= 57:
            seen = True
            if digits < 19:
                mantissa = mantissa * np.uint64(10) + np.uint64(c - 48)
                digits += mantissa > 0
                exponent -= point
            else:
                exponent += not point
        elif c == 46 and not point:
            point = True
        else:
            break
        i += 1
    if not seen:
        return (2 if _is_special(data, begin, end) else 1), 0.0
    if i < end:
        if data[i] | 32 != 101 or i + 1 == end:
            return 1, 0.0
        i += 1
        down = data[i] == 45
        if down or data[i] == 43:
            i += 1
        if i == end:
            return 1, 0.0
        power = 0
        while i < end:
            if not 48 <= data[i] <= 57:
                return 1, 0.0
            power = min(power * 10 + data[i] - 48, 100000)
            i += 1
        exponent += -power if down else power
    if mantissa == 0:
        return 0, (-0.0 if negative else 0.0)
    if exponent < -60 or exponent > 60:
        return 3, 0.0
    value = float(mantissa)
    value = value / _POWERS[-exponent] if exponent < 0 else value * _POWERS[exponent]
    if value < 1.2e-38 or value > 3.4e38:
        return 3, 0.0
    if digits >= 19 or mantissa > _LONGEST_EXACT or exponent < -22 or exponent > 22:
        scratch[0] = value
        dropped = scratch.view(np.uint64)[0] & np.uint64((1 << 29) - 1)
        if abs(np.int64(dropped) - (1 << 28)) <= 64:
            return 3, 0.0  # so near the middle of two float32 that the error could decide
    return 0, (-value if negative else value)


@njit(cache=True, nogil=True)
def text_rows(data, begin, end, matrix, row, words, filled, left):
    """Parses lines `word number … number` from data[begin:end], which ends in a newline.

    matrix: (rows, dimension) float32, filled from `row` on. words: bytes, filled from `filled` on with each
    word and a newline. left: (n, 4) int64, (row, column, begin, end) of numbers for Python's float().
    A word may hold spaces, but no part of it after the first may be a number.

    Returns (why it came back, position of the next line or of the wrong token, its end or how many numbers
    the line has, row, filled, how many were left).
    """
    dimension = matrix.shape[1]
    scratch = np.empty(1)
    lefts = 0
    while begin < end:
        line = begin
        i = begin
        while data[i] != _NEWLINE:
            i += 1
        stop = i
        begin = i + 1
        if stop > line and data[stop - 1] == _RETURN:
            stop -= 1
        while stop > line and (data[stop - 1] == _SPACE or data[stop - 1] == _TAB):
            stop -= 1
        if stop == line:
            continue
        if row == matrix.shape[0] or lefts + dimension > left.shape[0]:
            return FULL, line, line, row, filled, lefts
        word_end = line
        while word_end < stop and data[word_end] != _SPACE and data[word_end] != _TAB:
            word_end += 1
        if word_end == line:
            return NO_WORD, line, stop, row, filled, lefts
        if word_end - line > LONGEST_WORD:
            return LONG_WORD, line, stop, row, filled, lefts
        i, column = word_end, 0
        while i < stop:
            while data[i] == _SPACE or data[i] == _TAB:
                i += 1
            token = i
            while i < stop and data[i] != _SPACE and data[i] != _TAB:
                i += 1
            kind, value = _number(data, token, i, scratch)
            if kind == 1:
                if column:
                    return NO_NUMBER, token, i, row, filled, lefts
                word_end = i
                continue
            if kind == 2:
                return NOT_FINITE, token, i, row, filled, lefts
            if column < dimension:
                if kind == 3:
                    left[lefts, 0], left[lefts, 1], left[lefts, 2], left[lefts, 3] = row, column, token, i
                    lefts += 1
                matrix[row, column] = value
            column += 1
        if column != dimension:
            return (TOO_FEW if column < dimension else TOO_MANY), line, column, row, filled, lefts
        for k in range(line, word_end):
            words[filled] = data[k]
            filled += 1
        words[filled] = _NEWLINE
        filled += 1
        row += 1
    return CONSUMED, begin, begin, row, filled, lefts


@njit(cache=True, nogil=True)
def binary_rows(data, begin, end, cells, row, words, filled):
    """Parses records `word, space, float32 … float32` from data[begin:end], newlines between or not.

    cells: (rows, 4·dimension) uint8, the matrix's bytes, filled from `row` on; words: as for `text_rows`.
    Returns (why it came back, position of the next record or of the wrong one, row, filled).
    """
    width = cells.shape[1]
    while True:
        i = begin
        while i < end and data[i] == _NEWLINE:
            i += 1
        word = i
        if row == cells.shape[0]:
            return FULL, word, row, filled
        while i < end and data[i] != _SPACE and data[i] != _NEWLINE and i - word <= LONGEST_WORD:
            i += 1
        if i - word > LONGEST_WORD:
            return LONG_WORD, word, row, filled
        if i < end and (data[i] == _NEWLINE or i == word):
            return NO_WORD, word, row, filled
        if i + 1 + width > end:
            return CONSUMED, word, row, filled
        for k in range(width):
            cells[row, k] = data[i + 1 + k]
        for k in range(word, i):
            words[filled] = data[k]
            filled += 1
        words[filled] = _NEWLINE
        filled += 1
        row += 1
        begin = i + 1 + width
