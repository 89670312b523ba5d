"""The plain 3D UNet of the method: five levels, batch statistics always, one heatmap per landmark.

Blocks are small named modules with static control flow, so that a graph tool can trace, split and replace them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from FetusMapV2Lib.core.errors import UserError

#: Feature channels of the paper's network from the finest level to the coarsest (about 37 M parameters).
PAPER_WIDTHS = (40, 80, 160, 320, 640)


@torch.fx.wrap
def require_multiple(volume: Tensor, multiple: int) -> None:
    """Refuse an input whose sizes do not survive the halvings; opaque to graph tracing.

    Raises:
        UserError: a spatial size is not a positive multiple of `multiple`.
    """
    check_input_size(volume.shape[2:], multiple)


def check_input_size(size: Sequence[int], multiple: int = 16) -> None:
    """Check a (k, j, i) input size against the network's halvings.

    Raises:
        UserError: not three positive multiples of `multiple`.
    """
    if len(size) != 3 or any(n <= 0 or n % multiple for n in size):
        shown = ",".join(str(int(n)) for n in size)
        raise UserError(
            f"input size {shown} does not fit the network",
            remedy=f"Give three sizes that are multiples of {multiple}, for example 96,64,64",
        )


@torch.fx.wrap
def upsample_twice(x: Tensor) -> Tensor:
    """Trilinear upsampling by two, (B, C, K, J, I) to (B, C, 2K, 2J, 2I); one node for graph tracing.

    On a CPU it is done in float32: the backward pass of PyTorch's bfloat16 kernel takes several times as long. So does
    that of the float32 kernel for a gradient that is a slice of channels, as the one of a concatenation is.
    """
    if x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16):
        return F.interpolate(x.float(), scale_factor=2, mode="trilinear", align_corners=False).to(x.dtype)
    result = F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)
    if result.requires_grad and x.device.type == "cpu" and result.is_contiguous(memory_format=torch.channels_last_3d):
        result.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last_3d))
    return result


upsample_twice.memory_role = "upsample-twice"  # type: ignore[attr-defined]  # a memory plan may take it apart


@torch.fx.wrap
def coordinate_maps(volume: Tensor) -> Tensor:
    """Where each voxel lies in the grid: (B, C, K, J, I) to (B, 3, K, J, I), -1 to 1 along k, j and i."""
    axes = [torch.linspace(-1, 1, size, device=volume.device, dtype=volume.dtype) for size in volume.shape[2:]]
    maps = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return maps.expand(volume.shape[0], -1, -1, -1, -1)


class ConvNormReLU(nn.Module):
    """Conv3d 3x3x3 without bias, BatchNorm3d on batch statistics, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm3d(out_channels, track_running_stats=False)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, K, J, I) to (B, out, K, J, I)."""
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


class DoubleConv(nn.Module):
    """Two ConvNormReLU; the second keeps its width and so may be swapped for a reversible block."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ConvNormReLU(in_channels, out_channels)
        self.second = ConvNormReLU(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, K, J, I) to (B, out, K, J, I)."""
        out: Tensor = self.second(self.first(x))
        return out


class Up(nn.Module):
    """Trilinear upsampling by two, concatenation behind the skip, double convolution."""

    def __init__(self, skip_channels: int, below_channels: int) -> None:
        super().__init__()
        self.convs = DoubleConv(skip_channels + below_channels, skip_channels)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        """Skip (B, C, 2k, 2j, 2i) and the level below (B, C', k, j, i) to (B, C, 2k, 2j, 2i)."""
        out: Tensor = self.convs(torch.cat((skip, upsample_twice(below)), dim=1))
        return out


class UNet3d(nn.Module):
    """3D UNet (Cicek et al. 2016) with trilinear upsampling, as the paper's detector.

    Args:
        in_channels: channels of the input volume.
        landmarks: heatmaps given back.
        widths: channels per level, finest first; the number of halvings is one less than the levels.
        coordinates: also feed each voxel's place in the grid, -1 to 1 along k, j and i (CoordConv, Liu et al. 2018);
            worth much where views are aligned with the body.
    """

    def __init__(
        self,
        in_channels: int = 1,
        landmarks: int = 22,
        widths: Sequence[int] = PAPER_WIDTHS,
        coordinates: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.landmarks = landmarks
        self.coordinates = bool(coordinates)
        self.widths = tuple(int(width) for width in widths)
        #: which passes were made reversible after building, for `config`
        self.reversible: dict[str, object] = {}
        self.multiple = 2 ** (len(self.widths) - 1)
        first = in_channels + 3 * self.coordinates
        self.down = nn.ModuleList(
            DoubleConv(before, after) for before, after in zip((first, *self.widths[:-1]), self.widths, strict=True)
        )
        self.pool = nn.MaxPool3d(2)
        self.up = nn.ModuleList(Up(skip, below) for skip, below in zip(self.widths[:-1], self.widths[1:], strict=True))
        self.head = nn.Conv3d(self.widths[0], landmarks, 1)
        self._initialise()

    def _initialise(self) -> None:
        if (
            self.head.weight.is_meta
        ):  # weights to come from a file; on the meta device, torch's compiler would draw them
            return
        for module in self.modules():
            if isinstance(module, nn.Conv3d) and module is not self.head:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        # a nearly flat heatmap to begin with: no landmark is anywhere in particular
        nn.init.normal_(self.head.weight, std=0.01)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)

    def features(self, volume: Tensor) -> Tensor:
        """(B, in, K, J, I) to the last feature map (B, widths[0], K, J, I).

        Raises:
            UserError: a size is not a multiple of 16 (of two to the number of halvings).
        """
        require_multiple(volume, self.multiple)
        skips: list[Tensor] = []
        x = torch.cat((volume, coordinate_maps(volume)), dim=1) if self.coordinates else volume
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        for skip, block in zip(reversed(skips[:-1]), reversed(self.up), strict=True):
            x = block(skip, x)
        return x

    def forward(self, volume: Tensor) -> Tensor:
        """Volume (B, in, K, J, I) to heatmap logits (B, landmarks, K, J, I)."""
        out: Tensor = self.head(self.features(volume))
        return out

    @property
    def config(self) -> dict[str, object]:
        """What `models.architectures.build_network` needs to build it again."""
        description: dict[str, object] = {
            "kind": "unet",
            "in_channels": self.in_channels,
            "landmarks": self.landmarks,
            "widths": list(self.widths),
            "coordinates": self.coordinates,
        }
        return {**description, "reversible": dict(self.reversible)} if self.reversible else description


def parameter_bytes(network: nn.Module) -> int:
    """Bytes of all parameters as they are stored."""
    return sum(p.numel() * p.element_size() for p in network.parameters())
