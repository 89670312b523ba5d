"""Every way to train that the benchmark compares: one function each, from a setting to a job."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.plan import EXACT, MemoryPlan
from FetusMapV2Lib.memory.planner import ON_DEVICE, plan_training
from FetusMapV2Lib.memory.reversible import convert, find_passes
from FetusMapV2Lib.network.heatmap import gaussian_target
from FetusMapV2Lib.network.unet import PAPER_WIDTHS, ConvNormReLU, UNet3d

from .losses import SIGMA, SlabCrossEntropy, plain_loss
from .peers import memcnn_network

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Setting:
    """What a scheme is tried on.

    Attributes:
        size: (k, j, i) of the input.
        widths: channels per level.
        device: "meta" within a `FakeTensorMode`, "cpu" or "cuda".
        autocast: type of convolutions, None = float32.
        landmarks: heatmaps.
    """

    size: Size
    widths: tuple[int, ...] = PAPER_WIDTHS
    device: str = "meta"
    autocast: torch.dtype | None = None
    landmarks: int = 22

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
    """

    network: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    dense: bool = True
    plan: MemoryPlan | None = None
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
        with torch.autocast(volume.device.type, dtype=autocast, enabled=autocast is not None) if autocast else _plain():
            loss = self.loss(volume, truth)
        loss.backward()
        self.optimiser.step()

    def standing(self) -> list[Any]:
        """Tensors that live from step to step."""
        return [list(self.network.parameters()), [list(state.values()) for state in self.optimiser.state.values()]]


def _plain() -> Any:
    return torch.enable_grad()


@dataclass(frozen=True)
class Scheme:
    """A way to train.

    Attributes:
        key: for files and the command line.
        title: for tables.
        prepare: makes the job.
        group: "peer", "paper" or "ours".
        exact: gradients equal those of the same network in plain autograd up to rounding.
    """

    key: str
    title: str
    prepare: Callable[[Setting], Job]
    group: str
    exact: bool = True


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


def reversible_and_checkpoint(setting: Setting) -> Job:
    """The paper's GCP+REV: reversible blocks, and what stands before them recomputed."""
    network = setting.network()
    return _by_plain_loss(convert(network, find_passes(network), recompute_before=True))


def planned(setting: Setting, **options: Any) -> Job:
    """Ours, by a plan; options of `planner.plan_training`."""
    plan = plan_of(setting.size, setting.widths, setting.landmarks, setting.autocast, **options)
    network = setting.network()
    managed = ManagedNetwork(network, plan)
    return Job(network, lambda volume, points: managed.loss(volume, SlabCrossEntropy(points)), dense=False, plan=plan)


@functools.lru_cache(maxsize=64)
def plan_of(
    size: Size, widths: tuple[int, ...], landmarks: int, autocast: torch.dtype | None, **options: Any
) -> MemoryPlan:
    """A plan for the benchmark's network; remembered."""
    network = Setting(size, widths, landmarks=landmarks).network()
    return plan_training(network, size, autocast=autocast, **options)


def _ours(**options: Any) -> Callable[[Setting], Job]:
    return functools.partial(planned, **options)


_HOST, _STREAM = frozenset({"host-offload"}), frozenset({"slab-streaming"})

VANILLA = Scheme("vanilla", "vanilla", vanilla, "peer")
SCHEMES: tuple[Scheme, ...] = (
    VANILLA,
    Scheme("checkpoint-block", "torch checkpoint per Conv-BN-ReLU", checkpoint_per_block, "peer"),
    Scheme("checkpoint-level", "torch checkpoint per level", checkpoint_per_level, "peer"),
    Scheme("memcnn", "memcnn, input kept", memcnn, "peer"),
    Scheme("rev", "REV", reversible, "paper"),
    Scheme("gcp-rev", "GCP + REV", reversible_and_checkpoint, "paper"),
    Scheme("lean", "default plan", _ours(), "ours"),
    Scheme("lean-host", "host memory, no streaming", _ours(allowed=EXACT - _STREAM), "ours"),
    Scheme("streamed-host", "slab streaming, host memory", _ours(allowed=EXACT), "ours"),
    Scheme("streamed", "slab streaming, all made again", _ours(allowed=EXACT - _HOST, max_slowdown=4.0), "ours"),
    Scheme("bf16-storage", "bfloat16 storage", _ours(allowed=ON_DEVICE | {"reduced-storage"}), "ours", exact=False),
)
BY_KEY = {scheme.key: scheme for scheme in SCHEMES}
