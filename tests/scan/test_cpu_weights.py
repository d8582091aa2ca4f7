"""Weights laid out by an earlier call are never used for parameters that hold something else."""

import gc
import weakref

import numpy as np
import pytest
import torch
from cpu_cases import halve, layer

import unrolled as ur
from unrolled.scan import scan
from unrolled.scan.cpu import elastic, pack, prepared
from unrolled.scan.cpu.digest import Digest


def written(parameter, how):
    if how == "in place":
        with torch.no_grad():
            parameter.mul_(1.5)
    elif how == "data":
        parameter.data.mul_(1.5)
    elif how == "an element of data":
        parameter.data.view(-1)[-1] = 3.0
    elif how == "data set":
        parameter.data = parameter.data * 1.5
    elif how == "numpy":
        np.asarray(parameter.detach().numpy())[...] *= 1.5
    elif how == "detached":
        parameter.detach().view(-1)[0] += 1
    elif how == "the sign":
        parameter.data.neg_()
    elif how == "rows swapped":
        parameter.data.copy_(parameter.data.flip(0))
    elif how == "transposed":
        parameter.data = parameter.data.t() if parameter.dim() == 2 else parameter.data.flip(0)


WAYS = ["in place", "data", "an element of data", "data set", "numpy", "detached", "the sign"]
WAYS += ["rows swapped", "transposed"]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("training", [False, True])
def test_writes_are_seen_however_they_are_made(how, training):
    recurrent = layer("peephole_lstm", 12, 12)
    if how == "transposed":
        recurrent = layer("rnn_tanh", 12, 12)
    x = torch.randn(3, 4, 12)
    with torch.set_grad_enabled(training), ur.engine("cpu"):
        for name, parameter in recurrent.named_parameters():
            before, _ = recurrent(x)
            assert torch.equal(recurrent(x)[0], before)
            written(parameter, how)
            got, _ = recurrent(x)
            assert not torch.equal(got, before), name
            with ur.engine("reference"):
                wanted, _ = recurrent(x)
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5, msg=name)


def test_a_fused_optimisers_step_is_seen():
    # Versions do not tell of it.
    recurrent = layer("lstm", 5, 6)
    x, optimizer = torch.randn(3, 4, 5), torch.optim.AdamW(recurrent.parameters(), 0.05, fused=True)
    for _ in range(3):
        with ur.engine("cpu"):
            got, _ = recurrent(x)
        with ur.engine("reference"):
            torch.testing.assert_close(got, recurrent(x)[0], rtol=1e-4, atol=1e-5)
        optimizer.zero_grad()
        got.square().sum().backward()
        optimizer.step()


def test_another_process_writes_into_shared_memory():
    recurrent = layer("gru", 4, 6).requires_grad_(False).share_memory()
    x = torch.randn(2, 3, 4)
    with ur.engine("cpu"):
        before, _ = recurrent(x)
        context = torch.multiprocessing.get_context("spawn")
        child = context.Process(target=halve, args=(recurrent.weight_hh_l0,))
        child.start()
        child.join()
        assert child.exitcode == 0
        got, _ = recurrent(x)
    assert not torch.equal(got, before)
    with ur.engine("reference"):
        torch.testing.assert_close(got, recurrent(x)[0])


def test_another_tensor_at_the_same_address():
    buffer = torch.randn(2, 500)
    x = torch.randn(2, 3, 4)
    recurrent = layer("gru", 4, 6).requires_grad_(False)
    for round in range(4):
        at = 0
        for name, parameter in list(recurrent.named_parameters()):
            own = buffer[0, at : at + parameter.numel()].view(parameter.shape)
            at += parameter.numel()
            setattr(recurrent, name, torch.nn.Parameter(own, requires_grad=False))
        buffer[0].copy_(torch.randn(500) * (round + 1) / 4)
        gc.collect()
        with ur.engine("cpu"):
            got, _ = recurrent(x)
        with ur.engine("reference"):
            torch.testing.assert_close(got, recurrent(x)[0], rtol=1e-4, atol=1e-5)


def test_what_was_kept_goes_with_its_parameters():
    gc.collect()
    before = len(pack._kept)
    recurrent = layer("gru", 3, 5).requires_grad_(False)
    with ur.engine("cpu"):
        recurrent(torch.randn(1, 2, 3))
    assert len(pack._kept) == before + 1
    del recurrent
    gc.collect()
    assert len(pack._kept) <= before


def test_inference_tensors():
    with torch.inference_mode(), ur.engine("cpu"):
        recurrent = layer("lstm", 3, 5)
        x = torch.randn(1, 2, 3)
        before, _ = recurrent(x)
        recurrent.weight_ih_l0.mul_(2)
        got, _ = recurrent(x)
        assert not torch.equal(got, before)
        with ur.engine("reference"):
            torch.testing.assert_close(got, recurrent(x)[0])


@pytest.mark.parametrize("count", [1, 7, 8, 9, 63, 64, 65, 1000, (1 << 15) + 5])
def test_a_digest_sees_any_one_element(count):
    values = torch.randn(count)
    ones = torch.ones(3)
    digest = Digest([ones, values])
    assert digest.holds()
    numbers = values.numpy().view(np.int32)
    for index in {0, 1 % count, count // 2, count - 1}:
        for bit in (0, 15, 31):
            digest = Digest([values])
            numbers[index] ^= np.int32(np.uint32(1 << bit).view(np.int32))
            assert not digest.holds(), (index, bit)


def test_a_digest_sees_negation_and_any_order():
    values = torch.randn(4096)
    for change in (values.neg(), values.flip(0), values.roll(256), values.roll(1)):
        digest = Digest([values])
        before = values.clone()
        values.copy_(change)
        assert not digest.holds()
        values.copy_(before)


@pytest.mark.parametrize("grad", [True, False])
def test_weights_that_are_new_in_each_step_leave_nothing_behind(grad):
    """As those of DropConnect, of a parametrisation, or of an embedding made one with them; the biases are
    the same all along."""
    torch.manual_seed(0)
    layer, x = ur.GRU(3, 5), torch.randn(4, 2, 3)
    parameters, held = list(layer.parameters()), []
    for _ in range(6):
        new = [p * 0.5 if p.dim() == 2 else p for p in parameters]
        with torch.set_grad_enabled(grad), ur.engine("cpu"):
            output, _ = scan(layer.stack, x, new)
            if grad:
                output.sum().backward()
        del new, output
        gc.collect()
        held.append((len(pack._kept), len(weakref.finalize._registry)))
    assert held[-1] == held[1]


@pytest.mark.parametrize("versions", [False, True])
def test_weights_that_change_in_every_step_are_hardly_ever_digested(versions, monkeypatch):
    made, packings = [], []
    run = pack.Packing.run
    monkeypatch.setattr(pack, "Digest", lambda *given: made.append(1) or Digest(*given))
    monkeypatch.setattr(pack.Packing, "run", lambda *given: packings.append(1) or run(*given))
    theirs = torch.nn.GRU(5, 7)
    ours, x = ur.GRU(5, 7), torch.randn(4, 3, 5)
    ours.load_state_dict(theirs.state_dict())

    def step(much):
        outputs = [module(x)[0] for module in (ours, theirs)]
        torch.testing.assert_close(*outputs)
        outputs[0].sum().backward()
        with torch.no_grad():
            for p in (*ours.parameters(), *theirs.parameters()):
                # What is done to a tensor's data its version does not count, as fused optimisers' steps.
                (p if versions else p.data).mul_(much)

    for _ in range(60):
        step(0.99)
    assert len(packings) >= 60
    assert len(made) <= (0 if versions else 60 // 6)
    for _ in range(40):
        step(1.0) if not versions else ours(x)
    done = len(packings)
    for _ in range(20):
        step(1.0) if not versions else ours(x)
    assert len(packings) == done


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("moved", [False, True])
@torch.no_grad()
def test_other_weights_in_every_call_are_not_laid_out_anew(moved, threads, set_threads, monkeypatch):
    made = []
    for one in (prepared.Prepared, elastic.Elastic):
        init = one.__init__
        monkeypatch.setattr(one, "__init__", lambda *given, init=init: made.append(1) or init(*given))
    set_threads(threads)
    for name, options in (("gru", {"num_layers": 2}), ("lstm", {"bidirectional": True, "proj_size": 4})):
        module, done = layer(name, 5, 23, **options), 0
        for call in range(40):
            # Of one length, and of many; two of each, for one finds what the other has laid out.
            for x in [torch.randn(3, 9, 5)] * 2 + [torch.randn(3, 12 + call % 5, 5)] * 2:
                got = module(x)
                with ur.engine("reference"):
                    wanted = module(x)
                torch.testing.assert_close(got[0], wanted[0], rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(got[1], wanted[1], rtol=1e-5, atol=1e-5)
            for p in module.parameters():
                if moved:
                    p.data = p * 0.97
                else:
                    p.mul_(0.97)
            if call == 24:
                done = len(made)
        assert len(made) == done
