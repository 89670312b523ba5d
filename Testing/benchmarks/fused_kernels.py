"""On a GPU: the fused kernels beside the plain operations, transfers to the host, and cuDNN's workspace.

Sizes are those of the paper's network at full resolution. Medians of runs between two events; bytes are what an
operation has to read and write.

    .venv/bin/python Testing/benchmarks/fused_kernels.py [--rows 176] [--limit-mib 256] [--device cpu]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from FetusMapV2Lib.memory.fused.availability import usable
from FetusMapV2Lib.memory.fused.kernels import FusedKernels
from FetusMapV2Lib.memory.kernels import TorchKernels
from FetusMapV2Lib.memory.offload import HostMemory
from FetusMapV2Lib.memory.workspace import ConvolutionShape, limit_workspace, measure_workspace

CHANNELS = 40
ALL = slice(None)


def main() -> None:
    arguments = _arguments()
    if arguments.limit_mib and not limit_workspace(arguments.limit_mib << 20):
        raise SystemExit("the bound on the workspace does not hold")
    device = torch.device(arguments.device)
    if not usable(device):
        raise SystemExit("the fused kernels do not run here")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "Triton's interpreter on a CPU"
    print(name, torch.__version__, "\n")
    print(
        "| operation | type | bytes, MB | fused ms | GB/s | plain ms | plain / fused |\n|---|---|--:|--:|--:|--:|--:|"
    )
    for dtype in (torch.float32, torch.bfloat16):
        for name, count, run in operations(arguments.rows, arguments.width, dtype, device):
            fused, plain = (median(partial(run, kernels), device) for kernels in (FUSED, PLAIN))
            kind, speed = str(dtype).split(".")[1], count / fused / 1e6
            print(f"| {name} | {kind} | {count / 1e6:.0f} | {fused:.3f} | {speed:.0f} | {plain:.3f} | ", end="")
            print(f"{plain / fused:.1f} |")
    print("\n" + transfers(device, arguments.width))
    print("\n| convolution | forward MB | input gradient MB | weight gradient MB |\n|---|--:|--:|--:|")
    width = arguments.width
    for rows in (arguments.rows, 16):
        for dtype in (torch.float32, torch.bfloat16):
            shape = ConvolutionShape(
                (1, CHANNELS, rows, width, width), (CHANNELS, CHANNELS, 3, 3, 3), (1, 1, 1), dtype=dtype
            )
            found = measure_workspace(shape, device)
            each = (found.forward, found.input_gradient, found.weight_gradient)
            print(f"| {rows} rows, {dtype} | " + " | ".join(f"{n / 1e6:.1f}" for n in each) + " |")


LAYOUT = torch.channels_last_3d
FUSED, PLAIN = FusedKernels(LAYOUT), TorchKernels(LAYOUT)


def operations(
    rows: int, width: int, dtype: torch.dtype, device: torch.device
) -> Iterator[tuple[str, int, Callable[[Any], Any]]]:
    """Name, bytes that have to be moved, and how it is run."""
    z, g, y = (
        torch.randn((1, CHANNELS, rows, width, width), device=device).to(dtype).contiguous(memory_format=LAYOUT)
        for _ in range(3)
    )
    size = z.numel() * z.element_size()
    found = PLAIN.statistics(z, False)
    gamma, beta = torch.ones(CHANNELS, device=device), torch.zeros(CHANNELS, device=device)
    scale = PLAIN.scale_and_shift(found, gamma, beta, 1e-5, ALL)
    sums = PLAIN.norm_sums(g, z, found, scale[2], ALL)
    pooled = PLAIN.pool(z).contiguous(memory_format=LAYOUT)
    out = torch.empty_like(z)
    coarse = torch.zeros_like(pooled)
    yield "statistics", size, lambda k: k.statistics(z, False)
    yield "norm and ReLU", 2 * size, lambda k: k.activate(z, scale, 0.0, False, out)
    yield "mask and sums", 3 * size, lambda k: k.masked_sums(g, y, z, scale, found, 0.0)
    yield "gradient of the norm", 3 * size, lambda k: k.norm_backward(g, z, scale, found, sums, ALL, out)
    yield "norm, ReLU and pooling", size * 9 // 8, lambda k: k.pool_activated(z, scale, 0.0)
    yield "gradient of pooling, added", size * 25 // 8, lambda k: k.add_pool_backward(g, pooled, y)
    yield "upsampling", size * 9 // 8, lambda k: k.upsample(pooled, _twice)
    yield "gradient of upsampling, added", size * 10 // 8, lambda k: k.add_upsample_backward(coarse, g, 0, rows)


def transfers(device: torch.device, width: int) -> str:
    """Parking and fetching beside a computation of about the same length, and each alone."""
    memory = HostMemory(device)
    tensors = [torch.zeros((1, CHANNELS, 32, width, width), device=device) for _ in range(8)]
    count = 2 * sum(x.numel() * x.element_size() for x in tensors)
    side = 8192 if device.type == "cuda" else 64
    a = torch.randn(side, side, device=device)

    def both(compute: bool, move: bool) -> None:
        parked = []
        for x in tensors:
            if compute:
                a @ a
            if move:
                parked.append(memory.park(x))
        while parked:
            if compute:
                a @ a
            memory.fetch(parked.pop())
        memory.clear()

    alone, move, together = (
        median(lambda s=s: both(*s), device, 5) for s in ((True, False), (False, True), (True, True))
    )
    return (
        f"Transfers of {count / 1e9:.2f} GB: {move:.1f} ms ({count / move / 1e6:.0f} GB/s); "
        f"a computation {alone:.1f} ms; both {together:.1f} ms"
    )


def median(run: Callable[[], Any], device: torch.device, times: int = 15) -> float:
    """Milliseconds; on a CPU, where only that it runs matters, of one run."""
    if device.type != "cuda":
        started = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - started)
    for _ in range(3):
        run()
    found = []
    for _ in range(times):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end))
    return statistics.median(found)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=176, help="of the full-resolution tensors, even")
    parser.add_argument("--width", type=int, default=112, help="of the other two axes, even")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu: under TRITON_INTERPRET=1")
    parser.add_argument("--limit-mib", type=int, default=0, help="bound on cuDNN's workspace")
    return parser.parse_args()


if __name__ == "__main__":
    main()
