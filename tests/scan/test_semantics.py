"""What lengths, resets, streams and indices mean, for every cell."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unrolled as ur
from unrolled.cells import CELLS

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def layer(name, **options):
    torch.manual_seed(1)
    options = {"num_layers": 2, "batch_first": True, "dtype": torch.float64, **options}
    return ur.Recurrent(CELLS[name], 3, 5, **options)


def state_of(recurrent, batch):
    stack = recurrent.stack
    slots = stack.num_layers * stack.directions
    states = [
        torch.rand(slots, batch, stack.state_size(i), dtype=torch.float64) for i in range(stack.cell.states)
    ]
    return states[0] if len(states) == 1 else tuple(states)


def rows_of(state, rows):
    return state[:, rows] if isinstance(state, torch.Tensor) else tuple(s[:, rows] for s in state)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_each_row_is_as_if_it_were_alone_and_cut(name, bidirectional):
    recurrent = layer(name, bidirectional=bidirectional)
    x, lengths = torch.randn(4, 6, 3, dtype=torch.float64), [6, 0, 2, 5]
    state = state_of(recurrent, 4)
    output, last = recurrent(x, state, lengths=lengths)
    for row, length in enumerate(lengths):
        alone, end = recurrent(x[row : row + 1, :length], rows_of(state, slice(row, row + 1)))
        torch.testing.assert_close(output[row : row + 1, :length], alone, **CLOSE)
        torch.testing.assert_close(rows_of(last, slice(row, row + 1)), end, **CLOSE)
        assert not output[row, length:].any()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_reset_runs_each_sequence_of_a_row_from_the_initial_state(name, bidirectional):
    recurrent = layer(name, bidirectional=bidirectional, num_layers=1)
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    state = state_of(recurrent, 2)
    lengths = [7, 5]
    reset = torch.zeros(2, 7, dtype=torch.bool)
    for row, boundaries in enumerate(([0, 3, 4], [2, 6])):  # 6 lies past the second row's end
        reset[row, boundaries] = True
    output, _ = recurrent(x, state, lengths=lengths, reset=reset)
    for row, pieces in enumerate(([(0, 3), (3, 4), (4, 7)], [(0, 2), (2, 5)])):
        for begin, end in pieces:
            alone, _ = recurrent(x[row : row + 1, begin:end], rows_of(state, slice(row, row + 1)))
            torch.testing.assert_close(output[row : row + 1, begin:end], alone, **CLOSE)


@pytest.mark.parametrize("name", CELLS)
def test_stepping_is_the_whole(name):
    recurrent = layer(name)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    whole, last = recurrent(x)
    state, outputs = None, []
    for t in range(5):
        output, state = recurrent.step(x[:, t], state)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs, 1), whole, **CLOSE)
    torch.testing.assert_close(state, last, **CLOSE)
    one, _ = recurrent.step(x[0, 0])
    torch.testing.assert_close(one, whole[0, 0], **CLOSE)


@pytest.mark.parametrize("name", CELLS)
def test_a_batch_is_its_one_hot_rows_whatever_batch_first_is(name):
    vocabulary = ur.Vocabulary("abc")
    batch = vocabulary.encode(["abcab", "c", "", "bb"])
    for batch_first in (True, False):
        recurrent = layer(name, batch_first=batch_first)
        x = batch.one_hot().double()
        wanted, last = layer(name)(x, lengths=batch.lengths)
        output, end = recurrent(batch)
        torch.testing.assert_close(output, wanted, **CLOSE)
        torch.testing.assert_close(end, last, **CLOSE)
        first, _ = recurrent.step(batch.indices[:, 0])
        torch.testing.assert_close(first[0], wanted[0, 0], **CLOSE)


@given(st.data())
def test_gradients_of_lengths_and_resets_by_finite_differences(data):
    name = data.draw(st.sampled_from(sorted(set(CELLS) - {"rnn_relu", "indrnn"})))
    recurrent = layer(name, num_layers=1, bidirectional=data.draw(st.booleans()))
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=2, max_size=2))
    reset = torch.tensor(data.draw(st.lists(st.booleans(), min_size=8, max_size=8))).reshape(2, 4)
    torch.autograd.gradcheck(
        lambda x, *parameters: torch.func.functional_call(
            recurrent,
            dict(zip(recurrent.stack.shapes, parameters, strict=True)),
            (x,),
            {"lengths": lengths, "reset": reset},
        )[0],
        (x, *recurrent.parameters()),
        fast_mode=True,
    )


def test_dropout_is_only_between_layers_and_only_in_training():
    for make in (lambda **o: layer("gru", **o), lambda **o: ur.GRU(3, 5, **o)):
        options = {"dropout": 0.5, "num_layers": 2, "dtype": torch.float64, "batch_first": True}
        recurrent = make(**options)
        x = torch.randn(2, 5, 3, dtype=torch.float64)
        recurrent.eval()
        torch.testing.assert_close(recurrent(x), recurrent(x), rtol=0, atol=0)
        recurrent.train()
        assert not torch.equal(recurrent(x)[0], recurrent(x)[0])


def test_a_cell_of_ones_own():
    @ur.cell(gates=2)
    def my_unit(x, r, h):
        forget = torch.sigmoid(x[0] + r[0])
        return h + forget * (torch.tanh(x[1] + forget * r[1]) - h)

    torch.manual_seed(0)
    mine = ur.Recurrent(my_unit, 3, 5)
    torch.manual_seed(0)
    shipped = ur.Recurrent(CELLS["minimal_gated_unit"], 3, 5)
    x = torch.randn(6, 2, 3)
    torch.testing.assert_close(mine(x), shipped(x))


@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("time", [0, 1])
@pytest.mark.parametrize("batch", [0, 1])
def test_no_rows_or_no_steps(batch, time, graded):
    layer, x, begin = (
        ur.LSTM(3, 4, bidirectional=True),
        torch.zeros(time, batch, 3),
        torch.randn(2, batch, 4),
    )
    with torch.set_grad_enabled(graded):
        for _ in range(3):
            output, state = layer(x, (begin, begin))
            assert output.shape == (time, batch, 8)
            assert state[0].shape == (2, batch, 4)
            assert time or torch.equal(state[0], begin)
