"""How fast a machine is, and how networks are cut for it: what predicted durations and peaks rest on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from FetusMapV2Lib.memory.ledger import Ledger
from FetusMapV2Lib.memory.operations import Operation
from FetusMapV2Lib.memory.timings import Timings


@dataclass(frozen=True)
class Machine:
    """Speeds of a device in one precision; the defaults are assumed, of a present workstation GPU in float32.

    Attributes:
        name: of the device.
        basis: where the speeds come from: "measured", "from table" or "assumed".
        flops_per_s: of convolutions.
        bytes_per_s: of everything else.
        transfer_per_s: bytes between device and host.
        launch_s: time to start an operation.
        plain_flops_per_s: operations of a whole step in plain PyTorch by its duration; 0 = not known.
        plain_last_flops_per_s: the same with the channels innermost.
        workspace_share: memory that a convolution takes for a moment, relative to the larger of its input and output.
        plain_workspace_share: the same in plain PyTorch, whose layout cuDNN rearranges.
        by_rows: networks are cut in slabs of rows, with their channels innermost, as tensor cores want; else in slices
            of channels.
        slice_channels, slice_bytes: least that convolutions work on well; thinner slices of channels are not chosen.
            With slices of 3-10 channels a step took ten times as long on an NVIDIA H200, with 16 and more 1.7 times.
        timings: measurements of the network's own operations, which stand above the speeds.
    """

    name: str = "a workstation GPU"
    basis: str = "assumed"
    flops_per_s: float = 20e12
    bytes_per_s: float = 1.0e12
    transfer_per_s: float = 20e9
    launch_s: float = 5e-6
    plain_flops_per_s: float = 0.0
    plain_last_flops_per_s: float = 0.0
    workspace_share: float = 0.0
    plain_workspace_share: float = 0.0
    by_rows: bool = True
    slice_channels: int = 16
    slice_bytes: int = 2**20
    timings: Timings | None = None

    @classmethod
    def cpu(cls) -> Machine:
        """A few cores; their convolutions want 16 channels at a time, the block of oneDNN."""
        speeds = {"flops_per_s": 1e11, "bytes_per_s": 1e10, "transfer_per_s": 1e10}
        return cls(name="a few CPU cores", by_rows=False, **speeds)  # type: ignore[arg-type]

    @classmethod
    def of(cls, device: torch.device | str) -> Machine:
        """For a device, of which nothing is known but its type."""
        return cls.cpu() if torch.device(device).type == "cpu" else cls()

    @property
    def measured(self) -> bool:
        """Whether durations rest on measurements of the network itself."""
        return self.timings is not None

    @property
    def copies_beside(self) -> bool:
        """Whether transfers to and from host memory run beside the computation, as on a GPU."""
        return self.by_rows

    def seconds(self, ledger: Ledger) -> float:
        """Predicted duration of what a ledger counted, with what the computation waited for transfers."""
        if self.timings is not None:
            return self.timings.seconds(ledger.operations.items()) + ledger.waited
        return (
            ledger.flops / self.flops_per_s
            + ledger.moved / self.bytes_per_s
            + ledger.launches * self.launch_s
            + ledger.waited
        )

    def duration(self, operation: Operation) -> float:
        """Predicted seconds of one operation."""
        if self.timings is not None:
            return self.timings.scale * self.timings.of(operation)
        return operation.flops / self.flops_per_s + operation.moved / self.bytes_per_s + self.launch_s

    @property
    def transfer_s(self) -> float:
        """Seconds for a byte between device and host."""
        return 1 / self.transfer_per_s if self.timings is None else self.timings.transfer_s

    def plain_seconds(self, voxels: int, flops: int, channels_last: bool = False) -> float | None:
        """Predicted duration of a step in plain PyTorch without its optimiser; None where nothing is known of it.

        Args:
            voxels: of the input, all volumes together.
            flops: of the step.
            channels_last: with the channels innermost.
        """
        if self.timings is not None:
            step = self.timings.step("plain, channels last" if channels_last else "plain")
            return None if step is None else step.seconds_per_voxel * voxels
        speed = self.plain_last_flops_per_s if channels_last else self.plain_flops_per_s
        return flops / speed if speed else None

    @property
    def takes_workspace(self) -> bool:
        """Whether convolutions allocate something for a moment."""
        return self.timings is not None or self.workspace_share > 0

    def workspace(self, operation: Operation) -> int:
        """Bytes that a convolution allocates for a moment."""
        if self.timings is not None:
            return self.timings.workspace(operation)
        return _share(operation, self.workspace_share)

    def plain_workspace(self, operation: Operation) -> int:
        """The same in plain PyTorch."""
        return _share(operation, self.plain_workspace_share)


def _share(operation: Operation, share: float) -> int:
    """Some share of the larger of a convolution's input and output, in bytes."""
    if not share:
        return 0
    outputs, inputs = operation.weight[:2]
    voxels = operation.shape[0] * operation.shape[2] * operation.shape[3] * operation.shape[4]
    return int(share * max(inputs, outputs) * voxels * operation.dtype.itemsize)
