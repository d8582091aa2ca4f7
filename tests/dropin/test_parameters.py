"""What becomes of a layer's parameters after it was made, in a program written for torch.nn."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import unrolled as ur

LAYERS, CELLS = ["RNN", "GRU", "LSTM"], ["RNNCell", "GRUCell", "LSTMCell"]
PARAMETERS = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]


def pair(name, *sizes, **options):
    """torch.nn's module and ours, of the same parameters."""
    theirs, ours = (getattr(package, name)(*sizes, **options) for package in (nn, ur))
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def close(got, wanted):
    torch.testing.assert_close(tree_leaves(got), tree_leaves(wanted))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("how", ["data", "parameter"])
def test_a_cells_parameter_of_a_wrong_shape_is_refused(name, graded, warm, how):
    x = torch.randn(8, 40)
    for which in PARAMETERS:
        cell = getattr(ur, name)(40, 50)
        with torch.set_grad_enabled(graded):
            for _ in range(warm):
                cell(x)
            cut = getattr(cell, which).data[:6].clone()
            if how == "data":
                getattr(cell, which).data = cut
            else:
                setattr(cell, which, nn.Parameter(cut))
            for _ in range(2):
                # RNNCell with gradients is torch's own operator, and says it in other words.
                with pytest.raises(RuntimeError):
                    cell(x)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("taken", [["bias_ih"], ["bias_hh"], ["bias_ih", "bias_hh"]])
def test_a_cells_bias_may_be_taken_away(name, taken):
    theirs, ours = pair(name, 4, 6)
    for cell in (theirs, ours):
        for which in taken:
            setattr(cell, which, None)
    x = torch.randn(3, 4)
    for graded in (True, False, True):
        with torch.set_grad_enabled(graded):
            close(ours(x), theirs(x))
    sum(t.sum() for t in tree_leaves(ours(x))).backward()
    assert ours.weight_ih.grad.any()


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_put_into_torchs_list_of_parameters_is_used(name):
    """As adapters of low rank do."""
    found, x = [], torch.randn(5, 3, 4)
    for layer in pair(name, 4, 6, bidirectional=True):
        delta = nn.Parameter(torch.full_like(layer.weight_hh_l0, 0.1))
        own = layer._flat_weights
        layer._flat_weights = [w + delta if w is layer.weight_hh_l0 else w for w in own]
        found.append([layer(x), torch.autograd.grad(layer(x)[0].sum(), delta)])
        with torch.no_grad():
            found[-1] += [layer(x), layer(x)]
        layer.weight_ih_l0 = nn.Parameter(torch.ones_like(layer.weight_ih_l0))  # a newer parameter counts
        found[-1].append(layer(x))
        layer._flat_weights[2] = torch.zeros_like(layer.bias_ih_l0)
        found[-1].append(layer(x))
    close(*found)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_an_output_without_autograd_may_be_changed_in_place(name, batch_first):
    encoder, position = getattr(ur, name)(4, 6, batch_first=batch_first), nn.Parameter(torch.zeros(6))
    for time in (5, 5, 9):
        with torch.no_grad():
            output, _ = encoder(torch.randn(time, 2, 4))
        before = output.clone()
        output += position
        output.sum().backward()
        assert torch.equal(output, before)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_on_the_meta_device_a_call_says_the_shapes(name):
    theirs, ours = (getattr(package, name)(4, 6, device="meta") for package in (nn, ur))
    x = torch.empty(*([] if "Cell" in name else [5]), 3, 4, device="meta")
    got, wanted = (tree_leaves(module(x)) for module in (ours, theirs))
    assert [(t.shape, t.device) for t in got] == [(t.shape, t.device) for t in wanted]
    sum(t.sum() for t in got).backward()
    assert all(p.grad.is_meta for p in ours.parameters())


def test_sizes_may_be_numpys():
    layer = ur.LSTM(np.int64(4), np.int64(6), num_layers=np.int32(2), proj_size=np.int64(3))
    close(layer(torch.zeros(3, 4))[0].shape, (3, 3))
    assert repr(layer) == repr(nn.LSTM(4, 6, num_layers=2, proj_size=3))
    with pytest.raises(TypeError, match="num_layers should be of type int, got: float64"):
        ur.GRU(4, 6, num_layers=np.float64(2))


@pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
@pytest.mark.parametrize("name", LAYERS + CELLS[:2])
def test_complex_numbers(name):
    theirs, ours = pair(name, 4, 6, dtype=torch.complex64)
    x = torch.randn(*([] if "Cell" in name else [5]), 3, 4, dtype=torch.complex64)
    close(ours(x), theirs(x))
