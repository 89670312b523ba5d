"""How fast a machine is: what predicted durations of a step rest on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from FetusMapV2Lib.memory.shape_tensors import Ledger


@dataclass(frozen=True)
class Machine:
    """Speeds that plans are compared by; the defaults are of a present workstation GPU in float32.

    They order plans; they do not foretell seconds, as the measurements in docs/memory.md show.

    Attributes:
        flops_per_s: of convolutions.
        bytes_per_s: of everything else.
        transfer_per_s: bytes between device and host.
        launch_s: time to start an operation.
        slice_channels, slice_bytes: least that convolutions work on well; thinner slices of channels are not chosen.
            Tensor cores work on tiles of 16 channels and more: with slices of 3-10 channels a step took ten times as
            long on an NVIDIA H200, with 16 and more 1.7 times.
    """

    flops_per_s: float = 20e12
    bytes_per_s: float = 1.0e12
    transfer_per_s: float = 20e9
    launch_s: float = 5e-6
    slice_channels: int = 16
    slice_bytes: int = 2**20

    @classmethod
    def cpu(cls) -> Machine:
        """A few cores; their convolutions want 16 channels at a time, the block of oneDNN."""
        return cls(flops_per_s=1e11, bytes_per_s=1e10, transfer_per_s=1e10, slice_channels=16)

    @classmethod
    def of(cls, device: torch.device | str) -> Machine:
        """For a device."""
        return cls.cpu() if torch.device(device).type == "cpu" else cls()

    def seconds(self, ledger: Ledger) -> float:
        """Predicted duration of what a ledger counted."""
        return (
            ledger.flops / self.flops_per_s
            + ledger.moved / self.bytes_per_s
            + ledger.transferred / self.transfer_per_s
            + ledger.launches * self.launch_s
        )
