"""The output's gradient, however it comes: what was learnt of one must not be taken for true of another."""

import random

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled as ur
from unrolled.scan.cpu.incoming import Incoming

FORMS = {
    "dense": torch.clone,
    "dense again": torch.clone,
    "written since": lambda g: g.clone().requires_grad_(),
    "time and batch turned": lambda g: g.transpose(0, 1).contiguous().transpose(0, 1),
    "within a larger one": lambda g: torch.nn.functional.pad(g, (1, 2, 1, 0, 0, 1))[:-1, 1:, 1:-2],
    "units apart": lambda g: torch.stack([g, g], -1)[..., 0],
    "one for all": lambda g: g[:1, :1, :1].expand_as(g),
    "another for all": lambda g: g[1:2, 1:2, 1:2].expand_as(g),
    "one for all, written since": lambda g: g[:1, :1, :1].clone().requires_grad_().expand_as(g),
    "one for all, yet to be negated": lambda g: torch._neg_view(g[:1, :1, :1].neg()).expand_as(g),
    "one for all units": lambda g: g[:, :, :1].expand_as(g),
    "one for all sequences": lambda g: g[:1, :1].expand_as(g),
    "yet to be negated": lambda g: torch._neg_view(g.neg()),
    "zeros without memory": lambda g: torch._efficientzerotensor(g.shape),
}


def dense(form):
    """The same numbers in memory of their own."""
    return torch.zeros(form.shape) if form._is_zerotensor() else form.detach().resolve_neg().clone()


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("name", ["RNN", "LSTM"])
def test_every_form_after_every_other(name, options):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(5, 6, **options).double()
    ours = getattr(ur, name)(5, 6, **options)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 3, 5)
    given = {form: make(torch.randn_like(ours(x)[0]).detach()) for form, make in FORMS.items()}
    order = [*given, *reversed(given), *random.Random(0).sample([*given] * 4, 4 * len(given))]
    for before, form in zip([None, *order], order, strict=False):
        wanted = gradients(theirs, x.double(), dense(given[form]).double())
        for got, want in zip(gradients(ours, x, given[form]), wanted, strict=True):
            torch.testing.assert_close(
                got, want.float(), rtol=1e-4, atol=1e-5, msg=f"{form} after {before}"
            )


def gradients(layer, x, dout):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], dout)


def test_many_at_once_after_one():
    layer, x = ur.GRU(5, 6), torch.randn(4, 3, 5, requires_grad=True)
    some = torch.randn(3, 4, 3, 6)
    alone = [torch.autograd.grad(layer(x)[0], x, g)[0] for g in some]
    together = torch.autograd.grad(layer(x)[0], x, some, is_grads_batched=True)[0]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)


def test_what_is_as_ever_is_not_looked_at_again(monkeypatch):
    looked, whole = [], Incoming.look
    monkeypatch.setattr(Incoming, "look", lambda *given: looked.append(1) or whole(*given))
    layer, x = ur.RNN(7, 9), torch.randn(4, 3, 7)
    for _ in range(4):
        gradients(layer, x, torch.randn(4, 3, 9))
    assert len(looked) == 1
    gradients(layer, x, torch.randn(3, 4, 9).transpose(0, 1))
    assert len(looked) == 2


def losses():
    """What gives the output's gradient as one number, or gives none."""
    yield "sum", lambda output, _: output.sum()
    yield "sum again", lambda output, _: 3 * output.sum()
    yield "last state", lambda _, state: (state[0] if isinstance(state, tuple) else state).pow(2).sum()
    yield (
        "both",
        lambda output, state: output.sum() + (state[0] if isinstance(state, tuple) else state).sum(),
    )


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("name", ["RNN", "LSTM"])
@pytest.mark.parametrize("how", ["whole", "packed", "ever other lengths"])
def test_one_number_everywhere_and_none(how, name, options):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(5, 19, **options).double()
    ours = getattr(ur, name)(5, 19, **options)
    ours.load_state_dict(theirs.state_dict())
    for turn in range(3):
        sizes = (4 + turn, 3, 5) if how == "ever other lengths" else (4, 3, 5)
        x = torch.randn(sizes).transpose(0, 1) if options.get("batch_first") else torch.randn(sizes)
        for loss_name, loss in losses():
            found = []
            for layer in (ours, theirs):
                leaf = x.to(layer.weight_ih_l0.dtype).requires_grad_()
                packed = how == "packed"
                given = (
                    pack_padded_sequence(leaf, [4, 2, 1], options.get("batch_first", False))
                    if packed
                    else leaf
                )
                output, state = layer(given)
                output = output.data if packed else output
                found.append(torch.autograd.grad(loss(output, state), [leaf, *layer.parameters()]))
            for got, want in zip(*found, strict=True):
                torch.testing.assert_close(
                    got, want.float(), rtol=1e-4, atol=1e-5, msg=f"{loss_name} {turn}"
                )


def test_the_next_sum_is_not_looked_at_again(monkeypatch):
    layer, x = ur.RNN(7, 9), torch.randn(4, 3, 7)
    torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))
    monkeypatch.setattr(Incoming, "look", None)
    first = torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))
    second = torch.autograd.grad(2 * layer(x)[0].sum(), list(layer.parameters()))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(2 * a, b)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}], ids=str)
def test_a_sum_in_bfloat16(options):
    ours, theirs = ur.LSTM(5, 6, **options), torch.nn.LSTM(5, 6, **options)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 3, 5)
    for _ in range(2):
        found = []
        for layer in (ours, theirs):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                output = layer(x)[0]
            assert output.dtype is torch.bfloat16
            found.append(torch.autograd.grad(output.sum(), list(layer.parameters())))
        for got, wanted in zip(*found, strict=True):
            torch.testing.assert_close(got, wanted, rtol=0.05, atol=0.05)


def test_one_number_in_all_that_is_yet_to_be_negated():
    layer, x = ur.RNN(1, 1), torch.randn(1, 1, 1)
    weight = layer.weight_ih_l0
    (wanted,) = torch.autograd.grad(layer(x)[0], weight, torch.full((1, 1, 1), 2.0))
    given = torch._neg_view(torch.full((), -2.0)).expand(1, 1, 1)
    for _ in range(2):
        torch.testing.assert_close(torch.autograd.grad(layer(x)[0], weight, given)[0], wanted)
