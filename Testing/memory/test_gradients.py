"""A plan changes where tensors live, never what is computed: outputs and gradients equal plain autograd's."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from memory.networks import CHAIN, SIZE, error, gradient_vector, managed, run, slabs, small_unet, volume
from torch import Tensor, nn

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.plan import Choices, ExecutorKind, MemoryPlan, Prediction, Storage, UnitChoice
from FetusMapV2Lib.memory.unit_builder import build_units

WHOLE = [Storage.BOTH, Storage.KEPT, Storage.RECOMPUTED]
#: How units are cut: slices of channels, rows of a slab, channels innermost.
CUTS = {
    "whole": (1, 0, False),
    "whole, channels last": (1, 0, True),
    "channels": (3, 0, False),
    "rows": (1, 2, False),
    "rows, channels last": (1, 10, True),
}
by_cuts = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())


def names(network: nn.Module) -> list[str]:
    return [unit.name for unit in build_units(network).units]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return small_unet()


@pytest.fixture(scope="module")
def reference(network: nn.Module) -> tuple[Tensor, Tensor]:
    return run(network, network, volume(batch=2))


@pytest.mark.parametrize("storage", WHOLE)
@by_cuts
@pytest.mark.parametrize(("in_place", "split"), [(True, True), (False, False)], ids=["saving", "plain"])
def test_each_strategy_alone(network, reference, storage, cut, in_place, split):
    chunks, rows, last = cut
    units = {name: UnitChoice(storage, chunks, rows=rows) for name in names(network)}
    choices = Choices(units=units, in_place=in_place, split_concat=split, channels_last=last)
    output, gradient = run(network, managed(network, choices), volume(batch=2))
    assert error(output, reference[0]) < 1e-12
    assert error(gradient, reference[1]) < 1e-12


def test_channels_innermost_give_the_plain_gradients(network, reference):
    """The fastest way of a GPU with memory enough: plain autograd in another layout; the weights stay as they lie."""
    nothing = Prediction(1, 1, 1, 1)
    plan = MemoryPlan(SIZE, 2, "training", ExecutorKind.VANILLA, (), nothing, Choices(channels_last=True))
    strides = [parameter.stride() for parameter in network.parameters()]
    output, gradient = run(network, ManagedNetwork(network, plan), volume(batch=2))
    assert error(output, reference[0]) < 1e-12
    assert error(gradient, reference[1]) < 1e-12
    assert [parameter.stride() for parameter in network.parameters()] == strides


@pytest.mark.parametrize("by_rows", [False, True], ids=["channels", "rows"])
@pytest.mark.parametrize("seed", range(8))
def test_strategies_together(network, reference, seed, by_rows):
    pick = random.Random(seed)
    units = {
        name: UnitChoice(
            Storage.NEVER if name in CHAIN and pick.random() < 0.7 else pick.choice(WHOLE),
            pick.choice((1, 2, 4)),
            host=pick.random() < 0.3,
            rows=pick.choice((0, 2, 6, 16)) if by_rows else 0,
        )
        for name in names(network)
    }
    choices = Choices(
        units=units,
        in_place=pick.random() < 0.5,
        split_concat=pick.random() < 0.5,
        channels_last=seed % 2 == 0,
    )
    output, gradient = run(network, managed(network, choices), volume(2))
    assert error(output, reference[0]) < 1e-12
    assert error(gradient, reference[1]) < 1e-12


_ONE_OF_EACH = ("z down.0.second", "dy up.0.convs.first")


@pytest.mark.parametrize(
    "rows,host", [(2, ()), (4, ("z", "dy")), (10, ("z",)), (10, _ONE_OF_EACH), (24, ()), (24, ("z", "dy"))]
)
def test_streaming(network, reference, rows, host):
    streamed = managed(network, Choices(slab_rows=rows, streamed_to_host=host))
    output, gradient = run(network, streamed, volume(batch=2))
    assert error(output, reference[0]) < 1e-12
    assert error(gradient, reference[1]) < 1e-12


@pytest.mark.parametrize(
    "choices",
    [
        Choices(),
        Choices(units={n: UnitChoice(Storage.NEVER, 2) for n in CHAIN}),
        Choices(slab_rows=8),
        slabs(small_unet(), 4, Storage.NEVER, channels_last=True),
    ],
    ids=["kept", "never", "streamed", "slabs"],
)
def test_float32(choices):
    """Within what float32 itself loses, over the whole gradient."""
    exact = small_unet()
    _, expected = run(exact, exact, volume())
    network = small_unet(torch.float32)
    _, found = run(network, managed(network, choices), volume(dtype=torch.float32))
    assert error(found, expected) < 2e-4


@by_cuts
def test_input_gradient(network, cut):
    x = volume().requires_grad_()
    run(network, network, x)
    expected, x.grad = x.grad, None
    chunks, rows, last = cut
    units = {n: UnitChoice(Storage.RECOMPUTED, chunks, rows=rows) for n in names(network)}
    run(network, managed(network, Choices(units=units, channels_last=last)), x)
    assert error(x.grad, expected) < 1e-12


def test_streamed_plan_refuses_an_input_gradient(network):
    with pytest.raises(UserError, match="gradient of the input"):
        managed(network, Choices(slab_rows=8))(volume().requires_grad_())


@pytest.mark.parametrize(
    "choices", [Choices(), Choices(slab_rows=8), slabs(small_unet(), 6)], ids=["lean", "streamed", "slabs"]
)
def test_inference_equals_the_plain_forward_pass(choices):
    network = small_unet(torch.float32)
    x = volume(dtype=torch.float32)
    with torch.no_grad():
        expected = network(x)
        found = managed(network, choices)(x)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


class Residual(nn.Module):
    """Instance norm, leaky activation, a sum, a strided and a transposed convolution, dropout, a shared layer."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(1, 6, 3, padding=1), nn.InstanceNorm3d(6, affine=True), nn.LeakyReLU(0.1))
        self.shared = nn.Sequential(nn.Conv3d(6, 6, 3, padding=1, bias=False), nn.InstanceNorm3d(6), nn.LeakyReLU(0.1))
        self.down = nn.Sequential(nn.Conv3d(6, 8, 3, stride=2, padding=1), nn.BatchNorm3d(8), nn.PReLU())
        self.drop = nn.Dropout3d(p)
        self.up = nn.ConvTranspose3d(8, 6, 2, stride=2)
        self.head = nn.Conv3d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.shared(self.shared(x)) + x
        y = self.up(self.drop(self.down(y))) + y
        return self.head(torch.relu(y))


@pytest.mark.parametrize("storage", WHOLE)
@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("batch,size", [(1, (8, 10, 6)), (3, (6, 6, 8))])
def test_other_layers(storage, rows, batch, size):
    torch.manual_seed(3)
    network = Residual().double()
    twin = copy.deepcopy(network)
    x = volume(batch, size=size)
    expected, gradient = run(network, network, x)
    call = managed(twin, Choices(units={name: UnitChoice(storage, 2, rows=rows) for name in names(twin)}))
    found, other = run(twin, call, x)
    assert error(found, expected) < 1e-12
    assert error(other, gradient) < 1e-12
    # running statistics move once, not again on recomputation
    assert torch.allclose(network.down[1].running_mean, twin.down[1].running_mean, rtol=1e-9)
    assert int(twin.down[1].num_batches_tracked) == 1


@pytest.mark.parametrize("rows", [0, 2])
def test_dropout_is_replayed(rows):
    torch.manual_seed(3)
    network = Residual(p=0.5).double()
    x = volume(2, size=(8, 10, 6))
    torch.manual_seed(5)
    expected, gradient = run(network, network, x)
    torch.manual_seed(5)
    call = managed(network, Choices(units={name: UnitChoice(Storage.RECOMPUTED, rows=rows) for name in names(network)}))
    found, other = run(network, call, x)
    after = torch.rand(1)
    torch.manual_seed(5)
    network(x)
    assert torch.equal(torch.rand(1), after)  # the generator stands where plain training leaves it
    assert error(found, expected) < 1e-12
    assert error(other, gradient) < 1e-12


def test_dynamic_networks_are_refused():
    class Dynamic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(UserError, match="cannot be traced"):
        build_units(Dynamic())


def test_vector_helper_sees_missing_gradients(network):
    network.zero_grad()
    assert float(gradient_vector(network).norm()) == 0.0
