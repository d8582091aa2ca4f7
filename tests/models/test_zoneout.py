"""Zoneout against a loop that anyone can read, in training and in evaluation, and what becomes of it."""

import copy
import io

import pytest
import torch
from torch import tanh

import unrolled as ur
from unrolled.models import zoneout
from unrolled.models.deep import DEFAULTS, DeepRecurrent
from unrolled.training import Options, Plan, train_language

RATES = {"zoneout": 0.3, "cell_zoneout": 0.5}
LENGTHS = [7, 0, 4]


def layers(cell, dtype=torch.float64, bidirectional=False, num_layers=1, rates=RATES):
    """Layers that read 3 features into 5 units."""
    torch.manual_seed(0)
    kind = ur.cells.CELLS[cell]
    extras = {**DEFAULTS, "zoneout": rates["zoneout"]}
    if kind.states == 2:
        extras["cell_zoneout"] = rates["cell_zoneout"]
    return DeepRecurrent(kind, 3, 5, num_layers, 0.0, bidirectional, extras).to(dtype)


def equations(cell, x, r, h, c):
    """The next h and c of a cell; x and r by gate."""
    sigmoid = torch.sigmoid
    if cell == "lstm":
        i, f, o = (sigmoid(x[g] + r[g]) for g in (0, 1, 3))
        c = f * c + i * tanh(x[2] + r[2])
        return o * tanh(c), c
    if cell == "gru":
        reset, update = sigmoid(x[0] + r[0]), sigmoid(x[1] + r[1])
        return (1 - update) * tanh(x[2] + reset * r[2]) + update * h, c
    return tanh(x[0] + r[0]), c


def naive(module, cell, x, lengths, seed=None):
    """One layer step by step and row by row; with a seed the masks are drawn as in training, from whole
    numbers, and without one expected."""
    kind, (p, pc) = ur.cells.CELLS[cell], module.zoneout
    directions = module.stack.directions
    if seed is not None:
        torch.manual_seed(seed)
        begins = torch.randint(1, zoneout.MODULUS, (directions, len(x), 5)).tolist()
    outputs, lasts = [], []
    for d in range(directions):
        w, u, b, v = (
            getattr(module, f"{name}_l0" + ("_reverse" if d else ""))
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        rows, last = [], []
        for n, length in enumerate(lengths):
            h = c = torch.zeros(5, dtype=x.dtype)
            places = range(length)
            found = [torch.zeros(5, dtype=x.dtype)] * x.shape[1]
            for t in reversed(places) if d else places:
                gates = (w @ x[n, t] + b).view(kind.gates, 5), (u @ h + v).view(kind.gates, 5)
                new_h, new_c = equations(cell, *gates, h, c)
                masks = []
                for rate in (p, pc):
                    if seed is None or not rate:
                        masks.append(torch.full((5,), rate, dtype=x.dtype))
                        continue
                    begins[d][n] = [4307 * s % (2**24 - 3) for s in begins[d][n]]
                    kept = [s < rate * (2**24 - 3) for s in begins[d][n]]
                    masks.append(torch.tensor(kept, dtype=x.dtype))
                h = masks[0] * h + (1 - masks[0]) * new_h
                c = masks[1] * c + (1 - masks[1]) * new_c
                found[t] = h
            rows.append(torch.stack(found))
            last.append(torch.stack([h, c][: kind.states]))
        outputs.append(torch.stack(rows))
        lasts.append(torch.stack(last, 1))
    return torch.cat(outputs, -1), torch.stack(lasts, 1)


def gradients(output, state, module, x):
    torch.manual_seed(3)
    loss = (output * torch.randn_like(output)).sum() + (state * torch.randn_like(state)).sum()
    return torch.autograd.grad(loss, [x, *module.parameters()])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_it_is_the_naive_loop(engine, cell, bidirectional, training):
    module = layers(cell, bidirectional=bidirectional).train(training)
    x = torch.randn(3, 7, 3, dtype=torch.float64, requires_grad=True)
    wanted = naive(module, cell, x, LENGTHS, seed=5 if training else None)
    exact = [*wanted, *gradients(*wanted, module, x)]
    if engine == "cpu":
        module, x = module.float(), x.detach().float().requires_grad_()
    torch.manual_seed(5)
    with ur.engine(engine):
        output, state = module(x, lengths=LENGTHS)
    state = state[None] if isinstance(state, torch.Tensor) else torch.stack(state)
    got = [output, state]
    got += [g.double() for g in gradients(output.double(), state.double(), module, x)]
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if engine == "reference" else {"rtol": 1e-4, "atol": 1e-5}
    for a, b in zip(got, exact, strict=True):
        torch.testing.assert_close(a.double(), b, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_number_has_its_follower(dtype):
    numbers = torch.arange(1, zoneout.MODULUS, dtype=torch.int64)
    got = zoneout.step(numbers.to(dtype))
    assert torch.equal(got.long(), numbers * zoneout.MULTIPLIER % zoneout.MODULUS)


def test_the_masks_are_as_if_drawn_by_chance():
    """On the CPU's engine: their mean, and their correlation with the steps before and the unit beside."""
    p, rows, time, units = 0.1, 64, 256, 64
    torch.manual_seed(0)
    cell = zoneout.drawn(ur.cells.CELLS["min_gru"], p, 0.0)
    layer = ur.Recurrent(cell, 1, units, batch_first=True)
    with torch.no_grad():  # each step's candidate is t + 1, and never the h before
        layer.weight_ih_l0.fill_(0)
        layer.weight_ih_l0[units:] = 1
        layer.bias_ih_l0.fill_(0)
        layer.bias_ih_l0[:units] = 100
    x = torch.arange(1.0, time + 1).expand(rows, time)[..., None]
    states = (torch.zeros(1, rows, units), torch.randint(1, zoneout.MODULUS, (1, rows, units)).float())
    with ur.engine("cpu"), torch.no_grad():
        h, _ = layer(x, states)
    mask = (h != x).double() - p
    error = 4 / (rows * time * units) ** 0.5
    assert abs(mask.mean()) < error * (p * (1 - p)) ** 0.5
    for lag in (1, 2, 3):
        assert abs((mask[:, lag:] * mask[:, :-lag]).mean()) < error * p * (1 - p)
    assert abs((mask[..., 1:] * mask[..., :-1]).mean()) < error * p * (1 - p)


TEXT = "the quick brown fox jumps over the lazy dog\n" * 60
OPTIONS = Options(
    cell="lstm",
    hidden_size=24,
    num_layers=2,
    dropout=0.0,
    embedding_size=8,
    batch=4,
    window=16,
    zoneout=0.1,
    cell_zoneout=0.2,
)


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    assert train_language(TEXT, folder, Plan(steps=250, learning_rate=0.03), OPTIONS).best < 0.5
    return folder


def test_it_is_resumed_to_the_bit(tmp_path):
    def kill(progress):
        if progress.step == 17:
            raise KilledError

    whole, cut, plan = tmp_path / "whole", tmp_path / "cut", Plan(steps=30, checkpoint_every=1e-9)
    train_language(TEXT, whole, plan, OPTIONS)
    with pytest.raises(KilledError):
        train_language(TEXT, cut, plan, OPTIONS, report=kill)
    torch.manual_seed(5)
    train_language(TEXT, cut, plan, OPTIONS, resume=True)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (whole, cut)]
    assert weights[0] == weights[1]


def test_it_reads_step_by_step_what_it_reads_at_once(trained):
    model = ur.LanguageModel.load(trained)
    assert model.config["zoneout"] == 0.1
    assert model.config["cell_zoneout"] == 0.2
    indices = model.vocabulary.encode("the quick brown")[None]
    batch = ur.Batch(indices, None, model.vocabulary)
    whole, last = model.hidden(batch)
    state, parts = None, []
    for t in range(indices.shape[1]):
        hidden, state = model.hidden(ur.Batch(indices[:, t : t + 1], None, model.vocabulary), state)
        parts.append(hidden)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=0)
    torch.testing.assert_close(state, last, rtol=0, atol=0)
    assert "".join(model.generate("the qu", 5, temperature=0)) == "ick b"
    model.train()
    assert not torch.allclose(model.hidden(batch)[0], whole)


def test_it_is_seen_with_the_gates_of_its_cell(trained):
    model = ur.LanguageModel.load(trained)
    recording = ur.see.record(model, "the fox")
    hidden, _ = model.hidden(model.vocabulary.encode(["the fox"]))
    torch.testing.assert_close(recording.hidden, hidden[0].detach())
    torch.testing.assert_close(recording.layers[1].states["h"], recording.hidden)
    assert list(recording.layers[0].gates) == ["input", "forget", "candidate", "output"]


def test_classifiers_and_taggers_have_it_too():
    torch.manual_seed(0)
    sizes = {"hidden_size": 6, "embedding_size": 4, "zoneout": 0.4}
    classifier = ur.Classifier(ur.Vocabulary("abc", unknown="?"), ["x", "y"], cell="gru", **sizes)
    words = ur.Vocabulary(["the", "?"], unknown="?")
    tagger = ur.Tagger(words, ur.Vocabulary("the?", unknown="?"), ["A", "B"], **sizes)
    texts, sentences = classifier.vocabulary.encode(["abc", "", "cab"]), tagger.read([["the", "x"], []])
    for model, given in ((classifier, texts), (tagger, sentences)):
        assert not torch.equal(model(given), model(given))
        model.eval()
        assert torch.equal(model(given), model(given))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zoneout": 1.0}, "zoneout is 1.0; wanted a probability from 0 to below 1"),
        ({"cell_zoneout": -0.1}, "cell_zoneout is -0.1; wanted a probability"),
        ({"cell": "gru", "cell_zoneout": 0.1}, "cell_zoneout is for cells with a state beside h"),
        ({"cell": "slstm", "cell_zoneout": 0.1}, "slstm has 4: leave it out"),
        ({"zoneout": 0.1, "proj_size": 2}, "zoneout mixes h with the h before, which proj_size=2 narrows"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ur.Error, match=message):
        ur.LanguageModel(ur.Vocabulary("ab"), hidden_size=4, **options)


@pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
def test_numbers_that_do_not_hold_the_generator_are_refused():
    model = ur.LanguageModel(ur.Vocabulary("ab"), hidden_size=4, zoneout=0.1).to(torch.bfloat16)
    with pytest.raises(ur.Error, match="draws its masks in float32 or float64, not in torch"):
        model(torch.tensor([[0, 1]]))
    model.eval()(torch.tensor([[0, 1]]))


def test_under_bfloat16_on_a_cpu_the_masks_are_the_same():
    torch.manual_seed(0)
    model = ur.LanguageModel(ur.Vocabulary("ab"), hidden_size=4, zoneout=0.5, bfloat16=True)
    indices = torch.randint(2, (3, 20))
    torch.manual_seed(1)
    low, _ = model(indices)
    model.config["bfloat16"] = False
    torch.manual_seed(1)
    torch.testing.assert_close(low, model(indices)[0], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{"zoneout": 0.2}, {"cell_zoneout": 0.3, "num_layers": 2}], ids=str)
def test_a_model_is_one_graph_with_it_too(options, training):
    model = ur.LanguageModel(ur.Vocabulary("abcd"), "lstm", 8, embedding_size=4, **options).train(training)
    compiled, x = torch.compile(model, backend="aot_eager", fullgraph=True), torch.randint(4, (2, 5))
    found = []
    for call in (compiled, model):
        torch.manual_seed(0)
        found.append(call(x)[0])
    torch.testing.assert_close(*found)


def test_a_copy_and_a_pickle_have_it():
    model = ur.LanguageModel(ur.Vocabulary("abcd"), "lstm", 8, embedding_size=4, zoneout=0.2).eval()
    x, pickled = torch.randint(4, (2, 5)), io.BytesIO()
    torch.save(model, pickled)
    pickled.seek(0)
    for other in (copy.deepcopy(model), torch.load(pickled, weights_only=False)):
        assert torch.equal(other(x)[0], model(x)[0])
        other.train()(x)[0].sum().backward()


def test_its_rates_may_be_changed_later():
    model = ur.LanguageModel(ur.Vocabulary("abcd"), "gru", 8, embedding_size=4, zoneout=0.5).eval()
    x = torch.randint(4, (2, 5))
    with_it = model(x)[0]
    model.layers.zoneout = (0.0, 0.0)
    assert not torch.allclose(model(x)[0], with_it)
