"""Every way to train that the benchmark compares: one function each, from a setting to a job."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.measured_machine import machine_for
from FetusMapV2Lib.memory.paper.conversion import convert, find_passes
from FetusMapV2Lib.memory.paper.framework import COUPLINGS, DEPTH, plan_framework
from FetusMapV2Lib.memory.plan import MemoryPlan, Prediction
from FetusMapV2Lib.memory.planner import plan_training
from FetusMapV2Lib.memory.strategies import EXACT, ON_DEVICE
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.network.heatmap import gaussian_target
from FetusMapV2Lib.network.unet import PAPER_WIDTHS, ConvNormReLU, UNet3d
from FetusMapV2Lib.training.losses import HeatmapLoss

from .kusumoto_schemes import kusumoto_choices
from .peers import has_memcnn, memcnn_network, partitioned

Size = tuple[int, int, int]
SIGMA = 2.0

#: Where nothing is run, plans are for slices of channels, and limited in counted operations.
COUNTED = Machine(flops_per_s=1.0, bytes_per_s=math.inf, transfer_per_s=math.inf, launch_s=0.0, by_rows=False)
_COUNTED_LIMIT = 1.25
_STREAMED_LIMIT = 40.0  # of seconds: streaming is measured however slow it is


@dataclass(frozen=True)
class Setting:
    """What a scheme is tried on.

    Attributes:
        size: (k, j, i) of the input.
        widths: channels per level.
        device: "meta" within a `FakeTensorMode`, "cpu" or "cuda".
        autocast: type of convolutions, None = float32.
        landmarks: heatmaps.
        measuring_s: time for measuring the network on the device before plans are made, 0 = a table's speeds.
    """

    size: Size
    widths: tuple[int, ...] = PAPER_WIDTHS
    device: str = "meta"
    autocast: torch.dtype | None = None
    landmarks: int = 22
    measuring_s: float = 0.0

    def machine(self) -> Machine:
        """That plans are made for."""
        if self.device == "meta":
            return COUNTED
        if not self.measuring_s and self.device == "cpu":
            return Machine.cpu()
        network = Setting(self.size, self.widths, landmarks=self.landmarks, device="cpu").network()
        options = {"measure": self.measuring_s > 0, "limit_s": self.measuring_s}
        return machine_for(network, self.size, device=self.device, autocast=self.autocast, **options)

    def network(self) -> UNet3d:
        """The paper's detector, the same weights every time."""
        torch.manual_seed(0)
        with torch.device(self.device):
            return UNet3d(1, self.landmarks, self.widths)


@dataclass
class Job:
    """A network in training.

    Attributes:
        network: its parameters are trained.
        loss: (volume, truth) to the scalar loss; truth is a dense target (1, L, K, J, I), or points (1, L, 3).
        dense: which of the two.
        plan: that it runs by, if it is one of ours.
        kept: inputs that every step takes, where they are made once.
    """

    network: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    dense: bool = True
    plan: MemoryPlan | None = None
    kept: tuple[Tensor, ...] = ()
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.optimiser = torch.optim.Adam(self.network.parameters(), 1e-4, betas=(0.5, 0.999), foreach=False)

    def inputs(self, setting: Setting) -> tuple[Tensor, Tensor]:
        """A volume of noise and the truth that the loss takes."""
        shape = (1, 1, *setting.size)
        if setting.device == "meta":
            truth = (1, setting.landmarks, *(setting.size if self.dense else (3,)))
            return torch.empty(shape, device="meta"), torch.empty(truth, device="meta")
        generator = torch.Generator().manual_seed(1)
        volume = torch.randn(shape, generator=generator)
        k, j, i = setting.size
        points = torch.rand(setting.landmarks, 3, generator=generator) * torch.tensor([i - 1.0, j - 1.0, k - 1.0])
        truth = gaussian_target(points, setting.size, SIGMA) if self.dense else points
        return volume.to(setting.device), truth[None].to(setting.device)

    def step(self, volume: Tensor, truth: Tensor, autocast: torch.dtype | None = None) -> None:
        """Forward, loss, backward, Adam."""
        self.optimiser.zero_grad()
        with nullcontext() if autocast is None else torch.autocast(volume.device.type, autocast):
            loss = self.loss(volume, truth)
        loss.backward()
        self.optimiser.step()

    def standing(self) -> list[Any]:
        """Tensors that live from step to step."""
        return [list(self.network.parameters()), [list(state.values()) for state in self.optimiser.state.values()]]


@dataclass(frozen=True)
class Scheme:
    """A way to train.

    Attributes:
        key: for files and the command line.
        title: for tables.
        prepare: makes the job.
        group: "peer", "paper" or "ours".
        exact: gradients equal those of the same network in plain autograd up to rounding.
        host: tensors may wait in host memory.
    """

    key: str
    title: str
    prepare: Callable[[Setting], Job]
    group: str
    exact: bool = True
    host: bool = False


def plain_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Eq. 5 as one writes it down, mean over landmarks: logits and a stored target, both (B, L, K, J, I)."""
    log_probability = torch.log_softmax(logits.float().flatten(2), -1)
    return -(log_probability * target.flatten(2)).sum() / (target.shape[0] * target.shape[1])


def channels_last(setting: Setting) -> Job:
    """The network as it is, its weights with the channels innermost; `cudnn.benchmark` while it runs."""
    network = setting.network().to(memory_format=torch.channels_last_3d)

    def loss(volume: Tensor, target: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=torch.backends.cudnn.allow_tf32):
            return plain_loss(network(volume.contiguous(memory_format=torch.channels_last_3d)), target)

    return Job(network, loss)


def compiled(setting: Setting, budget: float = 1.0) -> Job:
    """The network and its loss by torch.compile, under a share of the activations; compiled in its first step."""
    import torch._functorch.config as settings

    network = setting.network()
    run = torch.compile(lambda volume, target: plain_loss(network(volume), target))

    def loss(volume: Tensor, target: Tensor) -> Tensor:
        with settings.patch(activation_memory_budget=budget):
            result: Tensor = run(volume, target)
            return result

    return Job(network, loss)


def _by_plain_loss(network: nn.Module) -> Job:
    return Job(network, lambda volume, target: plain_loss(network(volume), target))


def vanilla(setting: Setting) -> Job:
    """The network as it is."""
    return _by_plain_loss(setting.network())


class _Recomputed(nn.Module):
    """A block under torch's non-reentrant checkpoint."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the block gives."""
        result: Tensor = checkpoint(self.block, *inputs, use_reentrant=False)
        return result


def checkpoint_per_block(setting: Setting) -> Job:
    """Every Conv-BN-ReLU recomputed from its input."""
    network = setting.network()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvNormReLU):
                setattr(parent, name, _Recomputed(child))
    return _by_plain_loss(network)


def checkpoint_per_level(setting: Setting) -> Job:
    """Every level of encoder and decoder recomputed, pooling, upsampling and concatenation included."""
    network = setting.network()
    first, *others = network.down
    network.down = nn.ModuleList(
        [_Recomputed(first), *(_Recomputed(nn.Sequential(network.pool, block)) for block in others)]
    )
    network.pool = nn.Identity()
    network.up = nn.ModuleList(_Recomputed(block) for block in network.up)
    return _by_plain_loss(network)


def memcnn(setting: Setting) -> Job:
    """memcnn's additive coupling where a block may become reversible; its input is kept, see `peers`."""
    return _by_plain_loss(memcnn_network(setting.network()))


def reversible(setting: Setting) -> Job:
    """The paper's REV: every Conv-BN-ReLU that may, becomes a reversible block."""
    network = setting.network()
    return _by_plain_loss(convert(network, find_passes(network)))


def framework(setting: Setting, scheme: str) -> Job:
    """The paper's three steps, or some of them: valid partition, reversible passes where the peak falls."""
    plan = _framework_plan(setting.size, setting.widths, setting.landmarks, scheme)
    network = convert(setting.network(), plan.reversible, couplings=COUPLINGS, depth=DEPTH)
    return _by_plain_loss_of(network, plan)


@functools.lru_cache(maxsize=64)
def _framework_plan(size: Size, widths: tuple[int, ...], landmarks: int, scheme: str) -> MemoryPlan:
    """Remembered."""
    return plan_framework(Setting(size, widths, landmarks=landmarks).network(), size, scheme)


def published_checkpoints(setting: Setting, memory_centric: bool = False) -> Job:
    """The paper's GCP: Kusumoto's strategy of the least budget in the published estimate of memory."""
    cost_model = CostModel(build_units(Setting(setting.size, setting.widths).network()), setting.size)
    choices = kusumoto_choices(cost_model, memory_centric=memory_centric)
    unpriced = Prediction(peak_bytes=0, vanilla_peak_bytes=0, flops=0, vanilla_flops=0)
    plan = MemoryPlan(setting.size, 1, "training", choices.executor, (), unpriced, choices)
    return _by_plain_loss_of(setting.network(), plan)


def searched_checkpoints(setting: Setting) -> Job:
    """Nothing but checkpoints, as in GCP, but chosen by the peak that they really give."""
    options = {"allowed": frozenset({"checkpoint"}), "max_slowdown": 4 / 3, "machine": COUNTED}
    return _by_plain_loss_of(
        setting.network(), plan_of(setting.size, setting.widths, setting.landmarks, setting.autocast, **options)
    )


def _by_plain_loss_of(network: nn.Module, plan: MemoryPlan) -> Job:
    """A managed network with the loss of vanilla; without a prediction, because that is for the product's loss."""
    managed = ManagedNetwork(network, plan)
    return Job(network, lambda volume, target: plain_loss(managed(volume), target))


def activation_budget(setting: Setting, budget: float) -> Job:
    """torch.compile's own memory saver: its min-cut partitioner under a share of the activations, see `peers`."""
    network = setting.network()
    return Job(network, partitioned(network, plain_loss, budget))


def planned(setting: Setting, **options: Any) -> Job:
    """Ours, by a plan; options of `planner.plan_training`. The loss is the product's, met slab by slab."""
    if setting.device == "meta":
        options.setdefault("max_slowdown", _COUNTED_LIMIT)
    elif "slab-streaming" in (options.get("allowed") or ()):
        options["max_slowdown"] = _STREAMED_LIMIT
    options["machine"] = setting.machine()
    share = options.pop("share", None)
    if share is not None:
        plain = plan_of(setting.size, setting.widths, setting.landmarks, setting.autocast, machine=options["machine"])
        options["budget_bytes"] = int(share * plain.prediction.vanilla_peak_bytes)
    return by_plan(setting, plan_of(setting.size, setting.widths, setting.landmarks, setting.autocast, **options))


def by_plan(setting: Setting, plan: MemoryPlan) -> Job:
    """Ours, by a plan that is there."""
    network = setting.network()
    managed, loss = ManagedNetwork(network, plan), HeatmapLoss(SIGMA)

    def value(volume: Tensor, points: Tensor) -> Tensor:
        present = torch.ones(len(points), dtype=torch.bool, device=points.device)
        return managed.loss(volume, loss.in_slabs(points, present))

    return Job(network, value, dense=False, plan=plan)


@functools.lru_cache(maxsize=64)
def plan_of(
    size: Size, widths: tuple[int, ...], landmarks: int, autocast: torch.dtype | None, **options: Any
) -> MemoryPlan:
    """A plan for the benchmark's network; remembered."""
    network = Setting(size, widths, landmarks=landmarks).network()
    return plan_training(network, size, autocast=autocast, **options)


def _ours(key: str, title: str, allowed: Iterable[str] | None = None, **options: Any) -> Scheme:
    strategies = None if allowed is None else frozenset(allowed)
    return Scheme(
        key,
        title,
        functools.partial(planned, allowed=strategies, **options),
        "ours",
        exact="reduced-storage" not in (strategies or ()),
        host="host-offload" in (strategies or ()),
    )


def _budget(share: float) -> Scheme:
    title = f"torch.compile, activation budget {share:g}"
    return Scheme(f"budget-{share:g}", title, functools.partial(activation_budget, budget=share), "peer")


VANILLA = Scheme("vanilla", "vanilla", vanilla, "peer")

#: Side by side in the tables of peaks.
SCHEMES: tuple[Scheme, ...] = (
    VANILLA,
    Scheme("checkpoint-block", "torch checkpoint per Conv-BN-ReLU", checkpoint_per_block, "peer"),
    Scheme("checkpoint-level", "torch checkpoint per level", checkpoint_per_level, "peer"),
    *(_budget(share) for share in (0.6, 0.2, 0.05)),
    Scheme("memcnn", "memcnn 1.5 couplings, input kept", memcnn, "peer"),
    Scheme("gcp-time", "GCP, Kusumoto, time-centric", published_checkpoints, "paper"),
    Scheme(
        "gcp-memory",
        "GCP, Kusumoto, memory-centric",
        functools.partial(published_checkpoints, memory_centric=True),
        "paper",
    ),
    Scheme("gcp-searched", "GCP, searched on the true peak", searched_checkpoints, "paper"),
    Scheme("gcp-valid", "GCP, valid partition (step 1)", functools.partial(framework, scheme="gcp"), "paper"),
    Scheme("rev", "REV wherever it may", reversible, "paper"),
    Scheme("rev-chosen", "REV where the peak falls", functools.partial(framework, scheme="rev"), "paper"),
    Scheme("gcp-rev", "GCP + REV (steps 1-3)", functools.partial(framework, scheme="gcp+rev"), "paper"),
    _ours("lean", "default plan: on the device"),
    _ours("lean-host", "whole tensors, host memory allowed", EXACT - {"slab-streaming"}),
    _ours("streamed-host", "slab streaming, host memory", EXACT),
    _ours("streamed", "slab streaming, all recomputed", EXACT - {"host-offload"}, max_slowdown=4.0),
    _ours("bf16-storage", "default plan + bfloat16 storage", ON_DEVICE | {"reduced-storage"}),
    _ours("streamed-bf16", "slab streaming, host memory + bfloat16 storage", EXACT | {"reduced-storage"}),
)

#: Only worth running on a GPU.
DEVICE_SCHEMES: tuple[Scheme, ...] = (
    Scheme("vanilla-last", "vanilla, channels_last_3d, cudnn.benchmark", channels_last, "peer"),
    Scheme("compiled", "torch.compile", compiled, "peer"),
    Scheme("compiled-0.5", "torch.compile, activation budget 0.5", functools.partial(compiled, budget=0.5), "peer"),
    _ours("fast", "fast plan: least time within 45 %", share=0.45),
)

_ADDED = ("recompute-norm", "in-place", "no-concat", "fused-head", "channel-chunks", "checkpoint")

#: What each strategy adds to those before it.
STRATEGY_STEPS: tuple[Scheme, ...] = (
    VANILLA,
    *(
        _ours(f"with-{name}", name if not count else f"+ {name}", _ADDED[: count + 1])
        for count, name in enumerate(_ADDED)
    ),
)

BY_KEY = {scheme.key: scheme for scheme in (*SCHEMES, *DEVICE_SCHEMES, *STRATEGY_STEPS)}


def available(schemes: Iterable[Scheme]) -> list[Scheme]:
    """Those that can run here; says how to get the others."""
    if has_memcnn():
        return list(schemes)
    print("memcnn is not installed, its row is left out: pip install memcnn", flush=True)
    return [scheme for scheme in schemes if scheme.key != "memcnn"]
