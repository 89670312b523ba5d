"""Where an estimate will run and what memory it will take. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

#: Python, torch and the other libraries on the CPU (measured on Linux with torch 2.13: 400-500 MiB).
PROCESS_BYTES = 450 * 2**20
#: Of a volume that is read from a file when it is needed (measured: 1.8 for 45 million 8-bit voxels).
BYTES_PER_VOXEL = 3
#: Of an 8-bit volume on a GPU (counted): its voxels, and while blocks are averaged a padded copy and one in float32.
GPU_BYTES_PER_VOXEL = 6
#: Peak with the workspace of convolutions, which a plan does not include, relative to the plan's peak.
GPU_WORKSPACE, CPU_WORKSPACE = 1.25, 2.0


@dataclass(frozen=True)
class ResourceEstimate:
    """Where an estimate would run, and its memory.

    Attributes:
        device: as in `Estimate`.
        device_reason: why there.
        model: name and fingerprint of the model (`Model.identity`).
        memory_bytes: expected peak, of the GPU's memory or of the process on the CPU; None if unknown.
        device_bytes: total memory of the GPU; None on the CPU.
        memory_plan: how a memory budget is kept, one sentence; empty without a budget.
    """

    device: str
    device_reason: str
    model: str
    memory_bytes: int | None
    device_bytes: int | None
    memory_plan: str


def expected_bytes(network_bytes: int | None, voxels: int, on_gpu: bool) -> int | None:
    """Expected peak of an estimate.

    Args:
        network_bytes: peak of its network, None = unknown.
        voxels: of the volume.
        on_gpu: whether the network runs on a GPU.

    Returns:
        Bytes of the GPU, or of the process on the CPU; None if unknown.
    """
    if network_bytes is None:
        return None
    if on_gpu:
        return round(GPU_WORKSPACE * network_bytes) + GPU_BYTES_PER_VOXEL * voxels
    return PROCESS_BYTES + round(CPU_WORKSPACE * network_bytes) + BYTES_PER_VOXEL * voxels
