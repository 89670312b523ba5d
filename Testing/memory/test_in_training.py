"""A managed network inside a training loop: accumulation, clipping, averaging, autocast, errors."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from memory.networks import error, gradient_vector, managed, run, slabs, small_unet, volume
from torch import Tensor

from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.plan import Choices, Storage, UnitChoice

SCHEMES = {
    "kept": Choices(),
    "recomputed": Choices(
        units={"down.0.first": UnitChoice(Storage.NEVER, 2), "up.1.convs.first": UnitChoice(Storage.RECOMPUTED, 2)}
    ),
    "streamed": Choices(slab_rows=8),
    "slabs": slabs(small_unet(), 6, Storage.NEVER, channels_last=True),
}


@pytest.fixture(params=list(SCHEMES))
def choices(request) -> Choices:
    return SCHEMES[request.param]


def test_accumulation_and_clipping(choices):
    network, x = small_unet(), volume(2)

    def accumulate(call) -> Tensor:
        network.zero_grad()
        for sample in x.split(1):
            call(sample).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        return gradient_vector(network)

    expected = accumulate(network)
    assert float(expected.norm()) == pytest.approx(0.1, rel=1e-4)
    assert error(accumulate(managed(network, choices)), expected) < 1e-11


def test_training_steps_end_with_the_same_weights(choices):
    """Adam and averaged weights, three steps."""

    def train(wrap) -> tuple[Tensor, Tensor]:
        network = small_unet()
        averaged = torch.optim.swa_utils.AveragedModel(network, avg_fn=lambda old, new, _: 0.5 * old + 0.5 * new)
        optimiser = torch.optim.Adam(network.parameters(), 1e-3)
        call = wrap(network)
        for step in range(3):
            optimiser.zero_grad()
            call(volume() * (step + 1)).square().mean().backward()
            optimiser.step()
            averaged.update_parameters(network)
        flat = [torch.cat([p.detach().flatten() for p in module.parameters()]) for module in (network, averaged)]
        return flat[0], flat[1]

    plain, managed_ones = train(lambda n: n), train(lambda n: managed(n, choices))
    assert error(managed_ones[0], plain[0]) < 1e-9
    assert error(managed_ones[1], plain[1]) < 1e-9


@pytest.mark.parametrize("scheme", ["recomputed", "slabs"])
def test_autocast(scheme):
    """As near to float32 as autocast itself: both round at the same places, but not always in the same direction."""
    network, x = small_unet(torch.float32), volume(dtype=torch.float32)
    _, exact = run(network, network, x)
    with torch.autocast("cpu", torch.bfloat16):
        output, stock = run(network, network, x)
        found, ours = run(network, managed(network, SCHEMES[scheme]), x)
    assert found.dtype == output.dtype == torch.bfloat16
    assert error(ours, exact) < 1.5 * error(stock, exact)
    assert error(found.float(), output.float()) < 0.1


def test_frozen_parameters_get_no_gradient(choices):
    network = small_unet()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("first" not in name)
    _, expected = run(network, network, volume())
    _, found = run(network, managed(network, choices), volume())
    assert error(found, expected) < 1e-12
    assert all(p.grad is None for n, p in network.named_parameters() if "first" in n)


def test_gradient_that_is_not_contiguous(choices):
    network = small_unet()

    def transposed(call):
        return lambda x: call(x).transpose(2, 4)

    _, expected = run(network, transposed(network), volume())
    _, found = run(network, transposed(managed(network, choices)), volume())
    assert error(found, expected) < 1e-12


def test_output_changed_in_place_by_its_reader(choices):
    network = small_unet()
    _, expected = run(network, lambda x: network(x).mul_(2.0), volume())
    _, found = run(network, lambda x: managed(network, choices)(x).mul_(2.0), volume())
    assert error(found, expected) < 1e-12


def test_second_backward_is_refused(choices):
    network = small_unet()
    loss = managed(network, choices)(volume()).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once only"):
        loss.backward()


def test_weights_changed_before_the_backward_pass_are_noticed(choices):
    network = small_unet()
    loss = managed(network, choices)(volume()).sum()
    with torch.no_grad():
        network.head.weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("scheme", ["kept", "slabs"])
def test_an_error_in_the_backward_pass_lets_go_of_everything(monkeypatch, scheme):
    network = small_unet()
    call: ManagedNetwork = managed(network, SCHEMES[scheme])
    executors: list[weakref.ref] = []
    made = call._executor
    monkeypatch.setattr(call, "_executor", lambda *a, **k: _noted(made(*a, **k), executors))
    loss = call(volume()).sum()
    held = weakref.ref(executors[0]().states[next(iter(executors[0]().states))].y)
    executors[0]().kernels.pool_backward = _fail
    with pytest.raises(RuntimeError, match="on purpose"):
        loss.backward()
    del loss
    gc.collect()
    assert executors[0]() is None or not executors[0]().states
    assert held() is None


def _noted(executor, executors):
    executors.append(weakref.ref(executor))
    return executor


def _fail(*_: object) -> Tensor:
    raise RuntimeError("on purpose")


def test_compile_falls_back(choices):
    """torch.compile leaves a managed network alone and runs what is around it."""
    network = small_unet()
    call = managed(network, choices)
    expected = network(volume()).square().mean()
    compiled = torch.compile(lambda x: call(x).square().mean(), backend="eager")
    assert float(compiled(volume()).detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
