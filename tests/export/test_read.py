"""Recurrent nodes of ONNX files as layers: the weights come back, what a file says is checked."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import unrolled as ur
from unrolled.cells import CELLS

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


LAYERS = {
    "rnn": lambda: ur.RNN(3, 5, bidirectional=True),
    "relu": lambda: ur.RNN(3, 5, nonlinearity="relu", bias=False),
    "gru": lambda: ur.GRU(3, 5, bidirectional=True),
    "lstm": lambda: ur.LSTM(3, 5),
    "peepholes": lambda: ur.Recurrent(CELLS["peephole_lstm"], 3, 5, bidirectional=True),
    "reset before": lambda: ur.export.ResetBeforeGRU(3, 5, bidirectional=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_weights_come_back(name, tmp_path):
    layer = LAYERS[name]()
    ur.export.onnx(layer, tmp_path / "layer.onnx")
    (back,) = ur.export.layers(tmp_path / "layer.onnx").values()
    assert type(back) is type(layer)
    for key, value in back.state_dict().items():
        assert torch.equal(value, layer.state_dict()[key]), key
    x = torch.randn(4, 2, 3)
    torch.testing.assert_close(back(x), layer(x), rtol=0, atol=0)


def test_several_nodes_are_several_layers_in_the_order_of_the_file(tmp_path):
    layer, x = ur.GRU(3, 5, 3, bidirectional=True), torch.randn(4, 2, 3)
    ur.export.onnx(layer, tmp_path / "layer.onnx")
    found = ur.export.layers(tmp_path / "layer.onnx")
    assert [m.stack.input_size for m in found.values()] == [3, 10, 10]
    wanted, states = layer(x)
    ends = []
    for one in found.values():
        x, last = one(x)
        ends.append(last)
    torch.testing.assert_close((x, torch.cat(ends)), (wanted, states))


def node_file(path, kind, rows, peepholes=0, **attributes):
    """A file of one node with random weights, and onnxruntime's results of it."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    shapes = {"w": (rows * 5, 3), "r": (rows * 5, 5), "b": (2 * rows * 5,), "p": (peepholes * 5,)}
    weights = [
        numpy_helper.from_array(torch.randn(directions, *shape).numpy(), name)
        for name, shape in shapes.items()
        if name != "p" or peepholes
    ]
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    inputs = ["x", "w", "r", "b", "lengths", *states, *["p"][: bool(peepholes)]]
    outputs = ["y", *(f"{s}_n" for s in states)]
    node = helper.make_node(kind, inputs, outputs, "the_node", hidden_size=5, **attributes)
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", *states)]
    given.insert(1, helper.make_tensor_value_info("lengths", TensorProto.INT32, None))
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph([node], "graph", given, results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(x, lengths, *state):
        names = ["x", "lengths", *states]
        values = [x, lengths.int(), *state]
        found = session.run(None, {n: v.numpy() for n, v in zip(names, values, strict=True)})
        return [torch.from_numpy(f) for f in found]

    return run


NODES = {
    "rnn reverse": ("RNN", 1, 0, {"direction": "reverse"}),
    "gru reset before": ("GRU", 3, 0, {}),
    "gru reset before, reverse": ("GRU", 3, 0, {"direction": "reverse", "linear_before_reset": 0}),
    "gru reset before, both": ("GRU", 3, 0, {"direction": "bidirectional"}),
    "gru reverse": ("GRU", 3, 0, {"direction": "reverse", "linear_before_reset": 1}),
    "lstm reverse": ("LSTM", 4, 0, {"direction": "reverse"}),
    "lstm both": ("LSTM", 4, 0, {"direction": "bidirectional"}),
    "peepholes reverse": ("LSTM", 4, 3, {"direction": "reverse"}),
    "peepholes both": ("LSTM", 4, 3, {"direction": "bidirectional"}),
}


@pytest.mark.parametrize("name", NODES)
def test_a_node_computes_what_onnxruntime_computes(name, tmp_path):
    kind, rows, peepholes, attributes = NODES[name]
    theirs = node_file(tmp_path / "node.onnx", kind, rows, peepholes, **attributes)
    (layer,) = ur.export.layers(tmp_path / "node.onnx").values()
    assert set(ur.export.layers(tmp_path / "node.onnx")) == {"the_node"}
    slots = 2 if attributes.get("direction") == "bidirectional" else 1
    x, lengths = torch.randn(6, 4, 3), torch.tensor([6, 1, 4, 2])
    state = [torch.randn(slots, 4, 5) for _ in range(2 if kind == "LSTM" else 1)]
    wanted, *ends = theirs(x, lengths, *state)
    output, last = layer(x, tuple(state) if len(state) > 1 else state[0], lengths=lengths)
    torch.testing.assert_close(
        output.unflatten(2, (slots, 5)).transpose(1, 2), wanted, rtol=1e-4, atol=1e-5
    )
    last = [last] if isinstance(last, torch.Tensor) else list(last)
    torch.testing.assert_close(last, ends, rtol=1e-4, atol=1e-5)


def edited(tmp_path, change):
    path = tmp_path / "layer.onnx"
    ur.export.onnx(ur.GRU(3, 5), path)
    model = onnx.load(path)
    (node,) = [n for n in model.graph.node if n.op_type == "GRU"]
    weights = {i.name: i for i in model.graph.initializer}
    change(model, node, [weights[n] for n in node.input[1:4]])
    path.write_bytes(model.SerializeToString())
    return path


def attribute(node, name):
    (found,) = [a for a in node.attribute if a.name == name]
    return found


WRONG = [
    (lambda m, n, w: w[0].dims.__setitem__(1, 1 << 40), "says .*1099511627776.*the file has 45"),
    (lambda m, n, w: w[0].dims.__setitem__(1, -15), "the file has 45"),
    (lambda m, n, w: setattr(w[1], "raw_data", b""), "says .* 75 numbers; the file has 0"),
    (lambda m, n, w: setattr(w[1], "raw_data", w[1].raw_data + b"x"), "the file has 75.25"),
    (lambda m, n, w: setattr(w[1], "data_type", 999), "is 999; wanted FLOAT or DOUBLE"),
    (
        lambda m, n, w: attribute(n, "direction").CopyFrom(helper.make_attribute("direction", 3)),
        "its attribute 'direction' is of another type; wanted STRING",
    ),
    (
        lambda m, n, w: attribute(n, "activations").CopyFrom(helper.make_attribute("activations", [1, 2])),
        "'activations' is of another type; wanted STRINGS",
    ),
    (lambda m, n, w: m.graph.node.append(n), "has two nodes named"),
    (
        lambda m, n, w: setattr(w[1], "data_type", onnx.TensorProto.INT32),
        "is INT32; wanted FLOAT or DOUBLE",
    ),
    (lambda m, n, w: setattr(w[1], "data_location", onnx.TensorProto.EXTERNAL), "lies in another file"),
    (lambda m, n, w: m.graph.initializer.remove(w[0]), "is not in the file but computed"),
    (lambda m, n, w: setattr(attribute(n, "hidden_size"), "i", 6), "hidden_size is 6; its weights have 5"),
    (lambda m, n, w: n.attribute.append(helper.make_attribute("clip", 3.0)), "clip is 3.0; no cell here"),
    (
        lambda m, n, w: attribute(n, "activations").strings.__setitem__(0, b"Elu"),
        "no cell here is GRU with",
    ),
    (
        lambda m, n, w: setattr(attribute(n, "direction"), "s", b"bidirectional"),
        "no cell here is GRU with|direction is 'bidirectional' with weights for 1",
    ),
    (
        lambda m, n, w: setattr(attribute(n, "direction"), "s", b"up"),
        "direction is 'up' with weights for 1",
    ),
    (lambda m, n, w: setattr(n, "op_type", "Relu"), "has no RNN, GRU or LSTM node"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_file_is_refused(change, message, tmp_path):
    path = edited(tmp_path, change)
    with pytest.raises(ur.Error, match=message):
        ur.export.layers(path)


def test_no_onnx_file_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_bytes(np.random.default_rng(0).bytes(300))
    for name in ("text.onnx", "missing.onnx"):
        with pytest.raises(ur.Error, match=r"cannot be read as an ONNX file|has no RNN"):
            ur.export.layers(tmp_path / name)
