"""ONNX's own tests of its RNN, GRU and LSTM nodes, all of them, run by our layers."""

import warnings

import numpy as np
import pytest
import torch
from onnx import helper

import unrolled as ur
from unrolled.export.read import layer as layer_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.loader import load_model_tests

    CASES = [
        test
        for test in load_model_tests(kind="node")
        if {node.op_type for node in test.model.graph.node} & {"RNN", "GRU", "LSTM"}
    ]


pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")


def run(node, inputs):
    """What the node computes: {name of its output: array}, by a layer of ours."""
    values = {name: array for name, array in zip(node.input, inputs, strict=False) if name}
    options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    x, _, _, _, lengths, *states = [values.get(name) for name in node.input] + [None] * (
        7 - len(node.input)
    )
    layer = layer_of(node, values)
    assert isinstance(layer, (ur.RNN, ur.GRU, ur.LSTM, ur.Recurrent, ur.export.Reversed))
    state = initial(states[:2], node, x, options)
    lengths = None if lengths is None else torch.from_numpy(lengths)
    output, last = layer(torch.from_numpy(x), state, lengths=lengths)
    last = [last] if isinstance(last, torch.Tensor) else list(last)
    # (time, batch, directions * hidden), with layout 1 (batch, time, …); ONNX keeps directions apart.
    output = output.unflatten(-1, (-1, options["hidden_size"]))
    if options.get("layout", 0):
        last = [s.transpose(0, 1) for s in last]
    else:
        output = output.transpose(1, 2)
    return dict(zip(node.output, [output, *last], strict=False))


def initial(states, node, x, options):
    """The node's initial states as ours: zeros for one that is not given beside one that is."""
    if all(s is None for s in states):
        return None
    layout = options.get("layout", 0)
    slots = 2 if options.get("direction") == b"bidirectional" else 1
    zeros = torch.zeros(slots, x.shape[0 if layout else 1], options["hidden_size"])
    found = [zeros if s is None else torch.from_numpy(s) for s in states]
    found = [s.transpose(0, 1) if layout and s is not zeros else s for s in found]
    return tuple(found) if node.op_type == "LSTM" else found[0]


def test_there_are_as_many_as_we_say():
    assert len(CASES) >= 18


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@torch.no_grad()
def test_node(case):
    (node,) = case.model.graph.node
    for inputs, wanted in case.data_sets:
        got = run(node, inputs)
        names = [o.name for o in case.model.graph.output]
        assert len(wanted) == len(names) > 0
        for name, expected in zip(names, wanted, strict=True):
            assert got[name].shape == expected.shape
            np.testing.assert_allclose(got[name].numpy(), expected, rtol=case.rtol, atol=case.atol)
