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


class ResetBefore(torch.nn.Module):
    """A GRU with linear_before_reset=0: n = tanh(W x + b + R (ρ h) + b').

    Its candidate is a product of a product, which no cell of ours is: a cell gets R h and nothing else.
    """

    def __init__(self, w, r, b):
        super().__init__()
        self.w, self.r, self.b = w, r, b

    def forward(self, x, h, lengths):
        hidden = self.r.shape[-1]
        z_r, n = 2 * hidden, slice(2 * hidden, None)
        b_w, b_r = self.b.chunk(2)
        outputs, h = [], h[0]
        for t, x_t in enumerate(x):
            projected = x_t @ self.w.T + b_w
            z, r = torch.sigmoid(projected[:, :z_r] + h @ self.r[:z_r].T + b_r[:z_r]).chunk(2, dim=1)
            candidate = torch.tanh(projected[:, n] + (r * h) @ self.r[n].T + b_r[n])
            inside = (t < lengths)[:, None]
            new = (1 - z) * candidate + z * h
            h = torch.where(inside, new, h)
            outputs.append(torch.where(inside, new, 0.0))
        return torch.stack(outputs), h[None]


def run(node, inputs):
    """What the node computes: {name of its output: array}, by a layer of ours."""
    values = {name: array for name, array in zip(node.input, inputs, strict=False) if name}
    options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    given = [values.get(name) for name in node.input] + [None] * 8
    x, w = torch.from_numpy(given[0]), given[1]
    if options.get("layout", 0):
        x = x.transpose(0, 1)
    time, batch, _ = x.shape
    lengths = torch.full((batch,), time) if given[4] is None else torch.from_numpy(given[4]).long()
    direction = options.get("direction", b"forward")
    slots, hidden = w.shape[0], options["hidden_size"]
    states = [None if s is None else torch.from_numpy(s) for s in given[5:7]]
    if options.get("layout", 0):
        states = [None if s is None else s.transpose(0, 1) for s in states]
    states = [torch.zeros(slots, batch, hidden) if s is None else s for s in states]
    if direction == b"reverse":
        x = reversed_rows(x, lengths)
    plain = [a for a in node.attribute if a.name not in ("layout", "direction")]
    if direction == b"bidirectional":
        plain.append(helper.make_attribute("direction", "bidirectional"))
    one = helper.make_node(node.op_type, list(node.input), list(node.output))
    one.attribute.extend(plain)
    if node.op_type == "GRU" and not options.get("linear_before_reset", 0):
        output, last = reset_before(given, states[0], x, lengths)
    else:
        state = (states[0], states[1]) if node.op_type == "LSTM" else states[0]
        module = layer_of(one, values)
        assert isinstance(module, (ur.RNN, ur.GRU, ur.LSTM, ur.Recurrent))
        output, last = module(x, state, lengths=lengths)
    last = [last] if isinstance(last, torch.Tensor) else list(last)
    if direction == b"reverse":
        output = reversed_rows(output, lengths)
    output = output.reshape(time, batch, slots, hidden).transpose(1, 2)
    if options.get("layout", 0):
        output, last = output.permute(2, 0, 1, 3), [s.transpose(0, 1) for s in last]
    return dict(zip(node.output, [output, *last], strict=False))


def reversed_rows(x, lengths):
    """(time, batch, …) with each row backwards within its length."""
    backwards = x.clone()
    for row, length in enumerate(lengths.tolist()):
        backwards[:length, row] = x[:length, row].flip(0)
    return backwards


def reset_before(given, h, x, lengths):
    w, r = torch.from_numpy(given[1]), torch.from_numpy(given[2])
    directions, rows, _ = w.shape
    b = torch.zeros(directions, 2 * rows) if given[3] is None else torch.from_numpy(given[3])
    output, last = ResetBefore(w[0], r[0], b[0])(x, h[:1], lengths)
    if directions == 1:
        return output, last
    backwards, end = ResetBefore(w[1], r[1], b[1])(reversed_rows(x, lengths), h[1:], lengths)
    return torch.cat([output, reversed_rows(backwards, lengths)], -1), torch.cat([last, end])


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
