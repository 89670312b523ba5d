"""The traps of recomputation, sprung on every scheme: gradients are right or there is an error, never silently wrong.

A new scheme is one line in `SCHEMES`. Run as a program, this file is the second process of the distributed test.
"""

from __future__ import annotations

import copy
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from memory.networks import CHAIN, error, gradient_vector, managed, set_managed, slabs, small_unet
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from FetusMapV2Lib.memory.meter import PeakMeter
from FetusMapV2Lib.memory.paper.conversion import convert, find_passes
from FetusMapV2Lib.memory.paper.reversible import ReversibleBlock
from FetusMapV2Lib.memory.plan import Choices, Storage, UnitChoice
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.network.unet import ConvNormReLU, DoubleConv

Call = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Scheme:
    """A way to run a network in less memory.

    Attributes:
        run: network to what runs it; gradients go to the network's parameters.
        prepare: what the scheme changes about the network itself; its result, run plainly, is the reference.
    """

    run: Callable[[nn.Module], Call]
    prepare: Callable[[nn.Module], nn.Module] = lambda network: network


def reversible(recompute_before: bool) -> Scheme:
    def prepare(network: nn.Module) -> nn.Module:
        return convert(network, find_passes(network), managed=False, recompute_before=recompute_before)

    return Scheme(lambda network: set_managed(copy_with_same_weights(network), True), prepare)


def copy_with_same_weights(network: nn.Module) -> nn.Module:
    """Other modules, the very same parameters and buffers."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)


def lean(storage: Storage, chunks: int = 1, rows: int = 0) -> Scheme:
    def run(network: nn.Module) -> Call:
        units = {unit.name: UnitChoice(storage, chunks, rows=rows) for unit in build_units(network).units}
        return managed(network, Choices(units=units))

    return Scheme(run)


SCHEMES = {
    "checkpoint": Scheme(lambda network: lambda x: checkpoint(network, x, use_reentrant=False)),
    "reversible": reversible(recompute_before=False),
    "reversible, recomputed before": reversible(recompute_before=True),
    "lean, kept": lean(Storage.KEPT),
    "lean, recomputed in slices": lean(Storage.RECOMPUTED, chunks=2),
    "lean, recomputed in slabs": lean(Storage.RECOMPUTED, rows=2),
}
REVERSIBLE = [name for name in SCHEMES if name.startswith("reversible")]

every_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES.keys())


def prepared(scheme: Scheme, network: nn.Module) -> nn.Module:
    """The network as the scheme wants it, in float64, norms no longer at their initial values."""
    network = scheme.prepare(network)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.double()


def double_convs() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(DoubleConv(1, 4), DoubleConv(4, 4))


def noise(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(network: nn.Module, call: Call, x: Tensor, upstream: Tensor | None = None) -> Tensor:
    """Of all parameters and of x, in a row."""
    network.zero_grad()
    start = x.detach().requires_grad_()
    output = call(start)
    output.backward(noise(*output.shape, seed=3) if upstream is None else upstream)
    assert start.grad is not None
    return torch.cat((gradient_vector(network), start.grad.flatten()))


def check(network: nn.Module, scheme: Scheme, x: Tensor, upstream: Tensor | None = None) -> None:
    """The scheme's gradients are those of the plain network."""
    expected = gradients(network, network, x, upstream)
    found = gradients(network, scheme.run(network), x, upstream)
    assert expected.norm() > 0
    assert error(found, expected) < 1e-12


# ---- reversible after ReLU ----


@every_scheme
def test_gradients_below_a_relu(scheme):
    check(prepared(scheme, double_convs()), scheme, noise(2, 1, 6, 5, 8))


class FreesItsInput(nn.Module):
    """What must not be done: a reversible block that empties its input and fills it again from a rounded inverse."""

    def __init__(self, block: ReversibleBlock) -> None:
        super().__init__()
        self.block, self.rounded = block, [copy.deepcopy(block).float()]

    def forward(self, x: Tensor) -> Tensor:
        output = self.block(x)

        def refill(_: Tensor) -> None:
            x.data.copy_(self.rounded[0].inverse(output.float()))

        output.register_hook(refill)
        return output


def test_the_trap_below_a_relu_is_real():
    network = prepared(SCHEMES["reversible"], double_convs())
    set_managed(network, True)
    x = noise(1, 1, 12, 12, 12)
    expected = gradients(network, network, x)
    network[0].second = FreesItsInput(network[0].second)
    assert error(gradients(network, network, x), expected) > 1e-2


# ---- in-place operations on views ----


class WritesIntoView(nn.Module):
    """Doubles the first channels of what the network gives: in place, or not."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.body, self.in_place = double_convs(), in_place

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if not self.in_place:
            return torch.cat((y[:, :2] * 2, y[:, 2:]), dim=1)
        y[:, :2].mul_(2)
        return y


@every_scheme
def test_writing_into_a_view_inside_is_right_or_refused(scheme):
    x = noise(1, 1, 6, 5, 8)
    reference, network = (prepared(scheme, WritesIntoView(in_place)) for in_place in (False, True))
    expected = gradients(reference, reference, x)
    try:
        found = gradients(network, scheme.run(network), x)
    except Exception as problem:
        assert "modified by an inplace operation" in str(problem) or "writes in place" in str(problem)
    else:
        assert error(found, expected) < 1e-12


@every_scheme
@pytest.mark.parametrize("of_what", ["input", "output"])
def test_writing_into_a_view_outside_is_right_or_refused(scheme, of_what):
    network = prepared(scheme, double_convs())
    base = noise(2, 1, 6, 5, 16)
    expected = gradients(network, network, base[..., ::2])
    network.zero_grad()
    x = base.clone()[..., ::2]
    x.requires_grad_()
    output = scheme.run(network)(x)
    upstream = noise(*output.shape, seed=3)
    with torch.no_grad():
        (x if of_what == "input" else output)[:, :1].add_(1.0)
    try:
        output.backward(upstream)
    except RuntimeError as problem:
        assert "modified by an inplace operation" in str(problem)
    else:
        assert error(torch.cat((gradient_vector(network), x.grad.flatten())), expected) < 1e-12


# ---- upstream gradients ----


@every_scheme
@pytest.mark.parametrize("kind", ["permuted", "expanded", "strided", "offset"])
def test_upstream_gradients_of_any_layout(scheme, kind):
    shape = (2, 4, 6, 5, 8)
    upstream = {
        "permuted": noise(8, 5, 6, 4, 2).permute(4, 3, 2, 1, 0),
        "expanded": noise(1, 4, 1, 5, 1).expand(shape),
        "strided": noise(2, 4, 6, 5, 16)[..., ::2],
        "offset": noise(2, 6, 6, 5, 8)[:, 2:],
    }[kind]
    before = upstream.clone()
    check(prepared(scheme, double_convs()), scheme, noise(2, 1, 6, 5, 8), upstream)
    assert torch.equal(upstream, before)  # it is the caller's


@every_scheme
def test_an_output_with_two_readers_keeps_their_gradients_apart(scheme):
    network = prepared(scheme, double_convs())

    def two_readers(call: Call) -> Call:
        def run(x: Tensor) -> Tensor:
            y = call(x)
            return y * 2 + y.flip(1) + y[:, :1]

        return run

    x = noise(1, 1, 6, 5, 8)
    expected = gradients(network, two_readers(network), x)
    assert error(gradients(network, two_readers(scheme.run(network)), x), expected) < 1e-12


# ---- parameters ----


@every_scheme
def test_a_module_used_twice(scheme):
    torch.manual_seed(0)
    shared = ConvNormReLU(4, 4)
    network = prepared(scheme, nn.Sequential(DoubleConv(1, 4), shared, nn.MaxPool3d(2), shared))
    check(network, scheme, noise(2, 1, 6, 5, 8))


@every_scheme
def test_a_parameter_used_twice(scheme):
    network = prepared(scheme, double_convs())
    owners: dict[torch.Size, nn.Conv3d] = {}
    convs = [module for module in network.modules() if isinstance(module, nn.Conv3d)]
    for conv in convs:
        conv.weight = owners.setdefault(conv.weight.shape, conv).weight
    assert len(owners) < len(convs)
    check(network, scheme, noise(2, 1, 6, 5, 8))


@every_scheme
@pytest.mark.parametrize("first", [0, 1, 2])
def test_frozen_parameters(scheme, first):
    network = prepared(scheme, double_convs())
    for parameter in list(network.parameters())[first::3]:
        parameter.requires_grad_(False)
    check(network, scheme, noise(2, 1, 6, 5, 8))
    assert all((p.grad is not None) == p.requires_grad for p in network.parameters())


@every_scheme
def test_all_parameters_frozen(scheme):
    check(prepared(scheme, double_convs()).requires_grad_(False), scheme, noise(2, 1, 6, 5, 8))


@every_scheme
def test_an_input_without_gradient(scheme):
    network, x = prepared(scheme, double_convs()), noise(2, 1, 6, 5, 8)
    network(x).square().sum().backward()
    expected = gradient_vector(network)
    network.zero_grad()
    scheme.run(network)(x).square().sum().backward()
    assert error(gradient_vector(network), expected) < 1e-12


# ---- an exception in the middle of the backward pass ----


class _Explosion(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        raise ArithmeticError("in the middle")


class Explodes(nn.Module):
    """Identity whose backward pass fails."""

    def forward(self, x: Tensor) -> Tensor:
        return _explode(x)


@torch.fx.wrap
def _explode(x: Tensor) -> Tensor:
    return _Explosion.apply(x)


def assert_failure_releases_all(network: nn.Module, call: Call) -> None:
    """A step that fails in its backward pass leaves nothing behind but gradients."""
    x = noise(1, 1, 16, 16, 16)
    meter = PeakMeter("cpu")
    with meter:
        meter.count(x, *network.parameters(), *network.buffers())
        before = meter.current
        output = call(x)
        assert meter.current >= before + output.numel() * output.element_size()
        failed = False
        try:
            output.sum().backward()
        except ArithmeticError:
            failed = True
        assert failed
    del output
    network.zero_grad()
    gc.collect()
    assert meter.current == before


@every_scheme
def test_an_exception_between_layers_releases_the_memory(scheme):
    torch.manual_seed(0)
    network = prepared(scheme, nn.Sequential(DoubleConv(1, 4), Explodes(), DoubleConv(4, 4)))
    assert_failure_releases_all(network, scheme.run(network))


@pytest.mark.parametrize("name", REVERSIBLE)
def test_an_exception_within_a_block_releases_the_memory_and_restores_the_state(name):
    network = prepared(SCHEMES[name], double_convs())
    run = SCHEMES[name].run(network)
    block = run[1].second
    calls = []

    def fail_at_the_second_call(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls.append(module)
        if len(calls) > 1:
            raise ArithmeticError("in the middle")

    handle = block.f[0][1].register_forward_pre_hook(fail_at_the_second_call)
    random_state = torch.get_rng_state()
    assert_failure_releases_all(network, run)
    handle.remove()
    assert torch.equal(torch.get_rng_state(), random_state)
    x = noise(1, 1, 6, 5, 8)
    expected = gradients(network, network, x)
    assert error(gradients(network, run, x), expected) < 1e-12


# ---- distributed training ----


class Wrapped(nn.Module):
    """A network and what runs it, as the module that DistributedDataParallel asks for."""

    def __init__(self, network: nn.Module, call: Call) -> None:
        super().__init__()
        self.network = network
        self.__dict__["call"] = call

    def forward(self, x: Tensor) -> Tensor:
        return self.__dict__["call"](x)


def reentrant(network: nn.Module) -> Call:
    """Two reentrant checkpoints that share weights with nothing, but find DDP's hooks called from within."""

    def call(x: Tensor) -> Tensor:
        for part in network:
            x = checkpoint(part, x.requires_grad_() if x.is_leaf else x, use_reentrant=True)
        return x

    return call


@dataclass(frozen=True)
class Parallel:
    """What two processes train.

    Attributes:
        network: makes it.
        scheme: it is run by.
        size: (k, j, i) of the input.
        unused: DistributedDataParallel looks for parameters that were not used.
    """

    network: Callable[[], nn.Module]
    scheme: Scheme
    size: tuple[int, int, int] = (6, 5, 8)
    unused: bool = False


def whole_unet(choices: Choices) -> Parallel:
    return Parallel(small_unet, Scheme(lambda network: managed(network, choices)), (24, 16, 8))


#: Those that fail come last.
DISTRIBUTED: dict[str, Parallel] = {
    **{name: Parallel(double_convs, scheme) for name, scheme in SCHEMES.items()},
    **{f"{name}; unused": Parallel(double_convs, scheme, unused=True) for name, scheme in SCHEMES.items()},
    "UNet, kept": whole_unet(Choices()),
    "UNet, some never stored": whole_unet(Choices(units={name: UnitChoice(Storage.NEVER, 2) for name in CHAIN})),
    "UNet, streamed": whole_unet(Choices(slab_rows=8)),
    "UNet, slabs": whole_unet(slabs(small_unet(), 6, Storage.NEVER, channels_last=True)),
    "reentrant; unused": Parallel(double_convs, Scheme(reentrant), unused=True),
}


def distributed_error(case: Parallel, rank: int) -> float:
    """How far the gradients that two processes average are from those of one."""
    network = prepared(case.scheme, case.network())
    inputs = [noise(1, 1, *case.size, seed=10 + r) for r in range(2)]
    expected = []
    for x in inputs:
        network.zero_grad()
        network(x).square().sum().backward()
        expected.append(gradient_vector(network))
    wrapped = Wrapped(network, case.scheme.run(network))
    parallel = DistributedDataParallel(wrapped, find_unused_parameters=case.unused)
    for _ in range(2):  # the second step shows what the first left undone
        parallel.zero_grad()
        parallel(inputs[rank]).square().sum().backward()
    return error(gradient_vector(network), (expected[0] + expected[1]) / 2)


def take_part(rank: int, meeting: Path) -> dict[str, float | str]:
    """One process of two."""
    limit = timedelta(seconds=400)
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=2, timeout=limit)
    found: dict[str, float | str] = {}
    for name, case in DISTRIBUTED.items():
        try:
            found[name] = distributed_error(case, rank)
        except Exception as problem:
            found[name] = f"{type(problem).__name__}: {problem}"
        distributed.barrier()
    distributed.destroy_process_group()
    return found


@pytest.fixture(scope="module")
def distributed_results(tmp_path_factory) -> list[dict[str, float | str]]:
    """What each of two gloo processes, this one and another, found for every scheme."""
    folder = tmp_path_factory.mktemp("distributed")
    path = os.pathsep.join((str(Path(__file__).parents[1]), *filter(None, sys.path)))
    environment = {**os.environ, "PYTHONPATH": path}
    meeting, results = folder / "meeting", folder / "results.json"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    other = subprocess.Popen([sys.executable, __file__, str(meeting), str(results)], env=environment)
    try:
        mine = take_part(0, meeting)
        code = other.wait(timeout=500)
    finally:
        other.kill()
        torch.set_num_threads(threads)
    assert code == 0
    return [mine, json.loads(results.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", [name for name in DISTRIBUTED if not name.startswith("reentrant")])
def test_two_processes_average_the_gradients(distributed_results, name):
    for results in distributed_results:
        assert isinstance(results[name], float), results[name]
        assert results[name] < 1e-12


def test_reentrant_checkpoints_fail_in_two_processes(distributed_results):
    # the reason why no scheme calls backward within backward on the parameters themselves
    for results in distributed_results:
        assert "RuntimeError" in str(results["reentrant; unused"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    Path(sys.argv[2]).write_text(json.dumps(take_part(1, Path(sys.argv[1]))), encoding="utf-8")
