"""ur.replace on whole models that know nothing of us."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled as ur


class Tagger(nn.Module):
    """A bidirectional tagger with packed sequences."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.encoder = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True, dropout=0.3)
        self.head = nn.Linear(10, 4)

    def forward(self, indices, lengths):
        packed = pack_padded_sequence(
            self.embedding(indices), lengths, batch_first=True, enforce_sorted=False
        )
        output, (h, _) = self.encoder(packed)
        output, _ = pad_packed_sequence(output, batch_first=True)
        return self.head(output) + h[-1].mean()


class Listener(nn.Module):
    """A convolutional front, a GRU and a second one that shares its weights by being the same module."""

    def __init__(self):
        super().__init__()
        self.front = nn.Conv1d(3, 6, 3, stride=2)
        self.first = nn.GRU(6, 6)
        self.stages = nn.ModuleList([self.first, nn.RNN(6, 4, nonlinearity="relu")])

    def forward(self, waves):
        x = self.front(waves).permute(2, 0, 1)
        for stage in (self.first, *self.stages):
            x, _ = stage(x)
        return x[-1]


class Policy(nn.Module):
    """A recurrent policy that forgets at the end of an episode, step by step, as such loops are written."""

    def __init__(self):
        super().__init__()
        self.memory = nn.LSTM(4, 5)
        self.actions = nn.Linear(5, 2)

    def forward(self, seen, done):
        h = c = torch.zeros(1, seen.shape[1], 5)
        outputs = []
        for x, over in zip(seen, done, strict=True):
            going = (~over)[None, :, None].float()
            output, (h, c) = self.memory(x[None], (h * going, c * going))
            outputs.append(self.actions(output[0]))
        return torch.stack(outputs)


class Other(nn.LSTM):
    """A subclass, which may compute anything."""


MODELS = {
    "tagger": (Tagger, lambda: (torch.randint(11, (3, 6)), torch.tensor([4, 6, 1]))),
    "listener": (Listener, lambda: (torch.randn(2, 3, 19),)),
    "policy": (Policy, lambda: (torch.randn(7, 3, 4), torch.rand(7, 3) > 0.7)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_whole_model_trains_as_before(name, ours_ran):
    make, draw = MODELS[name]
    torch.manual_seed(0)
    model, arguments = make(), draw()
    twin = copy.deepcopy(model)
    for module in (model, twin):
        for child in module.modules():
            if isinstance(child, nn.RNNBase):
                child.dropout = 0.0
    optimisers = [torch.optim.Adam(m.parameters(), 0.05) for m in (model, twin)]
    names = list(model.state_dict())
    identities = [id(p) for p in model.parameters()]
    assert ur.replace(model) is model
    assert {type(m) for m in model.modules()} & {ur.RNN, ur.GRU, ur.LSTM}
    assert not {type(m) for m in model.modules()} & {nn.RNN, nn.GRU, nn.LSTM}
    assert [id(p) for p in model.parameters()] == identities
    assert list(model.state_dict()) == names
    for _ in range(3):
        losses = []
        for module, optimiser in zip((model, twin), optimisers, strict=True):
            optimiser.zero_grad()
            losses.append(module(*arguments).square().sum())
            losses[-1].backward()
            optimiser.step()
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-4)
    ran = len(ours_ran)
    assert ran >= 3
    ur.restore(model)
    assert [type(m) for m in model.modules()] == [type(m) for m in twin.modules()]
    assert {k for m in model.modules() for k in vars(m)} == {k for m in twin.modules() for k in vars(m)}
    torch.testing.assert_close(model(*arguments), twin(*arguments), rtol=1e-3, atol=1e-3)
    assert len(ours_ran) == ran


def test_hooks_modes_shared_modules_and_subclasses_stay():
    model = nn.ModuleDict({"a": nn.GRU(3, 4), "other": Other(3, 4)})
    model["same"] = model["a"]
    model["a"].eval()
    seen = []
    model["a"].register_forward_hook(lambda *_: seen.append(1))
    ur.replace(model)
    assert type(model["a"]) is ur.GRU
    assert model["same"] is model["a"]
    assert type(model["other"]) is Other
    assert not model["a"].training
    model["a"](torch.zeros(2, 1, 3))
    assert seen == [1]
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(ur.replace(nn.GRU(3, 4))))):
        assert any(type(m) is ur.GRU for m in again.modules())


def test_every_kind_of_hook_and_what_is_frozen_stay_both_ways():
    """Hooks of the module, its parameters and its state dict; parameters that do not train; modes."""
    model = nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 4, 2, dropout=0.5, bidirectional=True)).eval()
    lstm, seen = model[1], []
    lstm.register_forward_pre_hook(lambda *_: seen.append("before"))
    lstm.register_forward_hook(lambda *_: seen.append("after"))
    lstm.register_full_backward_hook(lambda *_: seen.append("backward"))
    lstm.register_state_dict_post_hook(lambda *_: seen.append("saved"))
    lstm.weight_hh_l0.register_hook(lambda g: seen.append("gradient"))
    lstm.bias_ih_l1.requires_grad_(False)
    lstm.note = "an attribute of the user's"
    attributes = {k: v for k, v in vars(lstm).items() if k != "_forward_hooks"}
    for change, kind in ((ur.replace, ur.LSTM), (ur.restore, nn.LSTM)):
        change(model)
        assert type(lstm) is kind
        seen.clear()
        model(torch.randn(5, 2, 3))[0].sum().backward()
        model.state_dict()
        assert sorted(seen) == ["after", "backward", "before", "gradient", "saved"]
        assert not lstm.training
        assert lstm.bias_ih_l1.grad is None
        assert lstm.note == "an attribute of the user's"
        assert [n for n, p in lstm.named_parameters() if not p.requires_grad] == ["bias_ih_l1"]
        assert set(attributes) <= set(vars(lstm))


def test_a_policys_loop_is_one_call_with_resets(ours_ran):
    model = ur.replace(Policy())
    seen, done = torch.randn(7, 3, 4), torch.rand(7, 3) > 0.6
    looped = model(seen, done)
    steps = len(ours_ran)
    torch.testing.assert_close(model.actions(model.memory(seen, reset=done)[0]), looped)
    assert (steps, len(ours_ran)) == (7, 8)


def test_the_model_itself(ours_ran):
    lstm, x = nn.LSTM(3, 4, proj_size=2), torch.randn(5, 2, 3)
    wanted = lstm(x)
    assert ur.replace(lstm) is lstm
    torch.testing.assert_close(lstm(x), wanted)
    assert ur.explain(lstm, x).engine
    lstm.load_state_dict(nn.LSTM(3, 4, proj_size=2).state_dict())
    assert type(ur.restore(lstm)) is nn.LSTM
    assert repr(lstm) == "LSTM(3, 4, proj_size=2)"


@pytest.mark.parametrize("when", ["before", "after"])
def test_parametrisations_stay(when, ours_ran):
    lstm, x = nn.LSTM(3, 4), torch.randn(5, 2, 3)
    if when == "before":
        parametrizations.weight_norm(lstm, "weight_hh_l0")
        twin = copy.deepcopy(lstm)
        wanted = lstm(x)
        ur.replace(lstm)
    else:
        wanted = ur.replace(lstm)(x)
        parametrizations.weight_norm(lstm, "weight_hh_l0")
        twin = None
    assert isinstance(lstm, ur.LSTM)
    torch.testing.assert_close(lstm(x), wanted)
    lstm(x)[0].sum().backward()
    assert lstm.parametrizations.weight_hh_l0.original0.grad.any()
    ur.restore(lstm)
    assert not isinstance(lstm, ur.LSTM)
    torch.testing.assert_close(lstm(x), wanted)
    if twin is not None:
        assert not isinstance(twin, ur.LSTM)
        torch.testing.assert_close(twin(x), wanted)
