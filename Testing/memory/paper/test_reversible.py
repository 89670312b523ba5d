"""Reversible blocks: the same network managed and unmanaged, which passes qualify, what it saves, how exact it is."""

from __future__ import annotations

import copy

import pytest
import torch
from benchmarks.memory_bench.measuring import measure_step
from memory.networks import error, gradient_vector, run, set_managed, volume
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.meter import PeakMeter, on_meta
from FetusMapV2Lib.memory.paper.conversion import convert, find_passes
from FetusMapV2Lib.memory.paper.reversible import Recomputed, ReversibleBlock
from FetusMapV2Lib.network.unet import ConvNormReLU, DoubleConv, UNet3d, parameter_bytes

WIDTHS = (4, 6, 8, 10)
UNET_PASSES = [*(f"down.{level}.second" for level in range(4)), *(f"up.{level}.convs.second" for level in range(3))]


def block(channels: int = 4, dtype: torch.dtype = torch.float64, tracking: bool = False, **options) -> ReversibleBlock:
    """A block whose norms are no longer at their initial values."""
    torch.manual_seed(0)
    made = ReversibleBlock.like(
        nn.Conv3d(channels, channels, 3, padding=1), nn.BatchNorm3d(channels, track_running_stats=tracking), **options
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.to(dtype)


def features(channels: int = 4, batch: int = 1, size=(6, 5, 7), dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64).to(dtype)


def both_ways(network: nn.Module, x: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Output, gradient of the input and of the parameters: unmanaged, managed."""
    results = []
    for managed in (False, True):
        start = x.clone().requires_grad_()
        output, gradient = run(set_managed(network, managed), network, start)
        assert start.grad is not None
        results.append((output, start.grad, gradient))
    return results


def worst(results: list[tuple[Tensor, Tensor, Tensor]]) -> float:
    expected, found = results
    return max(error(b, a) for a, b in zip(expected, found, strict=True))


# ---- the same gradients ----


@pytest.mark.parametrize("size", [(6, 5, 7), (1, 3, 9)])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("couplings", "depth"), [(1, 2), (2, 1), (3, 2)])
def test_a_block_has_the_gradients_of_plain_autograd(size, batch, couplings, depth):
    made = block(couplings=couplings, depth=depth)
    assert worst(both_ways(made, features(batch=batch, size=size))) < 1e-12


def converted_unet(dtype: torch.dtype, **options) -> nn.Module:
    torch.manual_seed(0)
    network = UNet3d(1, 5, WIDTHS)
    return convert(network, find_passes(network), **options).to(dtype)


@pytest.mark.parametrize("recompute_before", [False, True])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 2e-4)])
def test_a_whole_unet_of_reversible_passes(recompute_before, dtype, bound):
    network = converted_unet(dtype, recompute_before=recompute_before)
    assert sum(isinstance(module, ReversibleBlock) for module in network.modules()) == 7
    assert sum(isinstance(module, Recomputed) for module in network.modules()) == (7 if recompute_before else 0)
    assert worst(both_ways(network, volume(2, dtype, (16, 8, 24)))) < bound


@pytest.mark.parametrize("reentrant", [False, True])
def test_within_a_checkpoint(reentrant):
    network = nn.Sequential(DoubleConv(1, 4), DoubleConv(4, 4)).double()
    network = convert(network, find_passes(network))
    x = volume(size=(6, 5, 7)).requires_grad_()
    _, expected = run(set_managed(network, False), network, x)
    _, found = run(set_managed(network, True), lambda v: checkpoint(network, v, use_reentrant=reentrant), x)
    assert error(found, expected) < 1e-12


def test_gradients_accumulate_and_the_graph_may_be_used_twice():
    made, x = block(), features().requires_grad_()
    made(x).square().sum().backward()
    once = gradient_vector(made)
    output = made(x).square().sum()
    output.backward(retain_graph=True)
    output.backward()
    assert error(gradient_vector(made), 3 * once) < 1e-14


def test_without_gradients_nothing_is_kept_and_the_output_is_the_same():
    made, x = block(), features()
    with torch.no_grad():
        output = made(x)
    assert output.grad_fn is None
    assert torch.equal(output, made(x).detach())


def test_a_second_derivative_is_refused():
    made, x = block(), features().requires_grad_()
    (gradient,) = torch.autograd.grad(made(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


# ---- the recomputation finds what the forward pass found ----


def test_running_statistics_are_updated_once():
    expected, found = block(tracking=True, managed=False), block(tracking=True)
    for made in (expected, found):
        made(features()).square().sum().backward()
    for (name, a), b in zip(expected.named_buffers(), found.buffers(), strict=True):
        assert torch.allclose(a, b, rtol=1e-12), name
    counts = [buffer for name, buffer in found.named_buffers() if name.endswith("num_batches_tracked")]
    assert len(counts) == 4 and all(count == 1 for count in counts)
    assert all(m.track_running_stats for m in found.modules() if isinstance(m, nn.BatchNorm3d))


def test_running_statistics_of_a_recomputed_module_are_updated_once():
    module = nn.Sequential(nn.Conv3d(4, 4, 1), nn.BatchNorm3d(4), nn.ReLU()).double()
    wrapped = Recomputed(module)
    wrapped(features()).square().sum().backward()
    assert module[1].num_batches_tracked == 1
    assert list(wrapped.state_dict()) == list(module.state_dict())


def test_the_mode_is_that_of_the_forward_pass():
    made = block(tracking=True)
    made(features(batch=2))  # running statistics that differ from the batch's
    expected = both_ways(copy.deepcopy(made), features())[0]
    x = features().requires_grad_()
    made.zero_grad()
    output = made(x)
    made.eval()
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (output * weights).sum().backward()
    assert error(gradient_vector(made), expected[2]) < 1e-12
    assert not any(module.training for module in made.modules())


def test_evaluation_mode_uses_and_guards_running_statistics():
    made = block(tracking=True)
    made(features(batch=2))
    made.eval()
    assert worst(both_ways(made, features())) < 1e-12
    output = made(features().requires_grad_())
    next(made.buffers()).add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@pytest.mark.parametrize("make", [block, lambda: Recomputed(ConvNormReLU(4, 4).double())])
def test_a_parameter_changed_before_the_backward_pass_is_noticed(make):
    made = make()
    output = made(features())
    with torch.no_grad():
        next(made.parameters()).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def dropout_block(managed: bool) -> ReversibleBlock:
    torch.manual_seed(0)
    branches = [nn.Sequential(nn.Conv3d(2, 2, 3, padding=1), nn.Dropout(0.5), nn.ReLU()) for _ in range(4)]
    return ReversibleBlock(branches[:2], branches[2:], managed=managed).double()


def test_dropout_masks_are_those_of_the_forward_pass():
    results = []
    for managed in (False, True):
        made = dropout_block(managed)
        torch.manual_seed(5)
        x = features().requires_grad_()
        output = made(x)
        torch.rand(7)
        output.square().sum().backward()
        results.append((gradient_vector(made), x.grad, torch.rand(3)))  # the generator goes on as if nothing had been
    for expected, found in zip(*results, strict=True):
        assert error(found, expected) < 1e-12


# ---- lower precision ----


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_of_low_precision_are_refused(dtype):
    made = block(dtype=dtype)
    with pytest.raises(UserError, match=r"cannot be inverted in .*float16"):
        made(features(dtype=dtype))


def test_under_autocast_sums_stay_float32_and_the_state_is_replayed():
    network = nn.Sequential(ConvNormReLU(1, 8), block(8, torch.float32, couplings=2, depth=1))
    x = volume(dtype=torch.float32)
    results = []
    for managed in (False, True):
        set_managed(network, managed)
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = network(x)
        assert output.dtype == torch.float32
        output.square().mean().backward()  # outside: the recomputation has to enter autocast by itself
        results.append((output.detach(), gradient_vector(network)))
    (expected_output, expected), (output, found) = results
    assert torch.equal(output, expected_output)
    assert error(found, expected) < 2e-3
    network.zero_grad()
    network(x).square().mean().backward()
    assert error(gradient_vector(network), expected) > 5e-3  # so that the bound above says something


def test_a_pass_without_gradients_leaves_no_cast_weights_behind():
    made, x = block(dtype=torch.float32), features(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        made(x)
        made.managed = False
        made(x).square().mean().backward()
    assert all(p.grad is not None for p in made.parameters())


@torch.no_grad()
def inverse_drift(blocks: list[ReversibleBlock], example: Tensor, dtype: torch.dtype = torch.float32) -> float:
    """Relative error (L2) of a tensor that went forward through a stack of blocks and back; sums stored in `dtype`."""
    start = example.to(dtype).chunk(2, dim=1)
    halves = list(start)
    steps = [step for block in blocks for step in block.steps()]
    for sign, ordered in ((1, steps), (-1, reversed(steps))):
        for step in ordered:
            value = step.branch(halves[step.source].to(next(step.branch.parameters()).dtype))
            halves[step.target] = (halves[step.target] + sign * value).to(dtype)
    return error(torch.cat(halves), torch.cat(start))


@pytest.mark.parametrize(("depth", "bound"), [(2, 1e-6), (8, 5e-6), (18, 2e-5), (36, 1e-4)])
def test_the_inverse_drifts_little_in_float32(depth, bound):
    blocks = [block(8, torch.float32, depth=1) for _ in range(depth)]
    example = features(8, size=(8, 6, 8)).relu()
    drift = inverse_drift(blocks, example)
    assert 0 < drift < bound
    assert inverse_drift([b.double() for b in blocks], example, torch.float64) < 1e-6 * drift


def test_the_inverse_is_of_no_use_in_bfloat16():
    blocks = [block(8, torch.float32, depth=1) for _ in range(8)]
    example = features(8, size=(8, 6, 8)).relu()
    assert inverse_drift(blocks, example, torch.bfloat16) > 1e3 * inverse_drift(blocks, example)


def test_the_inverse_of_a_block():
    made, x = block(tracking=True, couplings=2), features()
    y = made(x).detach()
    counts = [int(b) for name, b in made.named_buffers() if name.endswith("tracked")]
    assert error(made.inverse(y), x) < 1e-12
    assert counts == [int(b) for name, b in made.named_buffers() if name.endswith("tracked")]


# ---- which passes, and what becomes of them ----


def test_the_second_convolution_of_every_level_qualifies():
    assert find_passes(UNet3d(1, 5, WIDTHS)) == UNET_PASSES


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.act(self.norm(self.conv(x)))


class Functional(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.relu(self.norm(self.conv(x)))


class Branching(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x))) if x.sum() > 0 else x


def chain(conv: nn.Module, norm: nn.Module | None = None, act: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(conv, norm or nn.BatchNorm2d(4), act or nn.ReLU())


@pytest.mark.parametrize(
    ("module", "qualifies"),
    [
        (chain(nn.Conv2d(4, 4, 3, padding=1)), True),
        (chain(nn.Conv2d(4, 4, 3, padding="same", dilation=2)), True),
        (chain(nn.Conv2d(4, 4, (3, 1), padding=(1, 0))), True),
        (Functional(), True),
        (Residual(), False),
        (Branching(), False),
        (chain(nn.Conv2d(4, 4, 3)), False),
        (chain(nn.Conv2d(4, 4, 3, padding=1, stride=2)), False),
        (chain(nn.Conv2d(4, 4, 3, padding=1, groups=2)), False),
        (chain(nn.Conv2d(2, 4, 3, padding=1)), False),
        (chain(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)), False),
        (chain(nn.Conv2d(4, 4, 3, padding=1), act=nn.Sigmoid()), False),
        (chain(nn.Conv2d(4, 4, 3, padding=1), nn.InstanceNorm2d(4)), False),
        (chain(nn.ConvTranspose2d(4, 4, 3, padding=1)), False),
        (nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()), False),
    ],
)
def test_what_qualifies(module, qualifies):
    assert (find_passes(nn.Sequential(module)) == ["0"]) is qualifies
    if qualifies:
        assert convert(module, [""])(torch.rand(2, 4, 6, 5)).shape == (2, 4, 6, 5)


def test_conversion_leaves_the_network_and_every_other_weight_alone():
    network = UNet3d(1, 5, WIDTHS)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    converted = convert(network, ["down.1.second"], recompute_before=True).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    kept = {name for name in before if not name.startswith("down.1.second.")}
    assert all(torch.equal(converted[name], before[name]) for name in kept)
    layers = [f"{branch}.0.{layer}" for branch in "fg" for layer in (0, 1)]
    parts = ("conv.weight", "norm.weight", "norm.bias")
    assert set(converted) - kept == {f"down.1.second.{layer}.{part}" for layer in layers for part in parts}


def test_a_converted_network_has_no_passes_left():
    network = UNet3d(1, 5, (4, 4, 8, 8, 12))
    assert find_passes(convert(network, find_passes(network), recompute_before=True)) == []


def test_a_pass_that_sits_in_two_places_is_replaced_in_both():
    shared = ConvNormReLU(4, 4)
    converted = convert(nn.Sequential(shared, nn.Identity(), shared), ["0"])
    assert isinstance(converted[0], ReversibleBlock) and converted[0] is converted[2]


def test_options_of_the_norm_and_the_mode_are_kept():
    network = chain(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, eps=0.1, momentum=0.3)).eval()
    norm = convert(network, [""]).f[0][1].norm
    assert (norm.eps, norm.momentum, norm.track_running_stats, norm.training) == (0.1, 0.3, True, False)


@pytest.mark.parametrize("path", ["down.0.first", "down.0", "head", "nowhere"])
def test_other_paths_are_refused(path):
    with pytest.raises(UserError, match=f"{path}.*no Conv-BN-ReLU pass"):
        convert(UNet3d(1, 5, (4, 6, 8)), [path])


def test_odd_channels_are_refused():
    with pytest.raises(UserError, match="even number of channels"):
        block()(torch.rand(1, 3, 4, 4, 4))


def test_the_paper_says_conversion_leaves_the_number_of_parameters():
    with torch.device("meta"):
        network = UNet3d()
        converted = convert(network, find_passes(network))
    added = parameter_bytes(converted) - parameter_bytes(network)
    # four norms of half the width for one of the whole: 2 C more, over C = 40 to 640 down and 320 to 40 up
    assert added == 4 * 2 * (1240 + 600)
    assert added / 1e6 == pytest.approx(148.01 - 147.98, abs=0.02)


def test_couplings_times_depth_of_two_keep_the_kernels():
    weights = [
        sum(p.numel() for name, p in block(8, couplings=n, depth=d).named_parameters() if p.dim() == 5)
        for n, d in ((1, 2), (2, 1))
    ]
    assert weights == [27 * 8 * 8] * 2


# ---- memory ----


def held(network: nn.Module, x: Tensor) -> int:
    """Bytes that live after a forward pass beyond input and weights."""
    meter = PeakMeter("cpu")
    with meter:
        output = network(x)
    assert output.grad_fn is not None
    return meter.current


def peak(network: nn.Module, x: Tensor) -> int:
    return measure_step(lambda: network(x).sum().backward(), "cpu").peak_bytes


def test_a_stack_of_blocks_holds_its_outputs_only():
    network, x = nn.Sequential(*(block(8) for _ in range(5))), features(8, size=(16, 8, 8))
    size = x.numel() * x.element_size()
    assert held(set_managed(network, True), x) == pytest.approx(5 * size, rel=0.05)
    assert held(set_managed(network, False), x) > 4 * 5 * size
    managed_peak = peak(set_managed(network, True), x)
    network.zero_grad()
    assert managed_peak < 0.5 * peak(set_managed(network, False), x)


def test_the_input_goes_when_the_pass_before_is_recomputed():
    torch.manual_seed(0)
    plain = DoubleConv(8, 8)
    x = features(8, size=(16, 8, 8), dtype=torch.float32)
    size = x.numel() * x.element_size()
    # each pass of plain autograd: the convolution's output and the ReLU's
    assert held(plain, x) == pytest.approx(4 * size, rel=0.05)
    # the first pass, and the block's output
    assert held(convert(plain, ["second"]), x) == pytest.approx(3 * size, rel=0.05)
    # the block's output alone
    assert held(convert(plain, ["second"], recompute_before=True), x) == pytest.approx(size, rel=0.05)


def test_it_runs_on_tensors_without_data():
    network = converted_unet(torch.float32, recompute_before=True)
    x = torch.rand(1, 1, 16, 16, 16)
    meta = on_meta(network)
    on_cpu = measure_step(lambda: network(x).sum().backward(), "cpu")
    without_data = measure_step(lambda: meta(x.to("meta")).sum().backward(), "meta")
    assert without_data.flops == on_cpu.flops
    assert without_data.peak_bytes == pytest.approx(on_cpu.peak_bytes, rel=0.03)
