"""Calls whose like has come before: the same bits without the checks, and the checks where they are due."""

import gc
import weakref

import pytest
import torch
from cpu_cases import LIES, flat, given, layer, states

import unrolled as ur
from unrolled.scan import watch
from unrolled.scan.cpu import alike, prepared, ready

SHAPES = [
    ("rnn_tanh", {}, 1, 1),
    ("lstm", {}, 3, 5),
    ("gru", {"num_layers": 3}, 2, 7),
    ("lstm", {"bidirectional": True, "num_layers": 2}, 5, 3),
    ("lstm", {"proj_size": 6, "bidirectional": True}, 4, 9),
    ("slstm", {"num_layers": 2, "bias": False}, 1, 11),
    ("min_gru", {}, 3, 4),
    ("gru", {}, 16, 40),
]


@pytest.fixture
def runs(monkeypatch):
    """How many calls took the short way."""
    done, run = [], prepared.Prepared.run

    def counted(self, *arguments):
        done.append(self.count)
        return run(self, *arguments)

    monkeypatch.setattr(prepared.Prepared, "run", counted)
    return done


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("name", "options", "batch", "time"), SHAPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_short_way_gives_the_same_bits(
    name, options, batch, time, batch_first, threads, runs, set_threads
):
    module = layer(name, 13, 37, **options)
    module.batch_first = batch_first
    x = torch.randn(*((batch, time) if batch_first else (time, batch)), 13)
    set_threads(threads)
    with torch.no_grad():
        wanted = flat(module(x))
        assert not runs
        for _ in range(3):
            got = flat(module(x))
            assert all(torch.equal(a, b) and a.shape == b.shape for a, b in zip(got, wanted, strict=True))
            assert len({t.data_ptr() for t in (*got, *wanted)}) == 2 * len(got)
        state = given(states(module, batch))
        got = flat(module(x, state))
        assert len(runs) == 4
        reset = torch.rand(x.shape[:2]) < 0.3
        wanted = flat(module(x, state, reset=reset))
        assert len(runs) == 4
        for _ in range(2):
            again = flat(module(x, state, reset=reset))
            assert all(torch.equal(a, b) for a, b in zip(again, wanted, strict=True))
        assert len(runs) == 6
        other = flat(module(x, state, reset=~reset))
        with watch():
            wanted = flat(module(x, state, reset=~reset))
        assert all(torch.equal(a, b) for a, b in zip(other, wanted, strict=True))
        assert len(runs) == 7
        with ur.engine("reference"):
            torch.testing.assert_close(got, flat(module(x, state)), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("features", [1, 13])
def test_inputs_that_lie_otherwise(features, options, lie, runs):
    module, state = ur.GRU(features, 20, **options), None
    for _ in range(3):
        dense = torch.randn(5, 3, features)
        x = lie(dense)
        count = len(runs)
        got = flat(module(x, state))
        if state is not None:
            assert len(runs) == count + 1
        wanted = flat(module(x.contiguous(), None if state is None else state.contiguous()))
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
        state = torch.randn(got[1].shape[::-1]).permute(2, 1, 0)


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_one_sequence(name, options, runs):
    module = getattr(ur, name)(4, 5, **options)
    for _ in range(3):
        x = torch.randn(6, 4)
        reset = torch.rand(6) < 0.3
        state = given([torch.randn_like(s[:, 0]) for s in states(module, 1)])
        for initial, boundary in ((None, None), (state, reset)):
            got = flat(module(x, initial, reset=boundary))
            with watch():
                wanted = flat(module(x, initial, reset=boundary))
            assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    assert len(runs) == 4
    with pytest.raises(ur.Error, match=r"got \[7, 5\]: a state is \(layers"):
        module(x, given([torch.zeros(7, 5)] * module.stack.cell.states))


@torch.no_grad()
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bias", [True, False])
def test_torchs_cells(name, bias, runs):
    cell = getattr(ur, f"{name}Cell")(4, 5, bias)
    truth = getattr(torch.nn, f"{name}Cell")(4, 5, bias)
    truth.load_state_dict(cell.state_dict())
    for _ in range(3):
        x, state = torch.randn(3, 4), [torch.randn(3, 5) for _ in range(cell.stack.cell.states)]
        for initial in (None, given(tuple(state))):
            got, wanted = cell(x, initial), truth(x, initial)
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
            assert type(got) is type(wanted)
    assert len(runs) == 5
    count = len(runs)
    with watch() as watched:
        cell(x)
    assert len(watched) == 1
    with pytest.raises(ur.Error, match="batch size 3 doesn't match hidden0 batch size 2"):
        cell(x, given(tuple(s[:2] for s in state)))
    with pytest.raises(ur.Error, match="input_size"):
        cell(torch.randn(3, 5))
    assert len(runs) == count
    torch.testing.assert_close(cell(x[0]), truth(x[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_plain_step_with_gradients_is_torchs(nonlinearity):
    cell = ur.RNNCell(4, 5, nonlinearity=nonlinearity)
    truth = torch.nn.RNNCell(4, 5, nonlinearity=nonlinearity)
    truth.load_state_dict(cell.state_dict())
    x, state = torch.randn(3, 4, requires_grad=True), torch.randn(3, 5)

    def gradients(cell, *begin):
        return torch.autograd.grad(cell(x, *begin).sin().sum(), [x, *cell.parameters()])

    for begin in ((), (state,)):
        assert all(map(torch.equal, gradients(cell, *begin), gradients(truth, *begin)))
        wanted = gradients(truth, *begin)
        with ur.engine("cpu"):
            torch.testing.assert_close(gradients(cell, *begin), wanted, rtol=1e-4, atol=1e-5)
        with watch() as watched:
            torch.testing.assert_close(gradients(cell, *begin), wanted, rtol=1e-4, atol=1e-5)
        assert len(watched) == 1
    with pytest.raises(ur.Error, match="inconsistent input_size: got 5 expected 4"):
        cell(torch.randn(3, 5))
    with pytest.raises(ur.Error, match="batch size 3 doesn't match hidden0 batch size 2"):
        cell(x, state[:2])
    exact = cell(x, state)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(cell(x, state), exact.bfloat16(), rtol=0.01, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("batch_first", [False, True])
def test_dropout_drops_the_same_from_the_first_call_on(batch_first, runs):
    module, x = ur.LSTM(4, 16, 3, dropout=0.5, batch_first=batch_first), torch.randn(5, 2, 4)
    reset = torch.rand(5, 2) < 0.3
    found = []
    for _ in range(3):
        torch.manual_seed(3)
        found.append([*flat(module(x)), *flat(module(x, reset=reset))])
    assert all(torch.equal(a, b) for later in found[1:] for a, b in zip(later, found[0], strict=True))
    assert not torch.equal(module(x)[0], found[0][0])
    assert len(runs) >= 6
    with watch():
        torch.manual_seed(3)
        assert torch.equal(module(x)[0], found[0][0])


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_symbols(options, runs):
    module = ur.LSTM(7, 5, **options)
    vocabulary = ur.Vocabulary("abcdefg")
    batch = vocabulary.encode(["abc", "gfe"])
    wanted = flat(module(batch))
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(flat(module(batch)), wanted, strict=True))
    assert len(runs) == 3
    batch.indices[0, 0] = 7
    with pytest.raises(ur.Error, match="indices run from 1 to 7"):
        module(batch)


@torch.no_grad()
@pytest.mark.parametrize("name", ["rnn_tanh", "lstm"])
def test_autocast(name, runs):
    module, x = layer(name, 4, 5), torch.randn(6, 3, 4)
    state = given(states(module, 6))
    with torch.autocast("cpu", enabled=False):
        exact = [flat(module(x)), flat(module(x, state))]
    with torch.autocast("cpu"):
        for _ in range(3):
            for got, wanted in zip([flat(module(x)), flat(module(x, state))], exact, strict=True):
                assert [t.dtype for t in got] == [torch.bfloat16] * len(got)
                assert all(torch.equal(a, b.bfloat16()) for a, b in zip(got, wanted, strict=True))
        got = module(x.bfloat16())[0]
    assert len(runs) >= 6
    torch.testing.assert_close(got, module(x.bfloat16().float())[0].bfloat16(), rtol=0, atol=0)


@torch.no_grad()
def test_written_weights_are_seen(runs, guards):
    module, x = layer("gru", 4, 5), torch.randn(6, 3, 4)
    for write in (
        lambda p: p.data.mul_(0.5),
        lambda p: p.copy_(torch.randn_like(p)),
        lambda p: setattr(p, "data", torch.randn_like(p)),
        lambda p: setattr(p, "data", torch.randn(*p.shape[::-1]).t() if p.dim() == 2 else p.data * 2),
    ):
        for _ in range(3):
            module(x)
        for p in module.parameters():
            write(p)
        got = flat(module(x))
        with ur.engine("reference"):
            torch.testing.assert_close(got, flat(module(x)))
    assert runs


@torch.no_grad()
def test_the_same_memory_read_otherwise_is_seen(runs, guards):
    module, x = layer("rnn_tanh", 4, 4, bias=False), torch.randn(6, 3, 4)
    for change in (
        lambda p: setattr(p, "data", p.data.t()),
        lambda p: setattr(p, "data", p.data.clone().t()),
        lambda p: setattr(p, "data", p.data.contiguous()),
    ):
        for _ in range(3):
            module(x)
        for p in module.parameters():
            change(p)
        for read in (
            x,
            x.transpose(0, 2).contiguous().transpose(0, 2),
            torch.zeros(6, 3, 1).expand(6, 3, 4),
        ):
            got = flat(module(read))
            with ur.engine("reference"):
                torch.testing.assert_close(got, flat(module(read)))
    assert runs


@pytest.mark.filterwarnings("ignore::unrolled.EngineWarning", "ignore:.torch.jit.script. is deprecated")
@torch.no_grad()
def test_what_must_be_checked_still_is(runs, guards):
    module, x = ur.GRU(4, 5), torch.randn(6, 3, 4)
    for _ in range(3):
        module(x)
    count = len(runs)
    assert count == 2
    with ur.engine("reference"):
        assert ur.explain(module, x).engine == "reference"
        module(x)
    with watch() as watched:
        module(x)
    assert len(watched) == 1
    with torch.enable_grad():
        assert module(x)[0].requires_grad
    torch.func.vmap(module, in_dims=1)(x[:, :, None])
    torch.func.jvp(lambda t: module(t)[0], (x,), (x,))
    assert len(runs) == count
    with pytest.raises(ur.Error, match="hidden"):
        module(x, torch.zeros(1, 4, 5))
    with pytest.raises(ur.Error, match="dtype"):
        module(x.double())
    with pytest.raises(ur.Error, match="input_size"):
        module(torch.randn(6, 3, 5))
    module.double()
    assert module(x.double())[0].dtype == torch.float64


@torch.no_grad()
def test_a_layer_that_is_gone_leaves_nothing():
    module, x = ur.LSTM(4, 5), torch.randn(6, 3, 4)
    for _ in range(3):
        module(x)
    key = next(k for k, kind in ready._kinds.items() if kind.stack is module.stack and kind.ready)
    gone = weakref.ref(ready._kinds.get(key).ready[1][0])
    del module
    gc.collect()
    assert ready._kinds.get(key) is None
    assert gone() is None


@torch.no_grad()
def test_only_so_many_kinds_are_kept():
    module = ur.RNN(2, 3)
    for batch in range(1, alike.MOST + 20):
        for _ in range(2):
            module(torch.randn(3, batch, 2))
    assert alike.MOST - 1 <= len(ready._kinds) <= alike.MOST


@torch.no_grad()
def test_bfloat16_is_rounded_to_the_nearest_even(runs):
    module = ur.RNN(1, 1, nonlinearity="relu", bias=False, batch_first=True)
    module.weight_ih_l0.fill_(1.0)
    module.weight_hh_l0.fill_(0.0)
    step = 2.0**-8  # of bfloat16 between 1 and 2: two of them
    values = [
        1 + step,
        1 + 3 * step,
        1 + step + 2**-20,
        1 + step - 2**-20,
        3.39e38,
        2.0**-126,
        float("inf"),
    ]
    x = torch.tensor([*values, float("nan"), 1e-40])[:, None, None]
    with torch.autocast("cpu"):
        for _ in range(3):
            got = module(x)[0].flatten()
    assert got[:-2].equal(x.bfloat16().flatten()[:-2])
    assert got[-2].isnan()
    assert 0 <= float(got[-1]) < 2.0**-126  # some processors take these for zero
    assert runs


@torch.no_grad()
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("name", "options", "batch", "time"), SHAPES)
def test_lengths_are_dealt_anew(name, options, batch, time, batch_first, runs):
    module = layer(name, 13, 37, **options)
    module.batch_first = batch_first
    x = torch.randn(*((batch, time) if batch_first else (time, batch)), 13)
    some = [torch.randint(0, time + 1, (batch,)) for _ in range(3)]
    some += [torch.full((batch,), time), torch.zeros(batch, dtype=torch.int64)]
    state = given(states(module, batch))
    for lengths in some:
        with watch():  # the long way
            wanted = [*flat(module(x, lengths=lengths)), *flat(module(x, state, lengths=lengths))]
        for _ in range(2):
            got = [*flat(module(x, lengths=lengths)), *flat(module(x, state, lengths=lengths))]
            assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    assert len(runs) == 4 * len(some) - 1
    for wrong in (some[0] - time - 1, some[0] + time + 1, some[0].repeat(2)):
        with pytest.raises(ur.Error, match="lengths"):
            module(x, lengths=wrong)


@torch.no_grad()
def test_only_so_much_memory_lies_by(monkeypatch, runs):
    monkeypatch.setattr(ready, "fixed", lambda *_: True)  # each for its own number of steps
    module = ur.GRU(5, 16, 2, batch_first=True)
    for time in range(20, 30):
        for _ in range(2):
            module(torch.randn(3, time, 5))
    kinds = [k for _, k in ready._kinds.items() if k.stack is module.stack]
    each = max(kind.floats for kind in kinds)
    assert len(kinds) == 10
    assert each > 3 * 29 * 16  # the output between the layers is part of it
    monkeypatch.setattr(ready, "MOST_FLOATS", 3 * each)
    x = torch.randn(3, 30, 5)
    first = [module(x), module(x)]
    held = [kind.floats for _, kind in ready._kinds.items()]
    assert sum(held) <= 3 * each
    monkeypatch.setattr(ready, "MOST_FLOATS", 1)
    more = [module(x), module(x)]  # from what lies by, and laid out for this call alone
    for output, state in [*first, *more]:
        assert torch.equal(output, first[0][0])
        assert torch.equal(state, first[0][1])
    assert not any(kind.floats for _, kind in ready._kinds.items() if kind.stack is module.stack)


@torch.no_grad()
def test_another_number_of_parameters_is_refused():
    module, x = ur.GRU(3, 4), torch.randn(5, 2, 3)
    for _ in range(3):
        module(x)
    with pytest.raises(ur.Error, match="got 3 parameters; wanted weight_ih_l0"):
        ur.scan(module.stack, x, list(module.parameters())[:3])
