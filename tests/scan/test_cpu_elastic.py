"""Calls of ever new numbers of steps, which are laid out for some at most: the bits and gradients of those
laid out for their own."""

import copy
import random

import pytest
import torch
from cpu_cases import EVERY, LIES, flat, given, layer, states
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled as ur
from unrolled.scan import scan
from unrolled.scan.cpu import claim, elastic, practice, ready, training, trial
from unrolled.scan.cpu.layer import Layer

CASES = [
    ("rnn_tanh", {}, 1),
    ("rnn_relu", {"bias": False}, 7),
    ("gru", {"bidirectional": True}, 1),
    ("gru", {"num_layers": 2}, 4),
    ("lstm", {"bidirectional": True, "num_layers": 2}, 5),
    ("lstm", {"proj_size": 6, "bidirectional": True}, 4),
    ("slstm", {}, 3),
    ("indrnn", {"num_layers": 3}, 3),
    ("min_gru", {"bidirectional": True}, 6),
    ("of_ones_own", {"bidirectional": True}, 3),
    ("gru", {}, 40),
]
TIMES = (17, 31, 18, 32, 23, 29, 20, 27)


@pytest.fixture
def runs(monkeypatch):
    """How many steps of how many each call had that was laid out for some at most."""
    done, run = [], elastic.Elastic.run

    def counted(self, pool, x, *rest):
        done.append(tuple(x.shape[:2]))
        return run(self, pool, x, *rest)

    monkeypatch.setattr(elastic.Elastic, "run", counted)
    return done


def same(got, wanted):
    some, other = (r if isinstance(r, list) else flat(r) for r in (got, wanted))
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(some, other, strict=True))


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "options", "batch"), CASES)
@torch.no_grad()
def test_ever_new_lengths_give_the_same_bits(
    name, options, batch, threads, batch_first, lengths, runs, set_threads
):
    set_threads(threads)
    module = layer(name, 13, 19, **options)
    module.batch_first = batch_first
    for time in TIMES:
        x = torch.randn(*((batch, time) if batch_first else (time, batch)), 13)
        more = {"lengths": torch.randint(0, time + 1, (batch,))} if lengths else {}
        state = given(states(module, batch)) if time % 2 else None
        anew = copy.deepcopy(module)
        same(module(x, state, **more), anew(x, state, **more))
    layers = options.get("num_layers", 1)
    assert len(runs) >= layers * (len(TIMES) - 1 - layers)


@torch.no_grad()
def test_symbols_of_ever_new_lengths(runs):
    vocabulary = ur.Vocabulary("abcdefg")
    module = layer("gru", 7, 21, bidirectional=True)
    random.seed(0)
    for time in TIMES:
        texts = ["".join(random.choices("abcdefg", k=n)) for n in (time, 3, 0, time)]
        batch = vocabulary.encode(texts)
        same(module(batch), copy.deepcopy(module)(batch))
    assert len(runs) == len(TIMES) - 1
    with pytest.raises(ur.Error, match="indices"):
        scan(module.stack, torch.full((4, 25), 7), module._flat(), batch_first=True)


@pytest.mark.parametrize("lies", LIES)
@torch.no_grad()
def test_inputs_that_lie_otherwise(lies, runs):
    module = layer("lstm", 6, 11)
    for time in TIMES:
        x = LIES[lies](torch.randn(4, time, 6))
        same(module(x), copy.deepcopy(module)(x))
    assert runs


@torch.no_grad()
def test_lengths_that_come_again_have_a_way_of_their_own(runs):
    module = ur.GRU(3, 5)
    for time in (9, *(10, 11) * 20):
        module(torch.randn(time, 2, 3))
    assert len(runs) == 2 * (elastic._OFTEN - 1)
    found = [k for _, k in ready._kinds.items() if k.stack is module.stack]
    assert len(found) == 4  # 9, one for all, and 10 and 11


@torch.no_grad()
def test_weights_that_change_are_seen(runs):
    module = ur.LSTM(4, 7)
    for time in TIMES:
        x = torch.randn(time, 2, 4)
        same(module(x), copy.deepcopy(module)(x))
        module.weight_hh_l0.data.mul_(1.1)
    assert len(runs) > len(TIMES)  # once more where the weights were found others
    module.weight_ih_l0.data = torch.randn(28, 4)
    x = torch.randn(22, 2, 4)
    same(module(x), copy.deepcopy(module)(x))


@torch.no_grad()
def test_what_is_wrong_is_refused_as_ever(runs):
    module = ur.GRU(4, 7, batch_first=True)
    for time in TIMES[:3]:
        module(torch.randn(2, time, 4), lengths=[1, time])
    with pytest.raises(ur.Error, match="lengths"):
        module(torch.randn(2, 19, 4), lengths=torch.tensor([1, 20]))
    with pytest.raises(ur.Error, match="hidden"):
        module(torch.randn(2, 21, 4), torch.zeros(1, 3, 7), lengths=[1, 2])
    with pytest.raises(ur.Error, match="input"):
        module(torch.randn(2, 22, 5), lengths=[1, 2])
    assert module.double()(torch.randn(2, 24, 4).double())[0].dtype is torch.float64


@torch.no_grad()
def test_autocast_rounds_as_ever(runs):
    module = ur.LSTM(5, 8, bidirectional=True)
    with torch.autocast("cpu", torch.bfloat16):
        for time in TIMES:
            x = torch.randn(time, 3, 5)
            same(module(x), copy.deepcopy(module)(x))
    assert runs


@pytest.mark.parametrize("parts", [1, 8])
def test_how_many_steps_are_laid_out(parts):
    for time in range(1, 3000):
        most = elastic.most_steps(time, parts)
        assert time <= most <= time + max(0, (1 << (time - 1).bit_length()) // 2 // parts - 1)
        assert elastic.most_steps(most, parts) == most
    assert len({elastic.most_steps(time, parts) for time in range(513, 1025)}) == parts


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("name", EVERY)
@torch.no_grad()
def test_every_cell(name, runs):
    module = layer(name, 5, 17)
    for time in TIMES[:4]:
        x = torch.randn(3, time, 5)
        same(module(x), copy.deepcopy(module)(x))
    assert len(runs) == 3


@pytest.fixture
def steps(monkeypatch):
    """Of the layers' training calls, for how many steps each was laid out and how many it had."""
    done = []

    class Noted(practice.Scan):
        def forward(self, pool, count, x, *rest):
            form = self.course.form
            if form.elastic:
                time = self._ragged.time if self._ragged else x.shape[1 if self.batch_first else 0]
                done.append((form.time, time))
            return super().forward(pool, count, x, *rest)

    monkeypatch.setattr(practice, "Scan", Noted)
    return done


def gradients(module, x, state, **options):
    """Results and all gradients of a call."""
    x = x.detach().requires_grad_()
    state = None if state is None else [s.detach().requires_grad_() for s in state]
    results = flat(module(x, None if state is None else given(state), **options))
    torch.manual_seed(3)
    total = sum((r * torch.randn(r.shape)).sum() for r in results)
    return results, torch.autograd.grad(total, [x, *(state or ()), *module.parameters()])


def close(got, wanted):
    for some, other in zip(got, wanted, strict=True):
        for a, b in zip(some, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * max(1.0, float(b.detach().abs().max())))


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "options", "batch"), CASES)
def test_gradients(name, options, batch, threads, batch_first, lengths, steps, set_threads):
    set_threads(threads)
    module = layer(name, 13, 19, **options)
    module.batch_first = batch_first
    for time in TIMES:
        x = torch.randn(*((batch, time) if batch_first else (time, batch)), 13)
        more = {"lengths": torch.randint(0, time + 1, (batch,))} if lengths else {}
        state = states(module, batch) if time % 2 else None
        got, wanted = (gradients(m, x, state, **more) for m in (module, copy.deepcopy(module)))
        same(got[0], wanted[0])
        close(got, wanted)
    assert len(steps) == options.get("num_layers", 1) * (len(TIMES) - 1)
    assert all(most >= time for most, time in steps)
    assert any(most > time for most, time in steps)


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("name", EVERY)
def test_every_cells_gradients(name, steps):
    module = layer(name, 5, 17, bidirectional=True)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.3)  # rnn_relu's states would grow without end
    for time in (401, 17, 403, 18, 90):  # of pieces of many lengths
        x, state = torch.randn(3, time, 5), states(module, 3)
        close(gradients(module, x, state), gradients(copy.deepcopy(module), x, state))
    assert len(steps) == 4


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("batch", [193, 260, 600])
def test_many_rows(batch, lengths, steps, runs):
    module = layer("gru", 3, 5, bidirectional=True)
    for time in TIMES[:5]:
        x = torch.randn(batch, time, 3)
        more = {"lengths": torch.randint(0, time + 1, (batch,))} if lengths else {}
        close(*(gradients(m, x, None, **more) for m in (module, copy.deepcopy(module))))
        with torch.no_grad():
            same(module(x, **more), copy.deepcopy(module)(x, **more))
    assert len(steps) == len(runs) == 4


@pytest.mark.parametrize(
    ("name", "options", "batch", "hidden"),
    [("gru", {}, 2, 256), ("lstm", {"bidirectional": True}, 9, 96), ("rnn_tanh", {}, 4, 128)],
)
def test_shared_among_workers(name, options, batch, hidden, steps, monkeypatch, two_threads):
    monkeypatch.setattr(claim, "LONG", 0.0)
    for module in (ready, practice, training):
        monkeypatch.setattr(module, "ALONE", 0.0)
    monkeypatch.setattr(trial.Stalls, "resting", lambda self: False)
    shared = []
    init = Layer.__init__
    monkeypatch.setattr(
        Layer,
        "__init__",
        lambda self, geometry, workers, *rest, **more: (
            shared.append(workers) or init(self, geometry, workers, *rest, **more)
        ),
    )
    module = layer(name, 40, hidden, **options)
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(0.2)
    for time in (65, 97, 70, 98, 66, 101, 125):
        x = torch.randn(batch, time, 40)
        got, wanted = (gradients(m, x, None) for m in (module, copy.deepcopy(module)))
        close(got, wanted)
        with torch.no_grad():
            same(module(x), copy.deepcopy(module)(x))
    assert len(steps) == 6
    assert shared.count(2) > 10


def test_symbols_gradients(steps):
    vocabulary = ur.Vocabulary("abcdefg")
    module = layer("lstm", 7, 21, bidirectional=True)
    for time in TIMES:
        batch = vocabulary.encode(["".join(random.choices("abcdefg", k=n)) for n in (time, 3, 0, time)])
        found = []
        for m in (module, copy.deepcopy(module)):
            m.zero_grad()
            m(batch)[0].square().sum().backward()
            found.append([p.grad for p in m.parameters()])
        close([found[0]], [found[1]])
    assert len(steps) == len(TIMES) - 1


def test_graphs_of_many_lengths_at_once(steps):
    module, wanted = ur.GRU(5, 9), ur.GRU(5, 9)
    wanted.load_state_dict(module.state_dict())
    inputs = [torch.randn(time, 2, 5) for time in (*TIMES, 40, 300, 299)]
    outputs = [module(x)[0] for x in inputs]
    sum(o.square().sum() for o in outputs[::-1]).backward()
    for x in inputs:
        with ur.engine("reference"):
            wanted(x)[0].square().sum().backward()
    for p, q in zip(module.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-4 * float(q.grad.abs().max()))
    assert len(steps) == len(inputs) - 1


def test_what_is_kept_elsewhere_and_second_derivatives(steps):
    module = layer("gru", 4, 6, bidirectional=True)
    for time in TIMES:
        x = torch.randn(2, time, 4, requires_grad=True)
        # Which gives back other tensors than it was given.
        with saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
            kept = module(x, lengths=[time, 3])[0]
        got = torch.autograd.grad(kept.square().sum(), x)
        anew = copy.deepcopy(module)(x, lengths=[time, 3])[0]
        close([got], [torch.autograd.grad(anew.square().sum(), x)])
        found = []
        for m in (module, copy.deepcopy(module)):
            (first,) = torch.autograd.grad(m(x)[0].square().sum(), x, create_graph=True)
            found.append(torch.autograd.grad(first.square().sum(), x))
        close([found[0]], [found[1]])
    assert steps


def test_unread_outputs_and_resets(steps):
    module = layer("lstm", 4, 6)
    for time in TIMES:
        x, resets = torch.randn(2, time, 4), torch.rand(2, time) < 0.2
        found = []
        for m in (module, copy.deepcopy(module)):
            m.zero_grad()
            m(x)[1][0].sum().backward()
            m(x, reset=resets)[0].sum().backward()
            found.append([p.grad for p in m.parameters()])
        close([found[0]], [found[1]])
    assert len(steps) == len(TIMES) - 1


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("name", "options", "batch"), CASES)
def test_packed_sequences_of_ever_new_lengths(name, options, batch, training, runs, steps):
    module = layer(name, 13, 19, **options)
    module(torch.randn(batch, 19, 13), lengths=torch.full((batch,), 19))  # of the same form otherwise
    with torch.set_grad_enabled(training):
        for time in TIMES:
            lengths = torch.randint(1, time + 1, (batch,))
            lengths[-1] = time
            x = pack_padded_sequence(torch.randn(batch, time, 13), lengths, True, enforce_sorted=False)
            found = []
            for m in (module, copy.deepcopy(module)):
                m.zero_grad()
                output, state = m(x)
                found.append([output.data, *([state] if isinstance(state, torch.Tensor) else state)])
                if training:
                    sum(r.square().sum() for r in found[-1]).backward()
                    found.append([p.grad for p in m.parameters()])
            if training:
                close([found[1]], [found[3]])
            same(found[0], found[2 if training else 1])
    layers = options.get("num_layers", 1)
    assert len(steps if training else runs) >= layers * (len(TIMES) - 1 - (0 if training else layers))
