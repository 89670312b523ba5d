"""What `fetusmap estimate` does with a file that holds a sequence of volumes: every frame, and the movement.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from FetusMapV2Lib.cli.batch import Careful, CarefulEngine
from FetusMapV2Lib.cli.console import say, tell
from FetusMapV2Lib.cli.journal import journal
from FetusMapV2Lib.cli.result_files import Extras, asked_files, stage_all
from FetusMapV2Lib.cli.result_names import origin_of, untold
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.packages import require_package
from FetusMapV2Lib.core.publishing import published

if TYPE_CHECKING:
    from FetusMapV2Lib.anatomy.movement import Movement
    from FetusMapV2Lib.estimation.estimate import Estimate, RefineMode
    from FetusMapV2Lib.imaging.volume import Volume


def check_interval(seconds: float | None) -> None:
    """Refuse an interval between frames that cannot be.

    Raises:
        InputError: it is not positive.
    """
    if seconds is not None and not 0 < seconds < 3600:
        remedy = "Give the seconds from one volume to the next, for example 0.25"
        raise InputError("no interval between frames", where=f"--frame-interval {seconds:g}", remedy=remedy)


def estimate_frames(
    engine: CarefulEngine,
    frames: Careful[Volume],
    stems: Sequence[str],
    source: Path,
    stem: str,
    folder: Path,
    *,
    refine: RefineMode,
    frame_interval_s: float | None,
    extras: Extras,
    overwrite: bool,
    on_progress: Callable[[float, str], None],
) -> bool:
    """Estimate all frames of a sequence and write the results of each and of the movement, all or none.

    Args:
        stems: names of the frames' results.
        source: the file or folder that holds the frames.
        stem: name of the movement's results.
        folder: for all results.
        frame_interval_s: seconds between frames in place of the file's times.
        extras: written for each frame, but one scene of the whole sequence; with a picture, one of the movement too.

    Returns:
        Whether a fetus was found in any frame.

    Raises:
        UserError: see `estimate_sequence`; a result exists and may not be overwritten, or cannot be written.
        InputError: some frames cannot be read; the results of the others are written.
    """

    import numpy as np

    from FetusMapV2Lib.estimation.sequence import estimate_sequence, movement_of

    if extras.picture:
        require_package("matplotlib", "the picture of a movement", "evaluate")
    asked = [path.name for path in asked_files(folder, stem, stems, extras)]
    times = frames.times_s if frame_interval_s is None else frame_interval_s * np.arange(float(len(frames)))
    estimates = estimate_sequence(engine, frames, refine=refine, on_progress=on_progress)
    movement = movement_of([estimate.pose for estimate in estimates], times)
    journal().sign("writing")
    if not extras.identifiers:
        estimates = tuple(untold(one, source, name) for name, one in zip(stems, estimates, strict=True))
    origin = origin_of(source) if extras.identifiers else ""
    private = not extras.shared
    with published(folder, stem, asked=asked, overwrite=overwrite, private=private, origin=origin) as staging:
        for number, (name, estimate) in enumerate(zip(stems, estimates, strict=True)):
            if estimate.status != "unreadable":
                each = replace(extras, scene=False)
                stage_all(staging, name, estimate, frames[number], each, source)
        frames.all_begun()
        _write_movement(staging, stem, frames, estimates, movement, extras)
    _tell_all(stem, stems, estimates, movement)
    return any(estimate.found for estimate in estimates)


def summary(movement: Movement) -> str:
    """Who moves when, in one line."""
    seconds = movement.time_unit == "s"
    told = []
    for part in movement.part_list:
        periods = movement.periods_of(part.key)
        when = ", ".join(f"{period.start:.3g}-{period.end:.3g}" for period in periods)
        if periods:
            told.append(f"{part.name.lower()} {when} s" if seconds else f"{part.name.lower()} in frames {when}")
    return "moves: " + "; ".join(told) if told else "no movement above the noise"


def _tell_all(stem: str, stems: Sequence[str], estimates: Sequence[Estimate], movement: Movement) -> None:
    """Say what came out for each frame and for the movement; complain about frames that cannot be read."""
    from FetusMapV2Lib.export.movement_files import UNKNOWN_TIMES

    for name, estimate in zip(stems, estimates, strict=True):
        if estimate.status != "unreadable":
            tell(name, estimate)
    if movement.time_unit != "s":
        say(f"{stem}: {UNKNOWN_TIMES} Give --frame-interval.", "yellow")
    say(f"{stem}: {summary(movement)}")
    unusable = [name for name, estimate in zip(stems, estimates, strict=True) if estimate.status == "unreadable"]
    if unusable:
        problem = f"{len(unusable)} of {len(stems)} frames cannot be used"
        raise InputError(problem, where=", ".join(unusable), remedy=f"{stem}.movement.json says why")


def _write_movement(
    folder: Path, stem: str, frames: Sequence[Volume], estimates: Sequence[Estimate], movement: Movement, extras: Extras
) -> None:
    from FetusMapV2Lib.export.movement_files import stage_movement

    stage_movement(folder, stem, movement, estimates)
    if extras.picture:
        from FetusMapV2Lib.evaluation.movement_figure import write_movement_figure

        write_movement_figure(folder / f"{stem}.movement.png", movement, stem)
    if extras.scene and any(estimate.found for estimate in estimates):
        from FetusMapV2Lib.scene.pose_sequence import write_sequence_scene

        times = movement.times if movement.time_unit == "s" else None
        write_sequence_scene(folder / f"{stem}.mrb", frames, estimates, times)
