"""torch.compile and torch.export: one whole graph, one for every batch and length, the same numbers."""

import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.library import opcheck
from torch.utils._pytree import tree_leaves

import unrolled as ur
from unrolled.scan import engines

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.EngineWarning", "ignore::DeprecationWarning")


@ur.cell(gates=2)
def home_made(x, r, h):
    forget = torch.sigmoid(x[0] + r[0])
    return h + forget * (torch.tanh(x[1] + forget * r[1]) - h)


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


class Tagger(nn.Module):
    """A model with a layer of ours in the middle, as a user writes it."""

    def __init__(self, layer):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.layer = layer
        width = layer.stack.output_size * layer.stack.directions
        self.head = nn.Linear(width, 3)

    def forward(self, indices, lengths=None, reset=None):
        output, _ = self.layer(self.embedding(indices), lengths=lengths, reset=reset)
        return self.head(output)


def agree(compiled, model, *arguments, **keywords):
    """The results and the gradients of all parameters are those of the model as it stands."""
    gradients = []
    results = []
    for module in (compiled, model):
        model.zero_grad()
        results.append(tree_leaves(module(*arguments, **keywords)))
        sum(r.square().sum() for r in results[-1]).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(gradients[0], gradients[1])


LAYERS = {
    "RNN": lambda: ur.RNN(4, 3, batch_first=True),
    "GRU": lambda: ur.GRU(4, 3, 2, batch_first=True),
    "LSTM": lambda: ur.LSTM(4, 3, 2, batch_first=True, bidirectional=True, proj_size=2),
    "slstm": lambda: ur.Recurrent(ur.cells.slstm, 4, 3, batch_first=True),
    "home_made": lambda: ur.Recurrent(home_made, 4, 3, batch_first=True),
}


ENGINES = [
    *((name, "cpu") for name in LAYERS),
    *((name, "aten") for name in ("RNN", "GRU", "LSTM")),
    *((name, "reference") for name in ("LSTM", "home_made")),
]


@pytest.mark.parametrize("name", ["RNN", "LSTM"])
def test_no_steps_at_all(name):
    layer = LAYERS[name]()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    states, size = layer.stack.cell.states, layer.stack.state_size
    slots = layer.stack.num_layers * layer.stack.directions
    for time in (3, 0, 4):
        x, found = torch.randn(2, time, 4), []
        begin = [torch.randn(slots, 2, size(k)) for k in range(states)]
        for call in (compiled, layer):
            given = [s.clone().requires_grad_() for s in begin]
            output, last = call(x, tuple(given) if states > 1 else given[0])
            whole = output.sum() + sum(s.square().sum() for s in (last if states > 1 else [last]))
            found.append(torch.autograd.grad(whole, given))
        torch.testing.assert_close(*found)


@pytest.mark.parametrize(("name", "engine"), ENGINES)
def test_one_graph_serves_every_batch_and_length(name, engine, monkeypatch):
    """No break, one graph and one compilation for all sizes; the engine that was asked for is what runs."""
    monkeypatch.setattr(engines, "_program", lambda: engine)
    monkeypatch.setattr(engines, "again", lambda *arguments: None)  # the short way passes by what counts
    ran, run = [], engines.ENGINES[engine].run
    monkeypatch.setattr(engines.ENGINES[engine], "run", lambda call: ran.append(call.stack) or run(call))
    model = Tagger(LAYERS[name]())
    counters.clear()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for batch, time in ((2, 5), (3, 7), (6, 2), (4, 9)):
            ran.clear()
            agree(compiled, model, torch.randint(7, (batch, time)))
            # Once eagerly; in the graph once forward and once more in its backward, which runs it again.
            assert len(ran) == 3
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


def test_torch_nns_own_are_refused_by_the_compiler_as_before():
    ur.LSTM(4, 3)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="RNN, GRU, or LSTM"):
        torch.compile(nn.LSTM(4, 3), fullgraph=True, backend="eager")(torch.zeros(2, 2, 4))


def test_lengths_resets_and_states():
    model = LAYERS["GRU"]()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x, state = torch.randn(4, 6, 4), torch.randn(2, 4, 3)
    lengths, reset = torch.tensor([6, 0, 2, 5]), torch.rand(4, 6) > 0.5
    agree(compiled, model, x, state, lengths=lengths, reset=reset)
    agree(compiled, model, x, lengths=[1, 2, 3, 4])
    with pytest.raises(ur.Error, match="lengths run from 0 to 7; wanted 0 to 6"):
        compiled(x, state, lengths=torch.tensor([7, 0, 2, 5]), reset=reset)


@pytest.mark.parametrize("make", [ur.RNNCell, ur.GRUCell, ur.LSTMCell])
def test_cells(make):
    model = make(4, 3)
    agree(torch.compile(model, fullgraph=True, backend="aot_eager"), model, torch.randn(2, 4))


def test_dropout_drops_the_same_in_the_backward():
    layer = ur.LSTM(4, 16, 2, dropout=0.5)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(5, 2, 4)
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        layer.zero_grad()
        outputs.append(compiled(x)[0])
    assert torch.equal(*outputs)
    assert not torch.equal(outputs[0], compiled(x)[0])
    outputs[0].sum().backward()
    # A unit of the first layer that was dropped at every step has no gradient through the second's input.
    torch.manual_seed(3)
    weight = layer.weight_ih_l1
    gradient = weight.grad.clone()
    with torch.no_grad():
        weight += 1e-3 * gradient
    changed = compiled(x)[0].sum() - outputs[0].sum()
    torch.testing.assert_close(changed, 1e-3 * gradient.square().sum(), rtol=0.1, atol=1e-3)


@pytest.mark.parametrize(("kind", "dtype"), [(ur.GRU, torch.float32), (ur.LSTM, torch.bfloat16)])
def test_autocast_inside_the_graph(kind, dtype):
    layer = kind(4, 3)

    def mixed(x):
        with torch.autocast("cpu", torch.bfloat16):
            return layer(x)

    x = torch.randn(5, 2, 4)
    compiled = torch.compile(mixed, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), mixed(x))
    assert compiled(x)[0].dtype == dtype


def test_torch_func_inside_the_graph():
    layer = ur.GRU(4, 3, batch_first=True)

    def per_sample(x):
        return torch.func.vmap(torch.func.grad(lambda row: layer(row)[0].square().sum()))(x)

    x = torch.randn(2, 2, 4)
    compiled = torch.compile(per_sample, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), per_sample(x))


@pytest.mark.filterwarnings("ignore::unrolled.EngineWarning")
def test_torch_func_around_a_compiled_layer_that_then_runs_as_before():
    # The compiler gives such calls up, and would compile what the engine calls one by one from then on.
    layer, x = ur.GRU(3, 4, batch_first=True), torch.randn(2, 5, 3)
    compiled = torch.compile(layer, backend="aot_eager")
    wanted = layer(x)
    torch.testing.assert_close(compiled(x), wanted)
    gradients = [torch.func.grad(lambda x, f=f: f(x)[0].square().sum())(x) for f in (compiled, layer)]
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(torch.func.vmap(lambda row: compiled(row)[0])(x), wanted[0])
    for _ in range(3):
        torch.testing.assert_close(compiled(x), wanted)


@pytest.mark.parametrize("embedding_size", [0, 4])
def test_a_language_model_reads_symbols_in_one_graph(embedding_size):
    vocabulary = ur.Vocabulary("hello")
    model = ur.LanguageModel(vocabulary, "gru", 6, embedding_size=embedding_size).eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randint(len(vocabulary), (3, 5))
    with torch.no_grad():
        wanted, state = model(x)
    torch.testing.assert_close(compiled(x)[0], wanted)
    torch.testing.assert_close(compiled(x, state)[0], model(x, state)[0])
    with pytest.raises((ur.errors.Error, IndexError), match=r"indices run from|out of range"):
        compiled(x + len(vocabulary))  # checked when the graph runs


@pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="inductor wants a C++ compiler")
def test_inductor():
    model = Tagger(LAYERS["LSTM"]())
    agree(torch.compile(model, fullgraph=True), model, torch.randint(7, (3, 5)))


def test_export_to_a_file_that_another_process_runs(tmp_path):
    model = Tagger(LAYERS["LSTM"]()).eval()
    example = torch.randint(7, (3, 6)), torch.tensor([6, 0, 3])
    batch, time = torch.export.Dim("batch", max=100), torch.export.Dim("time", max=100)
    program = torch.export.export(
        model,
        example,
        dynamic_shapes={"indices": {0: batch, 1: time}, "lengths": {0: batch}},
    )
    torch.export.save(program, tmp_path / "model.pt2")
    given = torch.randint(7, (5, 9)), torch.tensor([9, 1, 2, 0, 4])
    torch.save((given, model(*given)), tmp_path / "wanted.pt")
    program = (
        "import torch, unrolled\n"
        "given, wanted = torch.load('wanted.pt')\n"
        "torch.testing.assert_close(torch.export.load('model.pt2').module()(*given), wanted)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, cwd=tmp_path)


@pytest.mark.parametrize("name", ["LSTM", "home_made"])
def test_opcheck(name):
    layer = LAYERS[name]().double()
    stack = layer.stack
    slots = stack.num_layers * stack.directions
    state = [
        torch.randn(slots, 3, stack.state_size(i), dtype=torch.float64, requires_grad=True)
        for i in range(stack.cell.states)
    ]
    x = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    lengths, reset = torch.tensor([5, 0, 3]), torch.rand(3, 5) > 0.7
    call = (x, list(layer.parameters()), state, lengths, reset, None, stack.name)
    opcheck(torch.ops.unrolled.scan.default, call)
    opcheck(torch.ops.unrolled.scan.default, (*call[:3], None, None, torch.tensor([7]), stack.name))


def test_a_graph_of_an_unknown_cell_says_so():
    with pytest.raises(ur.Error, match=r"no layer 'lost 4 3 .*make a layer with its cell"):
        torch.ops.unrolled.scan(
            torch.zeros(1, 1, 4), [], [], None, None, None, "lost 4 3 1 True 0.0 False 0"
        )
