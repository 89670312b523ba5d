"""`fetusmap simulate`: simulated volumes with their true landmarks, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from FetusMapV2Lib.cli.console import (
    DeviceOption,
    OverwriteOption,
    check_simulated_spacing,
    parsed_size,
    print_message,
    progress_bar,
)
from FetusMapV2Lib.cli.sequence import check_interval
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.publishing import ensure_replaceable


def simulate(
    output: Annotated[Path, typer.Argument(help="Folder for the cases.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many cases.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same cases.")] = 0,
    start: Annotated[int, typer.Option("--start", min=0, help="Number of the first case.")] = 0,
    size: Annotated[str, typer.Option("--size", help="Voxels, longest side first.")] = "460,313,312",
    spacing: Annotated[float, typer.Option("--spacing", help="Voxel spacing in mm.")] = 0.3,
    empty: Annotated[int, typer.Option("--empty", min=0, help="Leave every N-th case without a fetus (0: none).")] = 0,
    styles: Annotated[str, typer.Option("--styles", help="Vendor styles: training, held-out, A, B or C.")] = "training",
    renderer: Annotated[
        str,
        typer.Option(
            "--renderer",
            help="What makes the pictures: physics, second (another model), contrast (random), mixed, or labels.",
        ),
    ] = "physics",
    sequence: Annotated[
        int, typer.Option("--sequence", min=0, help="Frames of a moving fetus instead of one volume.")
    ] = 0,
    frame_interval: Annotated[float, typer.Option("--frame-interval", help="Seconds between frames.")] = 0.25,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Simulate ultrasound volumes of articulated fetuses with their true landmarks."""
    from FetusMapV2Lib.estimation.network_runner import choose_device
    from FetusMapV2Lib.phantom.motion import simulate_sequence, write_moving_case
    from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case

    shape = parsed_size(size)
    check_simulated_spacing(spacing)
    check_interval(frame_interval)
    if sequence and empty:
        raise InputError("a sequence always shows a fetus", where="--empty", remedy="Leave out --empty or --sequence")
    if sequence and renderer != "physics":
        raise InputError("a sequence is made by the renderer physics alone", where="--renderer", remedy="Leave it out")
    where = str(choose_device(device)[0])
    usable_folder(output)
    for index in range(start, start + count):
        suffixes = (".seq.nrrd",) if sequence else (".nrrd", ".mrk.json", ".json")
        name = f"case-{index:04d}"
        ensure_replaceable(output, name, [f"{name}{suffix}" for suffix in suffixes], overwrite=overwrite)
    with progress_bar() as bar:
        task = bar.add_task("simulating", total=count)
        for index in range(start, start + count):
            if sequence:
                frames = simulate_sequence(
                    seed, index, sequence, shape_kji=shape, spacing_mm=spacing, style=styles, device=where
                )
                write_moving_case(output, frames, index, frame_interval_s=frame_interval, overwrite=overwrite)
            else:
                fetus = not (empty and (index + 1) % empty == 0)
                case = simulate_case(
                    seed,
                    index,
                    shape_kji=shape,
                    spacing_mm=spacing,
                    style=styles,
                    device=where,
                    fetus_present=fetus,
                    renderer=renderer,
                )
                write_case(output, case, index, overwrite=overwrite)
            bar.advance(task)
    print_message(f"{count} case(s) in {output}")
