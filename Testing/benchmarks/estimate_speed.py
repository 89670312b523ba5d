"""Time from a full-size volume file to the result files, beside sliding-window inference over the same volume.

The peer is MONAI's sliding_window_inference with a UNet of the same width at the volume's own spacing; both run in
this process, interleaved, with the same number of threads.

    .venv/bin/python Testing/benchmarks/estimate_speed.py [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import UNet

from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.exporting import ExportOptions, export
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case


def main() -> None:
    """Run both and print seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--volume", type=Path, default=None, help="use this volume instead of simulating one")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.volume or _simulated(Path(scratch))
        engine = PoseEngine.load()
        peer = _peer(engine.model.network.widths)
        ours, theirs = [], []
        for repeat in range(arguments.repeats):
            ours.append(_timed(lambda r=repeat: _estimate(engine, path, Path(scratch) / f"results-{r}")))
            if repeat == 0:  # one pass of the peer takes minutes; its spread does not matter at this ratio
                theirs.append(_timed(lambda: _sliding_window(peer, read_volume(path))))
    print(f"| file to files, model loaded, {arguments.threads} threads | seconds |\n|---|---|")
    print(f"| fetusmap estimate (median of {len(ours)}) | {statistics.median(ours):.1f} |")
    print(f"| MONAI sliding window, UNet of the same width, own spacing | {statistics.median(theirs):.1f} |")
    print(f"| ratio | {statistics.median(theirs) / statistics.median(ours):.1f} |")


def _simulated(folder: Path) -> Path:
    case = simulate_case(990_001, 0, shape_kji=(460, 313, 312), spacing_mm=0.3, style="held-out")
    write_case(folder, case, 0)
    return folder / "case-0000.nrrd"


def _estimate(engine: PoseEngine, path: Path, folder: Path) -> None:
    volume = read_volume(path)
    export(engine.estimate(volume), volume, folder, ExportOptions(stem="case"))


def _peer(widths: tuple[int, ...]) -> torch.nn.Module:
    strides = (2,) * (len(widths) - 1)
    return UNet(3, 1, 22, channels=widths, strides=strides, num_res_units=2).eval()


@torch.inference_mode()
def _sliding_window(network: torch.nn.Module, volume: Volume) -> np.ndarray:
    batch = torch.from_numpy(volume.array.astype(np.float32) / 255)[None, None]
    # Only the running maximum of each landmark is needed; 22 maps of the full volume would take 4 GB.
    best = torch.full((22,), -torch.inf)

    def remember(window: torch.Tensor) -> torch.Tensor:
        heat = network(window)
        torch.maximum(best, heat.amax(dim=(0, 2, 3, 4)), out=best)
        return heat[:, :1]

    sliding_window_inference(batch, (96, 96, 96), 1, remember, overlap=0.25)
    return best.numpy()


def _timed(job) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
