"""`fetusmap estimate` for a file that holds a sequence of volumes: every frame, and the movement.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from FetusMapV2Lib.cli.console import print_message, print_result
from FetusMapV2Lib.cli.items import GuardedEngine, GuardedParts
from FetusMapV2Lib.cli.supervisor_link import supervisor_link
from FetusMapV2Lib.core.errors import InputError

if TYPE_CHECKING:
    from FetusMapV2Lib.anatomy.movement import Movement
    from FetusMapV2Lib.core.progress import OnProgress
    from FetusMapV2Lib.estimation.detection import PresenceRule
    from FetusMapV2Lib.estimation.estimate import Estimate, RefineMode
    from FetusMapV2Lib.exporting.options import ExportOptions
    from FetusMapV2Lib.imaging.volume import Volume

#: How a file counts in the summary of a batch.
Outcome = Literal["found", "doubtful", "empty"]


def check_interval(seconds: float | None) -> None:
    """Refuse an impossible interval between frames.

    Raises:
        InputError: it is not positive, or longer than an hour.
    """
    if seconds is not None and not 0 < seconds < 3600:
        remedy = "Give the seconds from one volume to the next, for example 0.25"
        raise InputError("not an interval between frames", where=f"--frame-interval {seconds:g}", remedy=remedy)


def estimate_frames(
    engine: GuardedEngine,
    frames: GuardedParts[Volume],
    folder: Path,
    options: ExportOptions,
    *,
    refine: RefineMode,
    presence: PresenceRule,
    frame_interval_s: float | None,
    on_progress: OnProgress,
) -> Outcome:
    """Estimate all frames of a sequence and write the results of each and of the movement, all or none.

    Args:
        engine: see `CommandItems.guarded_engine`.
        frames: see `CommandItems.guarded_parts`.
        folder: for all results.
        options: of the export, with the stem of the results.
        refine: see `PoseEngine.estimate`.
        presence: see `PoseEngine.estimate`.
        frame_interval_s: seconds between frames in place of the file's times.
        on_progress: see `estimate_sequence`.

    Returns:
        Whether a fetus was found in a frame, or is doubtful in one, or neither.

    Raises:
        UserError: see `estimate_sequence`; a result exists and may not be overwritten, or cannot be written.
        InputError: some frames cannot be read; the results of the others are written.
    """
    import numpy as np

    from FetusMapV2Lib.estimation.sequence import estimate_sequence, movement_of
    from FetusMapV2Lib.exporting.case_export import export_sequence, frame_stems

    options.check(frames=len(frames))
    times = frames.times_s if frame_interval_s is None else frame_interval_s * np.arange(float(len(frames)))
    estimates = estimate_sequence(engine, frames, refine=refine, presence=presence, on_progress=on_progress)
    movement = movement_of([estimate.pose for estimate in estimates], times)
    supervisor_link().report_activity("writing")
    frames.leave_parts()
    export_sequence(estimates, frames, folder, options, movement)
    _print_results(options.stem, frame_stems(options.stem, len(frames)), estimates, movement)
    return outcome_of(estimates)


def outcome_of(estimates: Sequence[Estimate]) -> Outcome:
    """How a file counts in the summary: as found if a fetus was found in any volume of it."""
    grades = {estimate.status for estimate in estimates}
    return "found" if "found" in grades else "doubtful" if "doubtful" in grades else "empty"


def summary(movement: Movement) -> str:
    """Which parts move when, in one line."""
    seconds = movement.time_unit == "s"
    movements = []
    for part in movement.part_list:
        periods = movement.periods_of(part.key)
        when = ", ".join(f"{period.start:.3g}-{period.end:.3g}" for period in periods)
        if periods:
            movements.append(f"{part.name.lower()} {when} s" if seconds else f"{part.name.lower()} in frames {when}")
    return "moves: " + "; ".join(movements) if movements else "no movement above the noise"


def _print_results(stem: str, stems: Sequence[str], estimates: Sequence[Estimate], movement: Movement) -> None:
    """Print the results of each frame and of the movement; raise an error for frames that cannot be read."""
    from FetusMapV2Lib.exporting.movement_document import UNKNOWN_TIMES

    for name, estimate in zip(stems, estimates, strict=True):
        if estimate.status != "unreadable":
            print_result(name, estimate)
    if movement.time_unit != "s":
        print_message(f"{stem}: {UNKNOWN_TIMES} Give --frame-interval.", "yellow")
    print_message(f"{stem}: {summary(movement)}")
    unusable = [name for name, estimate in zip(stems, estimates, strict=True) if estimate.status == "unreadable"]
    if unusable:
        problem = f"{len(unusable)} of {len(stems)} frames cannot be used"
        raise InputError(problem, where=", ".join(unusable), remedy=f"{stem}.movement.json says why")
