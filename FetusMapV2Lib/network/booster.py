"""The feature booster of URNN: features of body parts that learn of one another along the skeleton, by a ConvLSTM.

After Liu et al. 2019, "Feature boosting network for 3D pose estimation"; docs/systems.md says what differs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from FetusMapV2Lib.network.unet import PAPER_WIDTHS, UNet3d, Up


class GraphicalConvLSTM(nn.Module):
    """A ConvLSTM that visits body parts one after the other.

    Short-term dependence: a part reads the hidden states of its neighbours that were visited before it. Long-term
    dependence: hidden state and memory cell are passed from part to part, whether they are neighbours or not. The
    kernels are the same for all parts.

    Args:
        channels: of one part's features and hidden state.
        order: in which the parts are visited.
        edges: pairs of neighbours.
    """

    def __init__(self, channels: int, order: Sequence[int], edges: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.channels, self.order = channels, tuple(order)
        place = {part: number for number, part in enumerate(self.order)}
        self.before = {
            part: [a + b - part for a, b in edges if part in (a, b) and place[a + b - part] < place[part]]
            for part in self.order
        }
        self.gates = nn.Conv3d(3 * channels, 4 * channels, 3, padding=1)

    def forward(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """One (B, C, k, j, i) per part to as many hidden states, in the parts' own order."""
        hidden: dict[int, Tensor] = {}
        last = cell = torch.zeros_like(parts[0])
        for part in self.order:
            known = [hidden[other] for other in self.before[part]]
            near = sum(known[1:], known[0]) / len(known) if known else torch.zeros_like(last)
            activations = self.gates(torch.cat((parts[part], near, last), dim=1))
            keep, write, show, value = (activations[:, n * self.channels : (n + 1) * self.channels] for n in range(4))
            cell = torch.sigmoid(keep) * cell + torch.sigmoid(write) * torch.tanh(value)
            last = hidden[part] = torch.sigmoid(show) * torch.tanh(cell)
        return [hidden[part] for part in range(len(parts))]


class FeatureBooster(nn.Module):
    """Features (B, C, k, j, i) plus what the body parts' dependence on one another adds to them.

    A 1x1x1 convolution gives each part some channels; the context consistency gate weakens those that do not fit the
    context, a summary of the whole volume; ConvLSTMs from the trunk outwards and back pass on what was found. The
    projection back starts at zero: the booster begins as the identity.

    Args:
        channels: C.
        parts: landmarks.
        edges: (row, row) of the skeleton.
        part_channels: channels per part.
    """

    def __init__(self, channels: int, parts: int, edges: Sequence[tuple[int, int]], part_channels: int) -> None:
        super().__init__()
        self.parts, self.part_channels = parts, part_channels
        width = parts * part_channels
        self.split = nn.Conv3d(channels, width, 1)
        self.context = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Conv3d(channels, width, 1))
        self.consistency = nn.Conv3d(width, width, 1, groups=parts, bias=False)
        order = visiting_order(parts, edges)
        self.outwards = GraphicalConvLSTM(part_channels, order, edges)
        self.inwards = GraphicalConvLSTM(part_channels, order[::-1], edges)
        self.join = nn.Conv3d(2 * width, channels, 1)
        nn.init.zeros_(self.join.weight)
        assert self.join.bias is not None
        nn.init.zeros_(self.join.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, k, j, i) to the same shape."""
        own = self.split(features)
        gated = own * torch.sigmoid(self.consistency(own) + self.context(features))
        width = self.part_channels
        parts = [gated[:, n * width : (n + 1) * width] for n in range(self.parts)]
        states = [*self.outwards(parts), *self.inwards(parts)]
        out: Tensor = features + self.join(torch.cat(states, dim=1))
        return out


class BoostedUp(Up):
    """A decoder level whose output is boosted."""

    def __init__(self, skip_channels: int, below_channels: int, booster: FeatureBooster) -> None:
        super().__init__(skip_channels, below_channels)
        self.booster = booster

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        """As `Up`."""
        out: Tensor = self.booster(super().forward(skip, below))
        return out


class BoostedUNet3d(UNet3d):
    """The UNet with a feature booster in its decoder.

    Args:
        edges: (row, row) of the skeleton.
        part_channels: channels per landmark inside the booster.
        boosted_level: decoder level, 0 = full resolution, 2 = a quarter of it.
        others: see `UNet3d`.

    Raises:
        ValueError: an edge or level that does not exist.
    """

    def __init__(
        self,
        in_channels: int = 1,
        landmarks: int = 22,
        widths: Sequence[int] = PAPER_WIDTHS,
        coordinates: bool = False,
        *,
        edges: Sequence[Sequence[int]] = (),
        part_channels: int = 4,
        boosted_level: int = 2,
    ) -> None:
        super().__init__(in_channels, landmarks, widths, coordinates)
        self.edges = tuple((int(a), int(b)) for a, b in edges)
        self.part_channels, self.boosted_level = int(part_channels), int(boosted_level)
        if not all(0 <= row < landmarks for edge in self.edges for row in edge):
            raise ValueError("an edge names a landmark that does not exist")
        if not 0 <= self.boosted_level < len(self.up):
            raise ValueError(f"there is no decoder level {boosted_level}")
        width, below = self.widths[self.boosted_level : self.boosted_level + 2]
        booster = FeatureBooster(width, landmarks, self.edges, self.part_channels)
        boosted = BoostedUp(width, below, booster)
        boosted.load_state_dict(self.up[self.boosted_level].state_dict(), strict=False)  # as it was initialised
        self.up[self.boosted_level] = boosted

    @property
    def config(self) -> dict[str, object]:
        """See `UNet3d.config`."""
        edges = [list(edge) for edge in self.edges]
        own = {"edges": edges, "part_channels": self.part_channels, "boosted_level": self.boosted_level}
        return {**super().config, "kind": "unet-rnn", **own}


def visiting_order(parts: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Body parts from the most connected one outwards, breadth first; what no edge reaches comes last."""
    neighbours = {part: [a + b - part for a, b in edges if part in (a, b)] for part in range(parts)}
    order: list[int] = []
    for start in sorted(neighbours, key=lambda part: -len(neighbours[part])):
        queue = [start]
        while queue:
            part = queue.pop(0)
            if part not in order:
                order.append(part)
                queue += neighbours[part]
    return order
