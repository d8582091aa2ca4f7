"""docs/guarantees.md names a test for each promise; each of them must exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"


def promises():
    """(promise, [file::test]) of every row of the tables."""
    rows = [line.strip("| ").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [
        (row[0].strip(), re.findall(r"`(tests/[^`]+)`", row[-1])) for row in rows if "tests/" in row[-1]
    ]


def found_in(path):
    return {n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize(("promise", "named"), promises(), ids=lambda value: str(value)[:40])
def test_the_tests_that_hold_it_exist(promise, named):
    for name in named:
        file, _, test = name.partition("::")
        assert (ROOT / file).is_file(), name
        assert test in found_in(ROOT / file), name


def test_no_row_goes_without_a_test():
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| (?!-|promise)", line)]
    assert len(rows) == len(promises()) >= 25
