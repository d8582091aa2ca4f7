"""Cells of one's own as ONNX files: the functions that the CPU engine has kernels of."""

import onnxruntime
import pytest
import torch
from elementwise import KINKED, POWERS, SMOOTH, cell_of, gated_decay, linear_recurrent_unit

import unrolled as ur

CELLS = {
    "smooth": cell_of(SMOOTH.values()),
    "kinked": cell_of(KINKED.values()),
    "powers": cell_of(POWERS.values()),
    "of a complex number": linear_recurrent_unit,
    "of a power": gated_decay,
}


@pytest.mark.parametrize("name", CELLS)
def test_onnxruntime_computes_the_same(name, tmp_path):
    torch.manual_seed(0)
    layer = ur.Recurrent(CELLS[name], 3, 5, bidirectional=True)
    exported = ur.export.onnx(layer, tmp_path / "cell.onnx")
    lengths, x = torch.tensor([6, 0, 4]), torch.randn(6, 3, 3)
    states = [torch.zeros(2, 3, 5)] * layer.stack.cell.states
    opened = onnxruntime.InferenceSession(tmp_path / "cell.onnx", providers=["CPUExecutionProvider"])
    given = {n: t.numpy() for n, t in zip(exported.inputs, (x, lengths, *states), strict=True)}
    output, *_ = opened.run(None, given)
    with torch.no_grad():
        wanted, _ = layer(x, lengths=lengths)
    torch.testing.assert_close(torch.from_numpy(output), wanted, rtol=1e-4, atol=1e-5)


@ur.cell(gates=1)
def zeros_with_signs(x, r, h):
    return torch.copysign(torch.sigmoid(x[0] + r[0]), -0.0 * torch.relu(x[0]))


def test_a_zero_has_its_sign(tmp_path):
    layer = ur.Recurrent(zeros_with_signs, 3, 5)
    ur.export.onnx(layer, tmp_path / "cell.onnx")  # which compares with onnxruntime
    assert (layer(torch.randn(6, 3, 3))[0] < 0).all()


@ur.cell(gates=1)
def with_truths(x, r, h):
    v = x[0] + r[0]
    chosen = torch.where(v > 0, v > 1, h > 0) & torch.ones_like(v, dtype=torch.bool)
    return torch.tanh(v).mul_(2).relu_() * torch.rsqrt(1 + h * h) * chosen


@pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")  # no kernel chooses between truth values
def test_truth_values_and_writing_in_place(tmp_path):
    layer = ur.Recurrent(with_truths, 3, 5)
    ur.export.onnx(layer, tmp_path / "cell.onnx")  # which compares with onnxruntime
    assert layer(3 * torch.randn(6, 3, 3))[0].any()


@ur.cell(gates=1)
def counts(x, r, h):
    return torch.tanh(x[0] + r[0]) * torch.where((x[0] > 0) + (h > 0), 1.0, 0.5)


@ur.cell(gates=1)
def cut_off(x, r, h):
    return torch.tanh((x[0] + r[0]).int().float())


@ur.cell(gates=1)
def arc(x, r, h):
    return torch.atan(x[0] + r[0])


@pytest.mark.parametrize(
    ("cell", "op"), [(cut_off, "_to_copy.default"), (arc, "atan.default"), (counts, "add.Tensor")]
)
def test_others_are_refused_by_name(cell, op, tmp_path):
    with pytest.raises(ur.Error, match=f"aten.{op}, for which no ONNX operator"):
        ur.export.onnx(ur.Recurrent(cell, 3, 5), tmp_path / "cell.onnx")
    assert not list(tmp_path.iterdir())
