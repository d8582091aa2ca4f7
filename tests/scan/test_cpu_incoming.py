"""The output's gradient, however it comes: what was learnt of one must not be taken for true of another."""

import random

import pytest
import torch

import unrolled as ur
from unrolled.scan.cpu.course import Course

FORMS = {
    "dense": torch.clone,
    "dense again": torch.clone,
    "written since": lambda g: g.clone().requires_grad_(),
    "time and batch turned": lambda g: g.transpose(0, 1).contiguous().transpose(0, 1),
    "within a larger one": lambda g: torch.nn.functional.pad(g, (1, 2, 1, 0, 0, 1))[:-1, 1:, 1:-2],
    "units apart": lambda g: torch.stack([g, g], -1)[..., 0],
    "one for all": lambda g: g[:1, :1, :1].expand_as(g),
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
    looked, whole = [], Course.gradient
    monkeypatch.setattr(Course, "gradient", lambda *given: looked.append(1) or whole(*given))
    layer, x = ur.RNN(7, 9), torch.randn(4, 3, 7)
    for _ in range(4):
        gradients(layer, x, torch.randn(4, 3, 9))
    assert len(looked) == 1
    gradients(layer, x, torch.randn(3, 4, 9).transpose(0, 1))
    assert len(looked) == 2
