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
from FetusMapV2Lib.phantom.scene_options import CURRENT, WITHOUT_FETUS, SceneOptions


def simulate(
    output: Annotated[Path, typer.Argument(help="Folder for the cases.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many cases.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same cases.")] = 0,
    start: Annotated[int, typer.Option("--start", min=0, help="Number of the first case.")] = 0,
    size: Annotated[str, typer.Option("--size", help="Voxels, longest side first.")] = "460,313,312",
    spacing: Annotated[float, typer.Option("--spacing", help="Voxel spacing in mm.")] = 0.3,
    empty: Annotated[int, typer.Option("--empty", min=0, help="Leave every N-th case without a fetus (0: none).")] = 0,
    negatives: Annotated[
        str, typer.Option("--negatives", help="What these show: empty, head, organs, spine, tissue, or any of them.")
    ] = "empty",
    partial: Annotated[
        int, typer.Option("--partial", min=0, help="Show only a part of the fetus in every N-th case (0: none).")
    ] = 0,
    twins: Annotated[int, typer.Option("--twins", min=0, help="Show twins in every N-th case (0: none).")] = 0,
    clinging: Annotated[
        int, typer.Option("--clinging", min=0, help="Leave hardly any fluid in every N-th case (0: as it comes).")
    ] = 0,
    anatomy: Annotated[str, typer.Option("--anatomy", help="Bodies: 2026-6 ... 2026-1 (see docs).")] = CURRENT,
    annotated: Annotated[
        bool, typer.Option("--annotated", help="Landmarks as people would set them, not where they are.")
    ] = False,
    styles: Annotated[str, typer.Option("--styles", help="Styles: training, held-out, wide, A, B or C.")] = "training",
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
    if sequence and (empty or partial or twins or clinging or annotated):
        raise InputError(
            "a sequence always shows one whole fetus where it is",
            where="--sequence",
            remedy="Leave out --empty, --partial, --twins, --clinging and --annotated",
        )
    kinds = WITHOUT_FETUS if negatives == "any" else (negatives,)
    for kind in kinds:
        SceneOptions(kind)
    if not set(kinds) <= set(WITHOUT_FETUS):
        raise InputError(
            f"{negatives} shows a fetus", where="--negatives", remedy=f"Choose one of {', '.join(WITHOUT_FETUS)}, any"
        )
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
                    seed,
                    index,
                    sequence,
                    shape_kji=shape,
                    spacing_mm=spacing,
                    style=styles,
                    device=where,
                    scene=SceneOptions(anatomy=anatomy),
                )
                write_moving_case(output, frames, index, frame_interval_s=frame_interval, overwrite=overwrite)
            else:
                shows = _shown(index, {"twins": twins, "partial": partial, "clinging": clinging}, empty, kinds)
                case = simulate_case(
                    seed,
                    index,
                    shape_kji=shape,
                    spacing_mm=spacing,
                    style=styles,
                    device=where,
                    scene=SceneOptions(shows, anatomy, annotated),
                    renderer=renderer,
                )
                write_case(output, case, index, overwrite=overwrite)
            bar.advance(task)
    print_message(f"{count} case(s) in {output}")


def _shown(index: int, others: dict[str, int], empty: int, negatives: tuple[str, ...]) -> str:
    """What the case of this number shows; negatives take turns, and go before all others."""
    if empty and (index + 1) % empty == 0:
        return negatives[((index + 1) // empty - 1) % len(negatives)]
    return next((shows for shows, every in others.items() if every and (index + 1) % every == 0), "fetus")
