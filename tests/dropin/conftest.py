"""PyTorch's own module tests, from the installed torch, with our classes in the place of torch.nn's."""

import importlib
import importlib.util
import sys
import types
import unittest
from unittest import mock

import pytest
import torch

from unrolled import RNNCell
from unrolled.scan import engines


def pytorchs_generators():
    """torch.testing._internal.common_modules, or None where the installed torch has none.

    Importing it freezes torch's backend flags for the process, which is undone; and it wants expecttest
    for the base of PyTorch's own test classes, of which nothing is used here: unittest's will do.
    """
    stand_in = types.ModuleType("expecttest")
    stand_in.TestCase = unittest.TestCase
    missing = importlib.util.find_spec("expecttest") is None
    if missing:
        sys.modules["expecttest"] = stand_in
    try:
        with mock.patch.object(torch.backends, "disable_global_flags"):
            return importlib.import_module("torch.testing._internal.common_modules")
    except ModuleNotFoundError:
        return None
    finally:
        if missing:
            del sys.modules["expecttest"]


@pytest.fixture(scope="session")
def generators():
    """PyTorch's ModuleInfo of each class by the class's name."""
    module = pytorchs_generators()
    if module is None:
        pytest.skip("this torch does not ship torch.testing._internal.common_modules")
    return {info.module_cls.__name__: info for info in module.module_db}


@pytest.fixture
def ours_ran(monkeypatch):
    """Fails the test at its end if nothing of it went through our scan."""
    ran, original, short = [], engines.run, engines.again

    def run(call):
        ran.append(call.stack)
        return original(call)

    def again(stack, *rest):
        done = short(stack, *rest)
        if done is not None:
            ran.append(stack)
        return done

    monkeypatch.setattr(engines, "run", run)
    monkeypatch.setattr(engines, "again", again)
    # Its steps with gradients are torch's own operator otherwise.
    monkeypatch.setattr(RNNCell, "_as_torchs", lambda *_: False)
    yield ran
    assert ran, "nothing in this test went through unrolled's scan"
