"""A PackedSequence read and written as it lies: the bits and gradients of the padded batch with lengths."""

import pytest
import torch
from cpu_cases import EVERY, flat, given, layer, states
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled as ur
from unrolled.scan.cpu import practice, prepared

CASES = [
    ("rnn_tanh", {}, 1, 1),
    ("rnn_relu", {"bias": False}, 7, 1),
    ("gru", {}, 5, 9),
    ("gru", {"bidirectional": True}, 13, 4),
    ("lstm", {"bidirectional": True, "num_layers": 2}, 5, 7),
    ("lstm", {"proj_size": 6, "bidirectional": True}, 4, 9),
    ("slstm", {"num_layers": 3}, 3, 5),
    ("indrnn", {}, 3, 4),
    ("min_gru", {"bidirectional": True}, 6, 5),
    ("of_ones_own", {"num_layers": 2}, 3, 8),
]


@pytest.fixture
def runs(monkeypatch):
    """How many calls, and layers in training, read a packed input as it lies."""
    done = []

    def counting(module, name):
        original = getattr(module, name)

        def made(*arguments):
            done.extend([name] * any(isinstance(a, practice.Ragged) for a in arguments))
            return original(*arguments)

        return made

    run = prepared.Prepared.run

    def counted(self, pool, x, states, lengths, reset):
        done.extend(["run"] * isinstance(lengths, practice.Ragged))
        return run(self, pool, x, states, lengths, reset)

    monkeypatch.setattr(practice, "Scan", counting(practice, "Scan"))
    monkeypatch.setattr(prepared.Prepared, "run", counted)
    return done


def batch_of(batch, time, features):
    lengths = torch.randint(1, time + 1, (batch,))
    lengths[torch.randint(0, batch, ())] = time
    return torch.randn(batch, time, features), lengths


def pack(padded, lengths):
    return pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=False)


def equal(got, wanted):
    return all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def packed_and_padded(module, x, lengths, state):
    """Outputs, last states and gradients, of the packed batch and of the padded one."""
    found = []
    for packed in (True, False):
        leaf = x.clone().requires_grad_()
        begin = [s.clone().requires_grad_() for s in state]
        if packed:
            output, last = module(pack(leaf, lengths), given(begin))
        else:
            output, last = module(leaf, given(begin), lengths=lengths)
            output = pack(output, lengths)
        results = [output.data, *flat((None, last))[1:]]
        loss = sum((1 + i) * r.sin().sum() for i, r in enumerate(results))
        found.append([*results, *torch.autograd.grad(loss, [leaf, *begin, *module.parameters()])])
    return found


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("name", "options", "batch", "time"), CASES)
def test_the_bits_and_gradients_of_the_padded_batch(name, options, batch, time, threads, runs, set_threads):
    set_threads(threads)
    module = layer(name, 13, 20, **options)
    for turn in range(1, 4):  # of another number of rows each
        x, lengths = batch_of(batch, time, 13)
        state = states(module, batch)
        got, wanted = packed_and_padded(module, x, lengths, state)
        assert equal(got, wanted)
        assert runs == ["Scan"] * turn * module.stack.num_layers
    with ur.engine("reference"):
        truth, _ = packed_and_padded(module.double(), x.double(), lengths, [s.double() for s in state])
    torch.testing.assert_close([t.double() for t in got], truth, rtol=1e-3, atol=1e-4)


@torch.no_grad()
@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("name", "options", "batch", "time"), CASES)
def test_the_bits_of_the_padded_batch(name, options, batch, time, threads, runs, set_threads):
    set_threads(threads)
    module = layer(name, 13, 37, **options)
    for turn in range(4):
        x, lengths = batch_of(batch, time, 13)
        for state in (None, given(states(module, batch))):
            output, last = module(pack(x, lengths), state)
            padded, wanted = module(x, state, lengths=lengths)
            assert torch.equal(output.data, pack(padded, lengths).data)
            assert equal(flat((None, last))[1:], flat((None, wanted))[1:])
        assert len(runs) == 2 * turn + 1  # the very first is checked


@torch.no_grad()
@pytest.mark.parametrize("name", ["rnn_tanh", "lstm"])
def test_nothing_is_read_beyond_the_data(name, fenced):
    module = layer(name, 5, 17, bidirectional=True)
    for _ in range(3):
        x, lengths = batch_of(6, 7, 5)
        whole = pack(x, lengths)
        packed = PackedSequence(fenced(whole.data), *whole[1:])
        wanted = module(x, lengths=lengths)[0]
        assert torch.equal(module(packed)[0].data, pack(wanted, lengths).data)


def test_in_torchs_place(runs):
    ours, torchs = ur.LSTM(4, 6, 2, bidirectional=True), torch.nn.LSTM(4, 6, 2, bidirectional=True)
    torchs.load_state_dict(ours.state_dict())
    for _ in range(3):
        x, lengths = batch_of(5, 8, 4)
        for sequence in (pack(x, lengths), pack_padded_sequence(x, lengths.sort(descending=True)[0], True)):
            (got, last), (wanted, theirs) = ours(sequence), torchs(sequence)
            torch.testing.assert_close(got.data, wanted.data, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(last, theirs, rtol=1e-5, atol=1e-6)
            assert all(torch.equal(a, b) for a, b in zip(got[1:], wanted[1:], strict=True) if b is not None)
            gradients = [
                torch.autograd.grad(o.data.sin().sum(), list(m.parameters()))
                for o, m in ((got, ours), (wanted, torchs))
            ]
            torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
    assert len(runs) == 12


def test_differentiated_twice(runs):
    module = layer("gru", 4, 5)
    x, lengths = batch_of(3, 6, 4)
    data, *rest = pack(x, lengths)

    def penalty():
        leaf = data.clone().requires_grad_()
        output = module(PackedSequence(leaf, *rest))[0].data
        (slope,) = torch.autograd.grad(output.sin().sum(), leaf, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), [leaf, *module.parameters()])

    got = penalty()
    assert runs == ["Scan"]
    with ur.engine("reference"):
        torch.testing.assert_close(got, penalty())


@pytest.mark.parametrize("training", [True, False])
def test_autocast(training, runs):
    module = layer("lstm", 4, 5, num_layers=2)
    x, lengths = batch_of(3, 6, 4)
    with torch.set_grad_enabled(training):
        wanted, states = module(pack(x, lengths))
        with torch.autocast("cpu", torch.bfloat16):
            for _ in range(3):
                got, last = module(pack(x, lengths))
    assert torch.equal(got.data, wanted.data.bfloat16())
    assert equal(last, [s.bfloat16() for s in states])
    assert len(runs) == (8 if training else 2)


def test_dropout(runs):
    module, (x, lengths) = ur.LSTM(4, 32, 2, batch_first=True, dropout=0.5), batch_of(3, 6, 4)
    truth = torch.nn.LSTM(4, 32, 2, batch_first=True, dropout=0.5)
    truth.load_state_dict(module.state_dict())

    def seeded(module):
        torch.manual_seed(1)
        return module(pack(x, lengths))[0].data

    found = [seeded(module) for _ in range(3)]
    assert equal(found[1:], found[:1] * 2)
    assert len(runs) == 6
    torch.testing.assert_close(found[0], seeded(truth), rtol=1e-4, atol=1e-5)
    assert not torch.equal(found[0], module(pack(x, lengths))[0].data)
    with torch.no_grad():
        found = [seeded(module) for _ in range(3)]
    assert equal(found[1:], found[:1] * 2)
    module.eval()
    assert torch.equal(module(pack(x, lengths))[0].data, pack(module(x, lengths=lengths)[0], lengths).data)


WRONG = [[3, 3, 2], [3, 2, 1], [2, 4, 1], [7, 1, -1], [8], [], [2**62, 2**62, 2**62]]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sizes", WRONG, ids=str)
def test_sizes_that_are_not_those_of_the_data(sizes, training, runs):
    module = layer("gru", 4, 5)
    right = PackedSequence(torch.randn(7, 4), torch.tensor([3, 3, 1]))
    with torch.set_grad_enabled(training):
        for _ in range(2):
            module(right)
        count = len(runs)
        with pytest.raises((ur.Error, RuntimeError), match=r"batch_sizes|size"):
            module(PackedSequence(right.data, torch.tensor(sizes, dtype=torch.int64)))
        assert len(runs) == count


@pytest.mark.parametrize("training", [True, False])
def test_other_features_than_the_layers_are_refused(training, runs):
    module = layer("gru", 4, 5)
    data, *rest = pack(*batch_of(3, 6, 4))
    with torch.set_grad_enabled(training):
        for _ in range(3):
            module(PackedSequence(data, *rest))
        count = len(runs)
        assert count
        for wrong, error in ((data[:, :3], "input_size 4"), (data.repeat(1, 2), "input_size 4")):
            for _ in range(2):
                with pytest.raises(ur.Error, match=error):
                    module(PackedSequence(wrong.contiguous(), *rest))
        with pytest.raises(ur.Error, match="dtype"):
            module(PackedSequence(data.double(), *rest))
    assert len(runs) == count


def test_every_cell(runs):
    for name in EVERY:
        module, (x, lengths) = layer(name, 3, 5), batch_of(4, 5, 3)
        got, wanted = packed_and_padded(module, x, lengths, states(module, 4))
        assert equal(got, wanted), name
    assert len(runs) == len(EVERY)
