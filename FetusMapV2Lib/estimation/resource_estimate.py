"""What an estimate will take, said before it is made. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

#: Python, torch and the other libraries on the CPU (measured on Linux with torch 2.13: 400-500 MiB).
PROCESS_BYTES = 450 * 2**20
#: Of a volume that is read from a file as it is needed (measured: 1.8 with 8-bit voxels, 45 million of them).
BYTES_PER_VOXEL = 3
#: What convolutions take while they run, which a plan does not see, relative to the plan's peak.
GPU_WORKSPACE, CPU_WORKSPACE = 1.25, 2.0


@dataclass(frozen=True)
class ResourceEstimate:
    """Where an estimate would run, and its memory.

    Attributes:
        device: as in `Estimate`.
        device_reason: why there.
        model: name and fingerprint of the model (`Model.identity`).
        memory_bytes: expected peak, of the GPU's memory or of the process on the CPU; None if it cannot be told.
        device_bytes: what the GPU has in all; None on the CPU.
        memory_plan: how a memory budget is kept, one sentence; empty without one.
    """

    device: str
    device_reason: str
    model: str
    memory_bytes: int | None
    device_bytes: int | None
    memory_plan: str


def expected_bytes(network_bytes: int | None, voxels: int, on_gpu: bool) -> int | None:
    """Expected peak of an estimate from that of its network."""
    if network_bytes is None:
        return None
    if on_gpu:
        return round(GPU_WORKSPACE * network_bytes)
    return PROCESS_BYTES + round(CPU_WORKSPACE * network_bytes) + BYTES_PER_VOXEL * voxels
