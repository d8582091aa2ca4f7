"""What PyTorch checks of its modules, on PyTorch's own samples, by ours in their place."""

import copy
import io
import pickle

import pytest
import torch
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map

import unrolled as ur

LAYERS = ["RNN", "GRU", "LSTM"]
NAMES = [*LAYERS, "RNNCell", "GRUCell", "LSTMCell"]
DTYPE = torch.float64
each = pytest.mark.parametrize("name", NAMES)
pytestmark = [
    pytest.mark.usefixtures("ours_ran"),
    pytest.mark.filterwarnings("ignore::unrolled.EngineWarning"),
]


def samples(generators, name, training=True, requires_grad=True, **options):
    """PyTorch's samples: (theirs, ours, arguments), the two with the same weights."""
    info = generators[name]
    drawn = info.module_inputs_func(
        info, device="cpu", dtype=DTYPE, requires_grad=requires_grad, training=training, **options
    )
    assert drawn
    for sample in drawn:
        arguments, keywords = sample.constructor_input.args, sample.constructor_input.kwargs
        modules = []
        for namespace in (torch.nn, ur):
            torch.manual_seed(0)
            module = getattr(namespace, name)(*arguments, **keywords, dtype=DTYPE)
            modules.append(module.train(training))
        assert not sample.forward_input.kwargs
        yield *modules, sample.forward_input.args, sample


def leaves(results):
    """Every tensor in a result; of a PackedSequence its data."""
    flat = tree_leaves(results, is_leaf=lambda r: isinstance(r, PackedSequence))
    return [r.data if isinstance(r, PackedSequence) else r for r in flat]


def gradients(results, inputs, **options):
    return torch.autograd.grad([r.sum() for r in leaves(results)], inputs, **options)


def differentiable(arguments):
    return [t for t in leaves(arguments) if t.requires_grad]


@each
@pytest.mark.parametrize("training", [True, False])
def test_forward_and_gradients(generators, name, training):
    packed = {"with_packed_sequence": True} if name in ("RNN", "GRU") else {}
    for theirs, ours, arguments, sample in samples(generators, name, training, **packed):
        wanted, got = theirs(*arguments), ours(*arguments)
        torch.testing.assert_close(leaves(got), leaves(wanted))
        inputs = differentiable(arguments)
        torch.testing.assert_close(
            gradients(got, [*inputs, *ours.parameters()]),
            gradients(wanted, [*inputs, *theirs.parameters()]),
        )
        packed = isinstance(arguments[0], PackedSequence)
        if sample.reference_fn is not None and not packed:
            wanted = sample.reference_fn(ours, *arguments)
            torch.testing.assert_close(leaves(got), leaves(wanted))


@each
def test_gradcheck_and_gradgradcheck(generators, name):
    chosen = list(samples(generators, name))
    for _, ours, arguments, _ in [chosen[0], chosen[-1]]:
        inputs = differentiable(arguments)

        def forward(*tensors, ours=ours, arguments=arguments):
            values = iter(tensors)
            given = tree_map(lambda t: next(values), arguments)
            parameters = dict(zip((n for n, _ in ours.named_parameters()), values, strict=True))
            return tuple(leaves(torch.func.functional_call(ours, parameters, given)))

        every = [*inputs, *ours.parameters()]
        assert torch.autograd.gradcheck(forward, every, fast_mode=True)
        assert torch.autograd.gradgradcheck(forward, every, fast_mode=True)


@each
def test_errors(generators, name, ours_ran):
    info = generators[name]
    checked = 0
    for dtype in (torch.float32, torch.float64):
        wrong = info.module_error_inputs_func(
            info, device="cpu", dtype=dtype, requires_grad=False, training=True
        )
        for case in wrong:
            construct = case.module_error_input.constructor_input
            forward = case.module_error_input.forward_input

            def construct_and_call(construct=construct, forward=forward):
                module = getattr(ur, name)(*construct.args, **construct.kwargs)
                module(*forward.args, **forward.kwargs)

            with pytest.raises(case.error_type, match=case.error_regex):
                construct_and_call()
            checked += 1
    assert checked >= 8
    ours_ran.append("refused before any scan")


@each
def test_repr_and_state_dict(generators, name):
    for theirs, ours, arguments, _ in samples(generators, name):
        assert repr(ours) == repr(theirs)
        state, wanted = ours.state_dict(), theirs.state_dict()
        assert list(state) == list(wanted)
        for entry, value in wanted.items():
            assert torch.equal(state[entry], value)
        for parameter in theirs.parameters():
            torch.nn.init.normal_(parameter)
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(leaves(ours(*arguments)), leaves(theirs(*arguments)))
        file = io.BytesIO()
        torch.save(ours.state_dict(), file)
        file.seek(0)
        theirs.load_state_dict(torch.load(file))


@each
def test_pickle_deepcopy_and_share_memory(generators, name):
    for _, ours, arguments, _ in samples(generators, name, requires_grad=False):
        wanted = leaves(ours(*arguments))
        for other in (
            pickle.loads(pickle.dumps(ours)),
            copy.deepcopy(ours),
            copy.copy(ours),
            copy.deepcopy(ours).share_memory(),
        ):
            assert type(other) is type(ours)
            torch.testing.assert_close(leaves(other(*arguments)), wanted, rtol=0, atol=0)


@each
def test_factory_arguments_and_to(generators, name):
    for _, ours, arguments, sample in samples(generators, name, requires_grad=False):
        construct = sample.constructor_input
        meta = getattr(ur, name)(*construct.args, **construct.kwargs, device="meta", dtype=torch.float32)
        assert {(p.device.type, p.dtype) for p in meta.parameters()} == {("meta", torch.float32)}
        filled = meta.to_empty(device="cpu").to(DTYPE)
        filled.load_state_dict(ours.state_dict())
        torch.testing.assert_close(leaves(filled(*arguments)), leaves(ours(*arguments)))
        single = copy.deepcopy(ours).to(torch.float32)
        results = single(*tree_map(lambda t: t.float(), arguments))
        assert {r.dtype for r in leaves(results)} == {torch.float32}
        torch.testing.assert_close(
            [r.double() for r in leaves(results)], leaves(ours(*arguments)), rtol=1e-4, atol=1e-5
        )
        double = single.double()
        torch.testing.assert_close(
            leaves(double(*arguments)), leaves(ours(*arguments)), rtol=1e-4, atol=1e-5
        )


@each
def test_non_contiguous_tensors(generators, name):
    def spread(t):
        return torch.stack([t.detach(), t.detach()], dim=-1)[..., 0].requires_grad_(t.requires_grad)

    for _, ours, arguments, _ in samples(generators, name):
        given = tree_map(spread, arguments)
        got, wanted = ours(*given), ours(*arguments)
        torch.testing.assert_close(leaves(got), leaves(wanted))
        torch.testing.assert_close(
            gradients(got, differentiable(given)), gradients(wanted, differentiable(arguments))
        )


PARAMETRISATIONS = {
    "weight_norm": lambda m, n: parametrizations.weight_norm(m, n),
    "spectral_norm": lambda m, n: parametrizations.spectral_norm(m, n),
    "orthogonal": lambda m, n: parametrizations.orthogonal(m, n),
    "prune": lambda m, n: prune.random_unstructured(m, n, amount=0.5),
}


@each
@pytest.mark.parametrize("kind", PARAMETRISATIONS)
def test_parametrisations(generators, name, kind):
    for theirs, ours, arguments, _ in list(samples(generators, name, training=False))[:4]:
        weight = "weight_hh_l0" if name in LAYERS else "weight_hh"
        for module in (theirs, ours):
            torch.manual_seed(1)
            PARAMETRISATIONS[kind](module, weight)
        assert isinstance(ours, getattr(ur, name))
        wanted, got = theirs(*arguments), ours(*arguments)
        torch.testing.assert_close(leaves(got), leaves(wanted))
        torch.testing.assert_close(
            gradients(got, list(ours.parameters())), gradients(wanted, list(theirs.parameters()))
        )
        # A step of the optimiser must be seen: the weight is computed anew.
        for module in (theirs, ours):
            torch.optim.SGD(module.parameters(), 0.1).zero_grad()
            sum(r.sum() for r in leaves(module(*arguments))).backward()
            torch.optim.SGD(module.parameters(), 0.1).step()
        torch.testing.assert_close(leaves(ours(*arguments)), leaves(theirs(*arguments)))


@each
def test_hooks(generators, name):
    _, ours, arguments, _ = next(iter(samples(generators, name)))
    seen = []
    ours.register_forward_pre_hook(lambda m, a: seen.append("before"))
    ours.register_forward_hook(lambda m, a, r: seen.append("after"))
    ours.register_full_backward_hook(lambda m, i, o: seen.append("backward"))
    results = leaves(ours(*arguments))
    sum(r.sum() for r in results).backward()
    assert seen == ["before", "after", "backward"]
    ours.register_forward_hook(lambda m, a, r: tree_map(lambda t: t * 2, r))
    torch.testing.assert_close(leaves(ours(*arguments)), [2 * r for r in results])


@each
def test_data_parallel_replicas(generators, name):
    """A replica as torch.nn.parallel makes them: its weights are plain attributes, not parameters."""
    for _, ours, arguments, _ in list(samples(generators, name))[:4]:
        replica = ours._replicate_for_data_parallel()
        for key, parameter in ours.named_parameters():
            setattr(replica, key, parameter.clone())
        assert not list(replica.parameters())
        got, wanted = replica(*arguments), ours(*arguments)
        torch.testing.assert_close(leaves(got), leaves(wanted))
        parameters = list(ours.parameters())
        torch.testing.assert_close(gradients(got, parameters), gradients(wanted, parameters))
