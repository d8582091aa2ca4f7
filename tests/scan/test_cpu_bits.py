"""The bitwise promise of the CPU engine in inference: chunks, neighbours and threads change nothing."""

import pytest
import torch
from cpu_cases import EVERY, flat, given, layer, states

import unrolled as ur

SIZES = [(5, 3), (24, 40), (33, 131)]


@pytest.fixture(autouse=True)
def _inference(set_threads):
    with torch.no_grad(), ur.engine("cpu"):
        yield


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("size", "hidden"), SIZES)
def test_chunks_and_steps_are_the_whole(name, size, hidden):
    recurrent = layer(name, size, hidden, num_layers=2)
    x, begin = torch.randn(7, 12, size), states(layer(name, size, hidden, num_layers=2), 7)
    whole = flat(recurrent(x, given(begin)))
    for chunk in (1, 5, 7):
        state, outputs = given(begin), []
        for part in x.split(chunk, 1):
            output, state = recurrent(part, state)
            outputs.append(output)
        assert same(flat((torch.cat(outputs, 1), state)), whole), chunk
    state, outputs = given(begin), []
    for t in range(12):
        output, state = recurrent.step(x[:, t], state)
        outputs.append(output)
    assert same(flat((torch.stack(outputs, 1), state)), whole)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("size", "hidden"), SIZES)
def test_a_row_alone_is_the_row_in_any_batch(name, size, hidden):
    recurrent = layer(name, size, hidden, bidirectional=True)
    x, state = torch.randn(19, 6, size), states(recurrent, 19)
    lengths = torch.randint(0, 7, (19,))
    whole = flat(recurrent(x, given(state), lengths=lengths))
    for row in (0, 1, 7, 18):
        own = slice(row, row + 1)
        alone = flat(recurrent(x[own], given([s[:, own] for s in state]), lengths=lengths[own]))
        assert same(alone, [whole[0][own], *[s[:, own] for s in whole[1:]]]), row
    some = [3, 17, 4, 0, 11]
    part = flat(recurrent(x[some], given([s[:, some] for s in state]), lengths=lengths[some]))
    assert same(part, [whole[0][some], *[s[:, some] for s in whole[1:]]])


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("batch", [1, 3, 29])
def test_threads_change_nothing(name, batch):
    recurrent = layer(name, 24, 131, bidirectional=batch == 3)
    x = torch.randn(batch, 40, 24)
    torch.set_num_threads(1)
    one = flat(recurrent(x))
    for threads in (2, 3, 4):
        torch.set_num_threads(threads)
        for _ in range(2):  # The second finds the workers awake.
            assert same(flat(recurrent(x)), one), threads


@pytest.mark.parametrize("name", EVERY)
def test_indices_with_and_without_neighbours(name):
    recurrent, vocabulary = layer(name, 9, 20), ur.Vocabulary("abcdefghi")
    x = torch.randint(0, 9, (6, 8))

    def output(indices):
        return recurrent(ur.Batch(indices, None, vocabulary))[0]

    whole = output(x)
    assert torch.equal(output(x[4:5]), whole[4:5])
    assert torch.equal(output(x[:, :3]), whole[:, :3])
