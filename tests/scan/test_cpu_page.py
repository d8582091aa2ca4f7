"""The page on cells: its code runs as it stands, and what it says of the cells is so."""

import re
from pathlib import Path

import pytest
import torch

import unrolled as ur
from unrolled.cells import Cell

PAGE = Path(__file__).parents[2] / "docs" / "cells.md"


@pytest.fixture(scope="module")
def names():
    """What its blocks of code leave behind, run one after another."""
    torch.manual_seed(0)
    found = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        exec(block, found)
    return found


def test_its_code_runs_and_the_layer_is_right(names):
    difference = names["layer"](names["x"])[0] - names["wanted"]
    assert difference.abs().max() < 1e-4


def test_each_of_its_cells_has_kernels(names):
    cells = {value for value in names.values() if isinstance(value, Cell)}
    assert len(cells) == 5
    for cell in cells:
        assert ur.explain(ur.Recurrent(cell, 3, 4), torch.randn(5, 2, 3)).engine == "cpu"
