"""Scores with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def wilson(right: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a proportion, Wilson (1927)."""
    if not total:
        return 0.0, 1.0
    z, p = 1.959964, right / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def confusion(wanted: Sequence[int], got: Sequence[int], labels: int) -> np.ndarray:
    """(labels, labels) counts: row the true label, column the predicted one."""
    matrix = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(matrix, (np.asarray(wanted, dtype=np.int64), np.asarray(got, dtype=np.int64)), 1)
    return matrix


def f1_by_class(matrix: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) of each label; 0 for a label that is nowhere."""
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    both = matrix.sum(-1) + matrix.sum(-2)
    return np.divide(2 * right, both, out=np.zeros(right.shape), where=both > 0)


def macro_f1(matrix: np.ndarray) -> float:
    """The mean F1 over the labels that occur in the data."""
    present = matrix.sum(1) > 0
    return float(f1_by_class(matrix)[present].mean()) if present.any() else 0.0


def accuracy(matrix: np.ndarray) -> float:
    """The part of all that is on the diagonal; 0 of nothing."""
    return float(np.trace(matrix) / max(matrix.sum(), 1))


def classification(
    wanted: Sequence[int], got: Sequence[int], labels: Sequence[str], what: str = "texts"
) -> dict[str, Any]:
    """Accuracy and macro-F1 with 95 % intervals (Wilson; 1,000 bootstrap draws), each label's scores;
    what: the name of what is counted."""
    matrix = confusion(wanted, got, len(labels))
    total, right = int(matrix.sum()), int(np.trace(matrix))
    random = np.random.default_rng(0)
    flat = matrix.ravel() / max(total, 1)
    draws = random.multinomial(total, flat, size=1000).reshape(-1, *matrix.shape)
    low, high = np.quantile([macro_f1(draw) for draw in draws], (0.025, 0.975))
    f1 = f1_by_class(matrix)
    return {
        what: total,
        "accuracy": accuracy(matrix),
        "accuracy_interval": list(wilson(right, total)),
        "macro_f1": macro_f1(matrix),
        "macro_f1_interval": [float(low), float(high)],
        "labels": {
            label: {
                what: int(matrix[i].sum()),
                "precision": float(matrix[i, i] / max(matrix[:, i].sum(), 1)),
                "recall": float(matrix[i, i] / max(matrix[i].sum(), 1)),
                "f1": float(f1[i]),
            }
            for i, label in enumerate(labels)
        },
    }
