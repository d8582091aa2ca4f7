"""A step of a cell whose like has come before: the numbers of a layer's step, without its axes."""

import pytest
import torch
import torch.nn.utils.parametrize

import unrolled as ur
from unrolled import step

SIZES = [(1, 5, 3), (3, 4, 2), (17, 13, 19), (2, 33, 64)]
"""Batch, features, units."""
NAMES = ["RNN", "GRU", "LSTM"]
LIES = {
    "dense": lambda t: t,
    "rows apart": lambda t: torch.cat([t, t], 1)[:, : t.shape[1]],
    "features apart": lambda t: t.t().contiguous().t(),
    "one row for all": lambda t: t[:1].expand(t.shape),
}


def pair(name, features, units):
    torch.manual_seed(0)
    layer, cell = getattr(ur, name)(features, units), getattr(ur, f"{name}Cell")(features, units)
    for mine, own in zip(cell.parameters(), layer.parameters(), strict=True):
        mine.data.copy_(own.data)
    return layer, cell


def states(name, batch, units, lies=LIES["dense"], **options):
    made = [lies(torch.randn(batch, units, **options)) for _ in range(2)]
    return tuple(made) if name == "LSTM" else made[0]


def listed(state):
    return list(state) if isinstance(state, tuple) else [state]


def with_slot(state):
    return tuple(s[None] for s in state) if isinstance(state, tuple) else state[None]


@pytest.fixture
def no_long_way(monkeypatch):
    def refused(*_):
        raise AssertionError("laid out anew")

    return lambda: monkeypatch.setattr(step, "run", refused)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("lies", LIES)
@pytest.mark.parametrize(("batch", "features", "units"), SIZES)
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_bits_of_a_layers_step(name, batch, features, units, lies, shared, request):
    if shared:
        request.getfixturevalue("always_shared")
    layer, cell = pair(name, features, units)
    for turn in range(4):
        x, state = LIES[lies](torch.randn(batch, features)), states(name, batch, units, LIES[lies])
        state = None if turn == 2 else state
        if turn == 3:
            for module in (layer, cell):
                for p in module.parameters():
                    p.data.mul_(0.5)
        _, wanted = layer(x[None], None if state is None else with_slot(state))
        got = cell(x, state)
        for g, w in zip(listed(got), listed(wanted), strict=True):
            assert torch.equal(g, w[0])


@pytest.mark.parametrize(("batch", "features", "units"), SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_torchs(name, batch, features, units):
    ours = pair(name, features, units)[1]
    theirs = getattr(torch.nn, f"{name}Cell")(features, units).double()
    theirs.load_state_dict(ours.state_dict())
    for turn in range(3):
        x, state = torch.randn(batch, features), states(name, batch, units)
        found = []
        for cell in (ours, theirs):
            dtype = cell.weight_ih.dtype
            leaf = x.to(dtype).requires_grad_()
            begin = [s.to(dtype).requires_grad_() for s in listed(state)]
            after = listed(cell(leaf, tuple(begin) if len(begin) > 1 else begin[0]))
            loss = [sum(s.pow(2).sum() for s in after), after[0].sum(), after[-1].sum()][turn]
            inputs = [leaf, *begin, *cell.parameters()]
            first = torch.autograd.grad(loss, inputs, create_graph=True, allow_unused=True)
            there = [g for g in first if g is not None and g.requires_grad]
            second = torch.autograd.grad(
                sum(g.sin().sum() for g in there), inputs, allow_unused=True, materialize_grads=True
            )
            found.append([*after, *(torch.zeros(()) if g is None else g for g in first), *second])
        for got, wanted in zip(*found, strict=True):
            torch.testing.assert_close(got, wanted.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_laid_out_again(name, no_long_way):
    cell = pair(name, 4, 6)[1]
    for _ in range(2):
        listed(cell(torch.randn(3, 4), states(name, 3, 6)))[0].sum().backward()
        with torch.no_grad():
            cell(torch.randn(3, 4), states(name, 3, 6))
    no_long_way()
    listed(cell(torch.randn(3, 4), states(name, 3, 6)))[0].sum().backward()
    with torch.inference_mode():
        cell(torch.randn(3, 4))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("graded", [False, True])
def test_results_are_tensors_of_their_own(name, graded):
    cell = pair(name, 4, 6)[1]
    with torch.set_grad_enabled(graded):
        before = [listed(cell(torch.ones(3, 4), states(name, 3, 6))) for _ in range(3)]
        copies = [[s.clone() for s in state] for state in before]
        after = listed(cell(torch.zeros(3, 4), states(name, 3, 6)))
        assert all(
            torch.equal(s, c)
            for a, b in zip(before, copies, strict=True)
            for s, c in zip(a, b, strict=True)
        )
        assert not any(s._is_view() for s in after)
        if graded and name != "RNN":
            assert {s.grad_fn.name() for s in after} == {"LayeredBackward"}
        assert len({s.data_ptr() for state in [*before, after] for s in state}) == 4 * len(after)
        for s in after:
            s.detach_().add_(1)


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused_after_what_does(name):
    cell = pair(name, 4, 6)[1]
    for graded in (False, True):
        with torch.set_grad_enabled(graded):
            for _ in range(3):
                cell(torch.randn(3, 4), states(name, 3, 6))
            for x, state in (
                (torch.randn(3, 5), None),
                (torch.randn(3, 4), states(name, 2, 6)),
                (torch.randn(3, 4), states(name, 3, 5)),
                (torch.randn(3, 4).double(), None),
                (torch.randn(3, 4), with_slot(states(name, 3, 6))),
                (torch.randn(1, 3, 4), None),
            ):
                with pytest.raises(ur.Error):
                    cell(x, state)


@pytest.mark.parametrize("name", NAMES)
def test_many_steps_and_their_graph(name):
    ours = pair(name, 5, 7)[1]
    theirs = getattr(torch.nn, f"{name}Cell")(5, 7).double()
    theirs.load_state_dict(ours.state_dict())
    x, found = torch.randn(6, 3, 5), []
    for cell in (ours, theirs):
        state, total = None, 0
        for x_t in x.to(cell.weight_ih.dtype):
            state = cell(x_t, state)
            total = total + listed(state)[0].pow(2).sum()
        found.append([total, *torch.autograd.grad(total, list(cell.parameters()))])
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_a_parametrisation_is_asked_once(name, graded, autocast, shape):
    asked = []

    class Counted(torch.nn.Module):
        def forward(self, weight):
            asked.append(1)
            return weight * 1

    cell = pair(name, 4, 6)[1]
    torch.nn.utils.parametrize.register_parametrization(cell, "weight_hh", Counted())
    asked.clear()
    with torch.set_grad_enabled(graded), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        cell(torch.randn(shape))
    assert len(asked) == 1


@pytest.mark.parametrize("graded", [False, True])
def test_a_weight_taken_away_is_named(graded):
    cell = ur.RNNCell(4, 6)
    cell.weight_hh = None
    with torch.set_grad_enabled(graded), pytest.raises(ur.Error, match="weight_hh has shape"):
        cell(torch.randn(3, 4))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_trace_is_the_same_with_and_without_gradients(name):
    cell, x, state = pair(name, 4, 6)[1], torch.randn(3, 4), states(name, 3, 6)
    traced = torch.jit.trace(cell, (x, state))
    for got, wanted in zip(listed(traced(x, state)), listed(cell(x, state)), strict=True):
        torch.testing.assert_close(got, wanted)
