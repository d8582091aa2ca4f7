"""The same bits again: forward, backward and dropout, whatever the number of threads."""

import pytest
import torch

import unrolled as ur

LAYERS = {
    "LSTM": lambda: ur.LSTM(16, 64, 2, dropout=0.4, batch_first=True),
    "GRU": lambda: ur.GRU(16, 48, 2, dropout=0.3, bidirectional=True, batch_first=True),
    "RNN": lambda: ur.RNN(16, 256, batch_first=True),
    "RNN relu": lambda: ur.RNN(16, 40, 2, nonlinearity="relu", dropout=0.3, batch_first=True),
    "peephole_lstm": lambda: ur.Recurrent(ur.cells.peephole_lstm, 16, 64, batch_first=True),
}
KEYWORDS = {
    "full": lambda: {},
    "lengths": lambda: {"lengths": torch.randint(0, 10, (33,))},
    "reset": lambda: {"reset": torch.rand(33, 9) < 0.2},
}
each = pytest.mark.parametrize("name", LAYERS)
kinds = pytest.mark.parametrize("kind", KEYWORDS)


@pytest.fixture(autouse=True)
def threads_put_back():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)


def once(name, kind, threads):
    """Every number of one training step, drawn anew from the same seed."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layer, x, keywords = LAYERS[name](), torch.randn(33, 9, 16, requires_grad=True), KEYWORDS[kind]()
    assert ur.explain(layer, x, **keywords).engine == "cpu"
    output, state = layer(x, **keywords)
    states = [state] if isinstance(state, torch.Tensor) else list(state)
    weighting = torch.linspace(-1, 1, output.numel()).view(output.shape)
    total = (output * weighting).sum() + sum(s.square().sum() for s in states)
    return [output, *states, *torch.autograd.grad(total, [x, *layer.parameters()])]


@each
@kinds
def test_any_number_of_threads_where_determinism_is_asked_for(name, kind):
    torch.use_deterministic_algorithms(True)
    wanted = once(name, kind, 1)
    for threads in (2, 3, 4):
        got = once(name, kind, threads)
        assert all(torch.equal(g, w) for g, w in zip(got, wanted, strict=True)), threads


@each
@kinds
def test_the_same_number_of_threads(name, kind):
    for threads in (1, 2, 4):
        wanted = once(name, kind, threads)
        for _ in range(3):
            got = once(name, kind, threads)
            assert all(torch.equal(g, w) for g, w in zip(got, wanted, strict=True)), threads


@each
@kinds
def test_outputs_never_hang_on_threads(name, kind):
    wanted = once(name, kind, 1)
    for threads in (2, 3, 4):
        assert torch.equal(once(name, kind, threads)[0], wanted[0])


@each
def test_an_odd_batch_of_many_lengths_is_shared_out_right(name):
    """Rows are dealt to groups of unequal size; each group must have room for what it is dealt."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    layer, x = LAYERS[name]().eval(), torch.randn(33, 9, 16)
    lengths = torch.randint(0, 10, (33,))
    with ur.engine("reference"):
        wanted = layer(x, lengths=lengths)[0].detach()
    with torch.no_grad():
        torch.testing.assert_close(layer(x, lengths=lengths)[0], wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer(x, lengths=lengths)[0].detach(), wanted, rtol=1e-5, atol=1e-5)


def test_the_first_use_of_a_cell_draws_no_random_numbers():
    @ur.cell(gates=1)
    def met_for_the_first_time(x, r, h):
        return torch.tanh(x[0] + r[0])

    layer, x = ur.Recurrent(met_for_the_first_time, 3, 4), torch.ones(2, 1, 3)
    before = torch.get_rng_state()
    layer(x)[0].sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_both_directions_without_autograd(name):
    torch.manual_seed(0)
    layer = ur.Recurrent(ur.cells.CELLS[name], 4, 6, bidirectional=True)
    x = torch.randn(6, 4, 4)
    with torch.no_grad():
        got = [layer(x)[0] for _ in range(5)]
        with ur.engine("reference"):
            wanted = layer(x)[0]
    for output in got:
        torch.testing.assert_close(output, wanted, rtol=1e-5, atol=1e-5)
