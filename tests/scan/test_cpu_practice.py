"""Training calls whose like has come before: the same bits without the checks, and the checks where due."""

import gc

import pytest
import torch
from cpu_cases import LIES, flat, given, layer, states
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled as ur
from unrolled.scan import watch
from unrolled.scan.cpu import alike, practice

SHAPES = [
    ("rnn_tanh", {}, 1, 1),
    ("lstm", {}, 3, 5),
    ("gru", {"bidirectional": True}, 2, 7),
    ("gru", {}, 1, 6),
    ("gru", {}, 6, 1),
    ("lstm", {"proj_size": 6, "bidirectional": True}, 4, 9),
    ("slstm", {"bias": False}, 1, 11),
    ("min_gru", {}, 3, 4),
    ("indrnn", {}, 3, 4),
    ("peephole_lstm", {}, 16, 40),
]


@pytest.fixture
def runs(monkeypatch):
    """How many calls took the short way."""
    done, run = [], practice.Scan

    def counted(*arguments, **named):
        done.append(arguments)
        return run(*arguments, **named)

    monkeypatch.setattr(practice, "Scan", counted)
    return done


def everything(module, x, state=None, reset=None):
    """Outputs, states and every gradient."""
    got = flat(module(x, state, reset=reset))
    loss = sum((1 + i) * t.sin().sum() for i, t in enumerate(got))
    inputs = [x, *module.parameters()]
    if state is not None:
        inputs += [state] if isinstance(state, torch.Tensor) else state
    return [*got, *torch.autograd.grad(loss, [t for t in inputs if t.requires_grad])]


def equal(got, wanted):
    return all(torch.equal(a, b) and a.shape == b.shape for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("name", "options", "batch", "time"), SHAPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_short_way_gives_the_same_bits(
    name, options, batch, time, batch_first, threads, runs, set_threads
):
    module = layer(name, 13, 37, **options)
    module.batch_first = batch_first
    set_threads(threads)
    for _ in range(3):
        x = torch.randn(*((batch, time) if batch_first else (time, batch)), 13, requires_grad=True)
        state = given([s.requires_grad_() for s in states(module, batch)])
        for initial, reset in ((None, None), (state, None), (state, torch.rand(x.shape[:2]) < 0.3)):
            count = len(runs)
            with watch():
                wanted = everything(module, x, initial, reset)
            assert len(runs) == count
            assert equal(everything(module, x, initial, reset), wanted)
            assert len(runs) == count + 1
            with ur.engine("reference"):
                truth = everything(module, x, initial, reset)
            torch.testing.assert_close(wanted, truth, rtol=1e-3, atol=1e-4)
        with torch.no_grad():
            for p in module.parameters():
                p += 0.1 * torch.randn_like(p)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bidirectional": True}])
@pytest.mark.parametrize("features", [1, 13])
def test_inputs_that_lie_otherwise(features, options, lie, runs):
    module = ur.GRU(features, 20, **options)
    for turn in range(1, 4):
        dense = torch.randn(5, 3, features)
        x = lie(dense).requires_grad_()
        shape = module.stack.directions, *((5, 20) if module.batch_first else (3, 20))
        state = torch.randn(shape[::-1]).permute(2, 1, 0).requires_grad_()
        got = everything(module, x, state)
        assert len(runs) == 2 * turn - 1
        wanted = everything(module, x.detach().contiguous().requires_grad_(), state.detach().contiguous())
        assert equal(got[: len(wanted)], wanted)
        (of_state,) = torch.autograd.grad(module(x, state)[0].sum(), state)
        assert of_state.shape == state.shape
        runs.pop()


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"num_layers": 2, "dropout": 0.5}])
def test_one_sequence(options, runs):
    module = ur.LSTM(4, 5, **options)
    for turn in range(3):
        x, reset = torch.randn(6, 4, requires_grad=True), torch.rand(6) < 0.3
        state = given([torch.randn_like(s[:, 0]).requires_grad_() for s in states(module, 1)])
        torch.manual_seed(turn)
        got = everything(module, x, state, reset)
        with watch():
            torch.manual_seed(turn)
            wanted = everything(module, x, state, reset)
        assert equal(got, wanted)
    assert runs


@pytest.mark.parametrize(
    "options", [{"dropout": 0.5}, {"bidirectional": True}, {"dropout": 0.5, "proj_size": 3}]
)
@pytest.mark.parametrize("batch_first", [False, True])
def test_several_layers(batch_first, options, runs):
    module = ur.LSTM(4, 16, 3, batch_first=batch_first, **options)
    for turn in range(1, 4):
        x = torch.randn(5, 2, 4, requires_grad=True)
        batch = len(x) if batch_first else x.shape[1]
        state, reset = given([s.requires_grad_() for s in states(module, batch)]), torch.rand(5, 2) < 0.3
        torch.manual_seed(turn)
        got = everything(module, x, state, reset)
        assert len(runs) == 3 * turn
        torch.manual_seed(turn)
        with watch():
            wanted = everything(module, x, state, reset)
        assert equal(got, wanted)
        runs[3 * turn :] = []


def test_a_layer_that_refuses_draws_nothing(runs):
    module, x = ur.LSTM(4, 16, 2, dropout=0.5), torch.randn(5, 2, 4)
    torch.manual_seed(0)
    wanted = module(x)[0]
    assert len(runs) == 2
    torch.nn.utils.parametrize.register_parametrization(module, "weight_hh_l1", torch.nn.Identity())
    torch.manual_seed(0)
    assert torch.equal(module(x)[0], wanted)
    assert len(runs) == 4  # the first layer, and again on the long way


def test_symbols(runs):
    module, vocabulary = ur.LSTM(7, 5), ur.Vocabulary("abcdefg")
    batch = vocabulary.encode(["abc", "gfe"])
    for _ in range(3):
        got = torch.autograd.grad(module(batch)[0].sum(), list(module.parameters()))
        with watch():
            wanted = torch.autograd.grad(module(batch)[0].sum(), list(module.parameters()))
        assert equal(got, wanted)
    assert len(runs) == 3
    batch.indices[0, 0] = 7
    with pytest.raises(ur.Error, match="indices run from 1 to 7"):
        module(batch)


@pytest.mark.parametrize("batch_first", [False, True])
def test_differentiated_twice(batch_first, runs):
    module, x = layer("gru", 4, 5), torch.randn(6, 3, 4, requires_grad=True)
    module.batch_first = batch_first

    reset = torch.rand(x.shape[:2]) < 0.3

    def penalty():
        (slope,) = torch.autograd.grad(module(x, reset=reset)[0].sin().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), [x, *module.parameters()])

    got = penalty()
    assert len(runs) == 1
    with ur.engine("reference"):
        torch.testing.assert_close(got, penalty())


def test_layers_of_one_size_in_one_graph(runs):
    layers = [layer("lstm", 8, 8, bias=False) for _ in range(3)]
    x = torch.randn(5, 2, 8, requires_grad=True)

    def chain():
        y = x
        for _ in range(2):
            for module in layers:
                y = module(y)[0]
        return torch.autograd.grad(y.sum(), [x, *(p for module in layers for p in module.parameters())])

    for _ in range(2):
        got = chain()
        with watch():
            assert equal(got, chain())
    assert len(runs) == 12


def test_only_what_asks_for_gradients_gets_them(runs, guards):
    module, x = layer("gru", 4, 5), torch.randn(6, 3, 4)
    module.weight_hh_l0.requires_grad_(False)
    y, _ = module(x)
    y.sum().backward()
    assert module.weight_hh_l0.grad is None
    assert module.weight_ih_l0.grad is not None
    module.requires_grad_(False)
    count = len(runs)
    assert count == 1
    assert not module(x)[0].requires_grad
    assert len(runs) == count
    state = torch.zeros(1, 6, 5, requires_grad=True)
    assert torch.autograd.grad(module(x, state)[0].sum(), state)[0].abs().sum() > 0
    assert len(runs) == count + 1


def test_written_weights_are_seen(runs, guards):
    module, x = layer("gru", 4, 5), torch.randn(6, 3, 4)
    for write in (
        lambda p: p.data.mul_(0.5),
        lambda p: setattr(p, "data", torch.randn_like(p)),
        lambda p: setattr(p, "data", torch.randn(*p.shape[::-1]).t() if p.dim() == 2 else p.data * 2),
    ):
        module(x)
        for p in module.parameters():
            write(p)
        got = everything(module, x)
        with ur.engine("reference"):
            torch.testing.assert_close(got, everything(module, x), rtol=1e-4, atol=1e-5)
    assert len(runs) == 6


def test_new_parameters_are_seen(runs, guards):
    module, x = layer("rnn_tanh", 4, 5), torch.randn(6, 3, 4)
    module(x)
    module.weight_ih_l0 = torch.nn.Parameter(torch.randn(5, 4))
    got = everything(module, x)
    with ur.engine("reference"):
        torch.testing.assert_close(got, everything(module, x), rtol=1e-4, atol=1e-5)
    assert len(runs) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["rnn_tanh", "lstm"])
def test_autocast(name, dtype, runs):
    module, x = layer(name, 4, 5), torch.randn(6, 3, 4, requires_grad=True)
    state = given([s.requires_grad_() for s in states(module, 6)])
    for initial in (None, state):
        with torch.autocast("cpu", enabled=False):
            exact = flat(module(x, initial))
        with torch.autocast("cpu", dtype):
            count = len(runs)
            got = everything(module, x, initial)
            assert len(runs) == count + 1
            with watch():
                assert equal(got, everything(module, x, initial))
        assert all(torch.equal(a, b.to(dtype)) for a, b in zip(got, exact, strict=False))
        assert all(g.dtype is torch.float32 for g in got[len(exact) :])
    with torch.autocast("cpu", dtype):
        count = len(runs)
        assert module(x.to(dtype))[0].dtype is dtype
        assert len(runs) == count + 1


@pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
def test_what_must_be_checked_still_is(runs, guards):
    module, x = ur.GRU(4, 5), torch.randn(6, 3, 4)
    module(x)
    count = len(runs)
    assert count == 1
    with ur.engine("reference"):
        module(x)
    with watch() as watched:
        module(x)
    assert len(watched) == 1
    torch.func.vmap(module, in_dims=1)(x[:, :, None])
    torch.func.grad(lambda t: module(t)[0].sum())(x)
    module(x, reset=torch.zeros(3, 6, dtype=torch.bool).t())
    assert len(runs) == count
    for lengths, error in (
        ([7, 2, 1], "from 1 to 7"),
        ([6, 2], "one for each row"),
        ([6.0, 2, 1], "wanted whole"),
    ):
        with pytest.raises((ur.Error, TypeError), match=error):
            module(x, lengths=lengths)
    for reset, error in ((torch.zeros(3, 6, dtype=torch.bool), "reset"), (torch.zeros(6, 3), "reset")):
        with pytest.raises((ur.Error, TypeError), match=error):
            module(x, reset=reset)
    for state, error in (
        (torch.zeros(1, 4, 5), "hidden"),
        ((torch.zeros(1, 3, 5),), "wanted a Tensor"),
        (torch.zeros(1, 3, 5).double(), "state 0"),
    ):
        with pytest.raises(ur.Error, match=error):
            module(x, state)
    with pytest.raises(ur.Error, match="dtype"):
        module(x.double())
    with pytest.raises(ur.Error, match="input_size"):
        module(torch.randn(6, 3, 5))
    module.double()
    assert module(x.double())[0].dtype == torch.float64
    assert len(runs) == count


def test_calls_like_the_last_one_are_not_looked_up(runs, monkeypatch):
    module, x, found = layer("gru", 13, 37), torch.randn(7, 2, 13), []
    module.batch_first = False
    original = practice._found
    monkeypatch.setattr(practice, "_found", lambda *a: found.append(a) or original(*a))
    if alike.guards([x])(x) is False:
        pytest.skip("this torch has no guards")
    everything(module, x)
    everything(module, x)
    looked = len(found)
    wanted = everything(module, x)
    assert len(found) == looked
    # Whatever differs is looked up, and the one before is right again.
    others = [
        lambda: everything(module, torch.randn(8, 2, 13)),
        lambda: everything(module, x.clone().requires_grad_()),
        lambda: everything(module, x, reset=torch.zeros(7, 2, dtype=torch.bool)),
        lambda: module(x, lengths=torch.tensor([3, 7]))[0].sum().backward(),
    ]
    for other in others:
        looked = len(found)
        other()
        assert len(found) > looked
        assert equal(everything(module, x), wanted)
    module.batch_first = True
    got = everything(module, x)
    with ur.engine("reference"):
        torch.testing.assert_close(got, everything(module, x), rtol=1e-3, atol=1e-4)
    assert len(runs) > 5


def test_a_packed_input_and_one_sequence_of_its_shape(runs):
    module = ur.LSTM(8, 16, batch_first=True)
    x, packed = torch.randn(11, 8), pack_padded_sequence(torch.randn(3, 5, 8), [5, 4, 2], batch_first=True)
    for _ in range(3):
        module(packed)[0].data.sum().backward()
    got = module(x)
    with ur.engine("reference"):
        wanted = module(x)
    assert got[0].shape == (11, 16)
    torch.testing.assert_close(got, wanted)
    assert len(runs) == 4


def test_initial_states_that_nobody_gave_are_nothing_to_autograd():
    module, x = layer("lstm", 13, 37), torch.randn(7, 2, 13)
    nodes = [module(x)[0].grad_fn for _ in range(3)]
    with torch.no_grad():
        zeros = torch.zeros(1, 7, 37), torch.zeros(1, 7, 37)
    given = module(x, zeros)[0].grad_fn
    assert {len(node.next_functions) for node in nodes[1:]} == {len(given.next_functions) - 2}


def test_a_graph_outlives_its_layer():
    module, x = layer("lstm", 13, 37), torch.randn(7, 2, 13, requires_grad=True)
    wanted = everything(module, x)
    everything(module, x)
    output, _ = module(x)
    twice, _ = module(x)
    stack = module.stack
    del module
    gc.collect()
    practice._kinds.last.clear()
    for key, kind in practice._kinds.items():
        if kind.stack is stack:
            practice._kinds.drop(key)
    del kind
    other = layer("lstm", 13, 37)
    for _ in range(3):
        everything(other, x)  # which writes where memory is free
    assert torch.equal(output, wanted[0])
    (first,) = torch.autograd.grad(output.sin().sum(), [x])
    (again,) = torch.autograd.grad(twice.sin().sum(), [x], create_graph=True)
    torch.testing.assert_close(first, again, rtol=1e-3, atol=1e-5)
    assert again.requires_grad


def test_a_layer_that_is_gone_leaves_nothing():
    module, x = ur.LSTM(4, 5), torch.randn(6, 3, 4)
    module(x)
    key = next(k for k, kind in practice._kinds.items() if kind.stack is module.stack)
    del module
    gc.collect()
    assert practice._kinds.get(key) is None


def test_only_so_many_kinds_are_kept():
    module = ur.RNN(2, 3)
    for batch in range(1, alike.MOST + 20):
        module(torch.randn(3, batch, 2))
    assert alike.MOST - 1 <= len(practice._kinds) <= alike.MOST


def test_another_default_dtype():
    module, x = layer("lstm", 4, 5), torch.randn(6, 3, 4)

    def step():
        got = flat(module(x))
        return [*got, *torch.autograd.grad(sum(t.sum() for t in got), [*module.parameters()])]

    wanted = step()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        for _ in range(3):
            assert all(
                torch.equal(a, b) and a.dtype is b.dtype for a, b in zip(step(), wanted, strict=True)
            )
            with torch.no_grad():
                assert all(torch.equal(a, b) for a, b in zip(flat(module(x)), wanted[:3], strict=True))
        again = layer("lstm", 4, 5).float()
        for _ in range(3):
            assert flat(again(x))[0].dtype is torch.float32
    finally:
        torch.set_default_dtype(before)
