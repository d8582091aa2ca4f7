"""One row, one step: the parameters read as they lie, and the same bits."""

import pytest
import torch
from cpu_cases import EVERY, flat, given, layer, states

import unrolled as ur
from unrolled.scan.cpu import prepared, single

HAVE_ONE = [name for name, cell in EVERY.items() if not cell.vectors and cell.recurrent != "diagonal"]
SIZES = [(1, 1), (5, 3), (15, 17), (16, 16), (33, 32), (40, 49), (7, 131)]


@pytest.fixture
def kernels(monkeypatch):
    """The cells whose kernel for a single step was taken."""
    taken, made = [], prepared.single_kernel

    def noted(stack):
        taken.append(stack.cell.name)
        return made(stack)

    monkeypatch.setattr(prepared, "single_kernel", noted)
    return taken


def same(got, wanted):
    return all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


@torch.no_grad()
@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", EVERY)
def test_a_step_alone_is_the_step_of_a_sequence(name, threads, kernels, set_threads):
    set_threads(threads)
    for size, hidden in SIZES:
        options = {"bias": False} if hidden == 17 else {"num_layers": 2} if hidden == 32 else {}
        recurrent = layer(name, size, hidden, **options)
        x, state = torch.randn(1, 9, size), given(states(recurrent, 1))
        whole = flat(recurrent(x, state))
        outputs = []
        for step in x.split(1, 1):
            output, state = recurrent(step, state)
            outputs.append(output)
        assert same(flat((torch.cat(outputs, 1), state)), whole), (size, hidden)
    assert set(kernels) == ({EVERY[name].name} if name in HAVE_ONE else set())


@torch.no_grad()
@pytest.mark.parametrize("name", ["rnn_tanh", "gru", "lstm", "min_gru", "slstm"])
def test_directions_and_symbols(name, kernels):
    recurrent, vocabulary = layer(name, 9, 20, bidirectional=True, num_layers=2), ur.Vocabulary("abcdefghi")
    for symbol in range(9):
        pair = torch.tensor([[symbol], [3]])
        wanted = flat(recurrent(ur.Batch(pair, None, vocabulary)))
        for _ in range(3):
            got = flat(recurrent(ur.Batch(pair[:1], None, vocabulary)))
        assert same(got, [wanted[0][:1], *[s[:, :1] for s in wanted[1:]]])
    assert kernels


@torch.no_grad()
def test_weights_written_between_two_steps_are_read(kernels):
    recurrent, x = layer("gru", 6, 20), torch.randn(1, 1, 6)
    for _ in range(3):
        recurrent(x)
    for parameter in recurrent.parameters():
        parameter.data.numpy()[...] *= 0.5  # No version counts this.
        again = layer("gru", 6, 20)
        again.load_state_dict(recurrent.state_dict())
        assert same(flat(recurrent(x)), flat(again(x)))
    assert len(kernels) == 1


@torch.no_grad()
@pytest.mark.parametrize("name", ["rnn_relu", "gru", "lstm", "min_gru"])
def test_a_read_or_write_beyond_a_tensor_would_crash(name, fenced):
    for size, hidden in ((1, 1), (5, 3), (15, 17), (16, 16), (40, 49)):
        recurrent = layer(name, size, hidden)
        x, state = fenced(torch.randn(1, 1, size)), tuple(fenced(s) for s in states(recurrent, 1))
        wanted = flat(recurrent(x, given(state)))
        for parameter in recurrent.parameters():
            parameter.data = fenced(parameter.data)
        for _ in range(3):
            assert same(flat(recurrent(x, given(state))), wanted)


def test_what_has_no_such_kernel():
    def fits(name, **options):
        return single.fits(prepared.forward_kernel(layer(name, 9, 17, **options).stack, False).shape)

    assert [name for name in EVERY if fits(name)] == HAVE_ONE
    assert not fits("lstm", proj_size=5)
