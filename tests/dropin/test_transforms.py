"""torch.func, forward and double differentiation, autocast and the floating-point types."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

import unrolled as ur

pytestmark = pytest.mark.filterwarnings(
    "ignore::unrolled.EngineWarning",
    "ignore:`torch.jit.script` is deprecated:DeprecationWarning",  # how torch derives forward rules
)
LAYERS = {
    "RNN": lambda: ur.RNN(3, 4, batch_first=True),
    "GRU": lambda: ur.GRU(3, 4, batch_first=True, bidirectional=True),
    "LSTM": lambda: ur.LSTM(3, 4, 2, batch_first=True),
    "sru": lambda: ur.Recurrent(ur.cells.sru, 3, 4, batch_first=True),
}
each = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def pure(layer):
    """(function of the parameters and an input to a number, parameters)."""
    parameters = {n: p.detach() for n, p in layer.named_parameters()}

    def loss(parameters, x, **keywords):
        results = torch.func.functional_call(layer, parameters, (x,), keywords)
        return sum(r.square().sum() for r in tree_leaves(results))

    return loss, parameters


@each
def test_per_sample_gradients(name):
    layer = LAYERS[name]()
    loss, parameters = pure(layer)
    x = torch.randn(5, 6, 3)
    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for row in range(5):
        layer.zero_grad()
        loss(dict(layer.named_parameters()), x[row]).backward()
        for key, parameter in layer.named_parameters():
            torch.testing.assert_close(per_sample[key][row], parameter.grad, rtol=1e-4, atol=1e-5)


@each
def test_vmap_over_ensembles_and_lengths(name):
    layers = [LAYERS[name]() for _ in range(3)]
    stacked, _ = torch.func.stack_module_state(layers)
    x, lengths = torch.randn(2, 5, 3), torch.tensor([[5, 2], [0, 1], [3, 4]])

    def run(parameters, lengths):
        return torch.func.functional_call(layers[0], parameters, (x,), {"lengths": lengths})[0]

    together = torch.func.vmap(run)(stacked, lengths)
    for one, n, output in zip(layers, lengths, together, strict=True):
        torch.testing.assert_close(output, one(x, lengths=n)[0])


@each
def test_forward_mode_agrees_with_backward(name):
    loss, parameters = pure(LAYERS[name]().double())
    x, direction = torch.randn(2, 2, 5, 3, dtype=torch.float64)
    wanted = (torch.func.grad(loss, argnums=1)(parameters, x) * direction).sum()
    _, got = torch.func.jvp(lambda x: loss(parameters, x), (x,), (direction,))
    torch.testing.assert_close(got, wanted)
    with forward_ad.dual_level():
        dual = loss(parameters, forward_ad.make_dual(x, direction))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, wanted)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_double_backward(name, dtype):
    loss, parameters = pure(LAYERS[name]().to(dtype))
    x = torch.randn(2, 4, 3, dtype=dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(parameters, x), x, create_graph=True)
    (got,) = torch.autograd.grad(gradient.square().sum(), x)
    with ur.engine("reference"):
        hessian = torch.func.hessian(loss, argnums=1)(parameters, x.detach()).reshape(24, 24)
    wanted = 2 * hessian @ gradient.detach().reshape(24)
    torch.testing.assert_close(got.reshape(24), wanted, rtol=1e-3, atol=1e-4)


def test_it_says_which_engine_it_moved_to():
    layer = ur.LSTM(3, 4)
    seen = []

    def run(x):
        seen.append(str(ur.explain(layer, x)))
        return layer(x)[0]

    torch.func.vmap(run)(torch.randn(2, 5, 3))
    assert seen[0].startswith("engine reference; not ")
    assert "no rule for vmap" in seen[0]


@each
def test_autocast_is_the_float32_result_rounded(name):
    layer = LAYERS[name]()
    x = torch.randn(3, 5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        lower = layer(x)
        sum(r.float().sum() for r in tree_leaves(lower)).backward()
        mixed = layer(x.bfloat16())
    whole = layer(x)
    # torch.nn's GRU adds to its state in that one's dtype, and so does ours.
    dtype = torch.float32 if isinstance(layer, ur.GRU) else torch.bfloat16
    for got, wanted in zip(tree_leaves(lower), tree_leaves(whole), strict=True):
        assert got.dtype == dtype
        assert torch.equal(got, wanted.to(dtype))
    assert {r.dtype for r in tree_leaves(mixed)} == {torch.bfloat16}
    assert all(p.grad.dtype == torch.float32 and p.grad.any() for p in layer.parameters())


NAMES = ["RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"]
LOW = torch.bfloat16


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("given", [(torch.float32, None), (LOW, None), (LOW, torch.float32), (LOW, LOW)])
def test_autocasts_dtypes_are_torchs(name, graded, given):
    theirs, ours = (getattr(package, name)(4, 6) for package in (torch.nn, ur))
    ours.load_state_dict(theirs.state_dict())
    dtype, state = given
    x = torch.randn(*([] if "Cell" in name else [5]), 3, 4).to(dtype)
    hx = None
    if state is not None:
        hx = torch.randn(*([] if "Cell" in name else [1]), 3, 6).to(state)
        hx = (hx, hx) if "LSTM" in name else hx
    with torch.autocast("cpu", LOW), torch.set_grad_enabled(graded):
        wanted = tree_leaves(theirs(x, hx))
        for _ in range(3):
            got = tree_leaves(ours(x, hx))
            assert [t.dtype for t in got] == [t.dtype for t in wanted]
            for a, b in zip(got, wanted, strict=True):
                torch.testing.assert_close(a, b, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"proj_size": 5, "num_layers": 2}])
def test_autocasts_gradients_are_those_of_the_rounded_output(options):
    layer = ur.LSTM(6, 17, **options)
    x = torch.randn(9, 4, 6, requires_grad=True)
    lengths = torch.tensor([9, 0, 5, 7])
    leaves = [x, *layer.parameters()]

    def gradients(low):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            output, states = layer(x, lengths=lengths)
        results = [t.bfloat16() for t in (output, *states)]
        weights = [torch.sin(torch.arange(r.numel()).view(r.shape)).bfloat16() for r in results]
        return results + list(torch.autograd.grad(results, leaves, weights))

    for got, wanted in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_first", [False, True])
def test_autocast_without_autograd_is_the_same_rounding(batch_first):
    """So large an output is rounded piece by piece."""
    layer = ur.LSTM(8, 64, batch_first=batch_first, bidirectional=True)
    x = torch.randn(33, 31, 8)
    with torch.no_grad():
        wanted = layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            got = layer(x)
            small = layer(x[:1])
    assert got[0].stride() == wanted[0].stride()
    for g, w in zip(tree_leaves(got), tree_leaves(wanted), strict=True):
        assert g.dtype == torch.bfloat16
        assert torch.equal(g, w.bfloat16())
    assert torch.equal(small[0], layer(x[:1])[0].bfloat16())


@each
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(name, dtype):
    layer = LAYERS[name]()
    x = torch.randn(3, 5, 3)
    wanted = tree_leaves(layer(x, lengths=[5, 0, 3]))
    other = layer.to(dtype)
    got = tree_leaves(other(x.to(dtype), lengths=[5, 0, 3]))
    sum(r.float().sum() for r in got).backward()
    assert {r.dtype for r in got} == {dtype} == {p.grad.dtype for p in other.parameters()}
    tolerance = {torch.float64: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}[dtype]
    torch.testing.assert_close([r.float() for r in got], wanted, rtol=tolerance, atol=tolerance)
