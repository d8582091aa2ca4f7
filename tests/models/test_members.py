"""Several networks in one model: each learns alone, together they average their probabilities."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import unrolled as ur
from unrolled.training.streams import surprise

VOCABULARY = ur.Vocabulary("abcdefg")
OPTIONS = [
    {},
    {"cell": "gru", "num_layers": 2, "embedding_size": 5},
    {"cell": "lstm", "embedding_size": 5, "residual": True, "layer_norm": True, "num_layers": 2},
    {"cell": "lstm", "proj_size": 3},
    {"cell": "rnn_tanh", "zoneout": 0.1},
    {"cell": "slstm", "embedding_size": 4},
]


def made(members=3, hidden_size=6, seed=0, **options):
    torch.manual_seed(seed)
    return ur.LanguageModel(VOCABULARY, hidden_size=hidden_size, members=members, **options).eval()


def alone(model, k):
    """Member k as a model of its own."""
    options = {n: v for n, v in model.config.items() if n not in ("members", "hidden_size")}
    one = ur.LanguageModel(VOCABULARY, hidden_size=model.config["hidden_size"], **options).eval()
    weights = {}
    for name, tensor in model.state_dict().items():
        for many, single in ((f"layers.members.{k}.", "layers."), (f"head.heads.{k}.", "head.")):
            if name.startswith(many):
                weights[single + name.removeprefix(many)] = tensor
        if name.startswith("embedding"):
            weights[name] = tensor
    one.load_state_dict(weights)
    return one


@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_it_is_the_mean_of_its_members_probabilities(options):
    model, indices = made(**options), torch.randint(7, (4, 9))
    logits, _ = model(indices)
    assert logits.shape == (4, 9, 7)
    wanted = torch.stack([alone(model, k)(indices)[0].softmax(-1) for k in range(3)]).mean(0)
    torch.testing.assert_close(logits.exp(), wanted)


@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_states_are_the_members_one_after_another(options):
    model, indices = made(**options), torch.randint(7, (4, 9))
    whole, last = model(indices)
    first, state = model(indices[:, :5])
    second, after = model(indices[:, 5:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(after, last)
    flat = [last] if isinstance(last, torch.Tensor) else last
    of_one = [alone(model, k)(indices)[1] for k in range(3)]
    of_one = [[s] if isinstance(s, torch.Tensor) else s for s in of_one]
    for i, state in enumerate(flat):
        assert state.shape[-1] == model.layers.stack.state_size(i)
        torch.testing.assert_close(state, torch.cat([s[i] for s in of_one], -1))


def test_each_member_learns_alone():
    model, indices = made(embedding_size=4).train(), torch.randint(7, (4, 9))
    logits, _ = model(indices)
    assert logits.shape == (4, 9, 3, 7)
    loss = surprise(logits, indices)
    loss.backward()
    for k in range(3):
        one = alone(model, k).train()
        own = cross_entropy(one(indices)[0].flatten(0, 1), indices.flatten())
        own.backward()
        for name, parameter in one.named_parameters():
            if not name.startswith("embedding"):
                many = name.replace("layers.", f"layers.members.{k}.").replace("head.", f"head.heads.{k}.")
                torch.testing.assert_close(model.get_parameter(many).grad * 3, parameter.grad)


def test_it_is_saved_and_loaded_whole(tmp_path):
    model, indices = made(cell="gru", embedding_size=3), torch.randint(7, (2, 5))
    model.save(tmp_path / "model")
    read = ur.LanguageModel.load(tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(read(indices)[0], model(indices)[0])
    said = "".join(model.generate("abc", 20, seed=1))
    assert "".join(read.generate("abc", 20, seed=1)) == said
    assert len(said) == 20


@pytest.mark.parametrize("members", [0, -1, 1.5, True, "2"])
def test_wrong_numbers_of_members(members):
    with pytest.raises(ur.Error, match="members"):
        made(members=members)


def test_a_tied_head_is_one_alone():
    with pytest.raises(ur.Error, match="tied"):
        made(members=2, embedding_size=6, tied=True)
