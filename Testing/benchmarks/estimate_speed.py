"""Seconds of an estimate, stage by stage, and of following a fetus through frames, beside peers over the same volumes.

Everything runs in one process, interleaved, on one device: the CPU, or a GPU, which then is waited for at the end of
each stage of the table by stages and nowhere else. Three peers see the same files: MONAI's sliding_window_inference
with a UNet of the same width at the volume's own spacing; MONAI's usual chain for a whole volume (LoadImage, Spacing,
ResizeWithPadOrCrop, network, argmax) and plain PyTorch (interpolate, network, argmax), both with the engine's own
network, once over the whole view.

    .venv/bin/python Testing/benchmarks/estimate_speed.py [--device auto] [--repeats 3] [--volumes FILE ...]
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from memory_bench.records import put_between_markers
from monai import transforms
from monai.inferers import sliding_window_inference
from monai.networks.nets import UNet
from scipy.spatial.transform import Rotation
from torch.nn import functional as F

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.network_runner import describe_device
from FetusMapV2Lib.evaluation.accuracy_table import markdown_table
from FetusMapV2Lib.exporting import ExportOptions, export
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case

STAGES = ("reading the file", "resampling", "network", "reading heatmaps", "other", "writing the files")
#: A fetus that moves from frame to frame: turn about an oblique axis, degrees, and shift, mm.
_TURN_DEGREES, _SHIFT_MM = 4.0, (0.6, -0.4, 0.5)


class Clock:
    """Seconds by name, over all repeats; waits for a GPU before and after each."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def timed(self, name: str, job: Callable[[], object]) -> float:
        """Seconds of one call, noted."""
        self._settle()
        started = time.perf_counter()
        job()
        self._settle()
        self.seconds[name].append(time.perf_counter() - started)
        return self.seconds[name][-1]

    def median(self, name: str) -> float:
        """NaN without any."""
        return statistics.median(self.seconds[name]) if self.seconds[name] else math.nan

    def _settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def main() -> None:
    """Run all and print the tables."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.cpu_time:
        time.perf_counter = time.process_time  # the engine's own stages, too
    with tempfile.TemporaryDirectory() as scratch:
        paths = arguments.volumes or [_simulated(Path(scratch), arguments.size)]
        started = time.perf_counter()
        engine = PoseEngine.load(arguments.model, arguments.device)
        loaded = time.perf_counter() - started
        clock = Clock(engine._runner.device)
        clock.timed("first estimate", lambda: engine.estimate(read_volume(paths[0])))
        for _ in range(arguments.repeats):
            for path in paths:
                _ours(engine, clock, path, Path(scratch))
                _whole_view_peers(engine, clock, path)
        followed = _follow(engine, clock, read_volume(paths[0]), arguments.frames)
        if not arguments.quick:  # one pass takes minutes on a CPU; its spread does not matter at this ratio
            clock.timed("sliding window", lambda: _sliding_window(engine, read_volume(paths[0])))
    print(_told(clock, arguments, loaded), "\n")
    tables = report(clock, followed)
    print(tables)
    if arguments.page is not None:
        put_between_markers(arguments.page, "estimate gpu", f"{_told(clock, arguments, loaded)}\n\n{tables}\n")


def _told(clock: Clock, arguments: argparse.Namespace, loaded: float) -> str:
    return (
        f"{describe_device(clock.device)}, {arguments.threads} threads, torch {torch.__version__}. Loading the model: "
        f"{loaded:.2f} s, the first estimate after it: {clock.median('first estimate'):.2f} s."
    )


def report(clock: Clock, followed: list[int]) -> str:
    """The tables; `followed` has the number of views of each frame."""
    whole = sum(clock.median(stage) for stage in STAGES)
    stages = markdown_table(
        ("stage (median of each)", "seconds"),
        [*((stage, _shown(clock.median(stage))) for stage in STAGES), ("file to files", _shown(whole))],
    )
    rows = [
        ("estimate, volume in memory", clock.median("estimate")),
        ("the same with refinement `full`", clock.median("full")),
        ("a frame of a moving fetus, near the pose before", clock.median("frame")),
        ("file to landmarks", clock.median("reading the file") + clock.median("estimate")),
        ("MONAI: LoadImage, Spacing, ResizeWithPadOrCrop, network, argmax", clock.median("chain")),
        ("plain PyTorch, volume in memory: interpolate, network, argmax", clock.median("plain")),
        ("MONAI sliding window, UNet of the same width, own spacing (one pass)", clock.median("sliding window")),
    ]
    table = markdown_table(("median", "seconds"), [(name, _shown(seconds)) for name, seconds in rows])
    frames = ""
    if followed:
        frames = f"\n\n{1 / clock.median('frame'):.1f} frames/s, {statistics.mean(followed):.1f} views per frame."
    return f"{stages}\n\n{table}{frames}"


def _shown(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{seconds:.3f}"


def _simulated(folder: Path, size: tuple[int, ...]) -> Path:
    spacing = 0.3 * 460 / size[0]
    case = simulate_case(990_001, 0, shape_kji=size, spacing_mm=spacing, style="held-out")
    write_case(folder, case, 0)
    return folder / "case-0000.nrrd"


def _ours(engine: PoseEngine, clock: Clock, path: Path, folder: Path) -> None:
    clock.timed("reading the file", lambda: read_volume(path))
    volume = read_volume(path)
    estimates: list[Estimate] = []
    clock.timed("estimate", lambda: engine.estimate(volume))
    engine._runner.exact_timings = True
    total = clock.timed("estimate by stages", lambda: estimates.append(engine.estimate(volume)))
    engine._runner.exact_timings = False
    for stage, seconds in estimates[0].timings.items():
        clock.seconds[stage].append(seconds)
    clock.seconds["other"].append(total - sum(estimates[0].timings.values()))
    folder = folder / f"results-{len(clock.seconds['writing the files'])}"
    clock.timed("writing the files", lambda: export(estimates[0], volume, folder, ExportOptions(stem="case")))
    clock.timed("full", lambda: engine.estimate(volume, refine="full"))


def _follow(engine: PoseEngine, clock: Clock, volume: Volume, frames: int) -> list[int]:
    """Frames that are one volume moved further each time; how many views each took."""
    views: list[int] = []
    before = engine.estimate(volume) if frames else None
    for number in range(1, frames + 1):
        motion = np.eye(4)
        motion[:3, :3] = Rotation.from_rotvec(
            np.radians(_TURN_DEGREES * number) * np.array([0.6, 0.0, 0.8])
        ).as_matrix()
        motion[:3, 3] = volume.centre_ras - motion[:3, :3] @ volume.centre_ras + np.array(_SHIFT_MM) * number
        frame = volume.with_(ijk_to_ras=motion @ volume.ijk_to_ras)
        answers: list[Estimate] = []
        clock.timed(
            "frame", lambda before=before, frame=frame, to=answers: to.append(engine.estimate(frame, before=before))
        )
        before = answers[0]
        views.append(len(before.views))
    return views


# --- peers


def _whole_view_peers(engine: PoseEngine, clock: Clock, path: Path) -> None:
    volume = read_volume(path)
    size = engine.model.input_size
    spacing = max(n * mm / m for n, mm, m in zip(volume.shape, volume.spacing[::-1], size, strict=True))
    chain = transforms.Compose(
        [
            transforms.LoadImage(reader="NrrdReader", image_only=True, ensure_channel_first=True),
            transforms.EnsureType(device=clock.device),
            transforms.Spacing((spacing,) * 3, mode="bilinear"),
            transforms.ResizeWithPadOrCrop(size[::-1]),
            transforms.ScaleIntensityRangePercentiles(0, 99.5, 0, 1),
        ]
    )
    clock.timed("chain", lambda: _peaks(engine, chain(path)[None].as_tensor()))
    clock.timed("plain", lambda: _plain(engine, volume, spacing))


@torch.inference_mode()
def _peaks(engine: PoseEngine, batch: torch.Tensor) -> np.ndarray:
    return engine.model.network(batch)[0].flatten(1).argmax(dim=1).cpu().numpy()


@torch.inference_mode()
def _plain(engine: PoseEngine, volume: Volume, spacing: float) -> np.ndarray:
    grey = torch.from_numpy(volume.array).to(engine._runner.device).float()[None, None]
    fitted = [round(n * mm / spacing) for n, mm in zip(volume.shape, volume.spacing[::-1], strict=True)]
    image = F.interpolate(grey, size=fitted, mode="trilinear")
    lacking = [m - n for n, m in zip(fitted, engine.model.input_size, strict=True)]
    image = F.pad(image, [part for lack in reversed(lacking) for part in (lack // 2, lack - lack // 2)])
    return _peaks(engine, image / image.amax())


@torch.inference_mode()
def _sliding_window(engine: PoseEngine, volume: Volume) -> np.ndarray:
    widths = engine.model.network.widths
    network = UNet(3, 1, 22, channels=widths, strides=(2,) * (len(widths) - 1), num_res_units=2)
    network = network.eval().to(engine._runner.device)
    batch = torch.from_numpy(volume.array.astype(np.float32) / 255)[None, None].to(engine._runner.device)
    # Only the running maximum of each landmark is needed; 22 maps of the full volume would take 4 GB.
    best = torch.full((22,), -torch.inf, device=batch.device)

    def remember(window: torch.Tensor) -> torch.Tensor:
        heat = network(window)
        torch.maximum(best, heat.amax(dim=(0, 2, 3, 4)), out=best)
        return heat[:, :1]

    sliding_window_inference(batch, (96, 96, 96), 1, remember, overlap=0.25)
    return best.cpu().numpy()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--model", default=None)
    parser.add_argument("--repeats", type=int, default=3, help="of every volume")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=10, help="of the moving fetus")
    parser.add_argument(
        "--page", type=Path, default=None, help="put the tables, of a GPU, between the markers of this page"
    )
    parser.add_argument("--size", type=_numbers, default=(460, 313, 312), help="k,j,i of the simulated volume")
    parser.add_argument("--quick", action="store_true", help="without the sliding window")
    parser.add_argument(
        "--cpu-time", action="store_true", help="seconds of the process, on a machine that others use too"
    )
    parser.add_argument("--volumes", type=Path, nargs="+", default=None, help="instead of a simulated one")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"Error: {error.line()}") from None
