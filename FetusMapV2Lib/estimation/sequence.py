"""Poses over a sequence of volumes: each is searched near the pose before, and sides are settled over all frames.

Works with an engine in this or in another process; needs no torch itself.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.movement import Movement, analyse_movement
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.side_tracking import track_sides
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel, Stages
from FetusMapV2Lib.estimation.detection import MODELS_RULE, PresenceRule
from FetusMapV2Lib.estimation.estimate import Estimate, RefineMode
from FetusMapV2Lib.estimation.requests import Engine, EstimateRequest
from FetusMapV2Lib.imaging.volume import Volume

Array = NDArray[np.float64]

EXCHANGED = "Left and right limbs of this frame were exchanged to agree with the other frames."


def estimate_sequence(
    engine: Engine,
    frames: Sequence[Volume],
    *,
    refine: RefineMode = "off",
    presence: PresenceRule = MODELS_RULE,
    on_progress: OnProgress | None = None,
    should_cancel: ShouldCancel | None = None,
) -> tuple[Estimate, ...]:
    """Estimate the pose in every frame.

    A frame without a fetus gives an estimate as any other, and so does one that cannot be read, with the reason.

    Args:
        engine: stays warm from frame to frame.
        frames: volumes over time, each read once and in order.
        refine: see `PoseEngine.estimate`.
        presence: see `PoseEngine.estimate`.
        on_progress: see `core.progress`.
        should_cancel: see `core.progress`.

    Returns:
        One estimate per frame, left and right settled over the whole sequence (`side_tracking.track_sides`).

    Raises:
        Cancelled: `should_cancel` said yes; nothing is kept.
        UserError: no frame can be read, or the engine refuses.

    Examples:
        >>> estimates = fm.estimate_sequence(engine, fm.read_sequence("case-0000.nrrd"))
        >>> [estimate.status for estimate in estimates]
        ['found']
    """
    job = sequence_job(
        engine, frames, refine=refine, presence=presence, on_progress=on_progress, should_cancel=should_cancel
    )
    return job.result()


def sequence_job(
    engine: Engine,
    frames: Sequence[Volume],
    *,
    refine: RefineMode = "off",
    presence: PresenceRule = MODELS_RULE,
    on_progress: OnProgress | None = None,
    should_cancel: ShouldCancel | None = None,
) -> Job[tuple[Estimate, ...]]:
    """`estimate_sequence` as a job, which waits whenever the engine does and between frames."""
    return Job(_estimate_frames(engine, frames, refine, presence, on_progress, should_cancel))


def _estimate_frames(
    engine: Engine,
    frames: Sequence[Volume],
    refine: RefineMode,
    presence: PresenceRule,
    on_progress: OnProgress | None,
    should_cancel: ShouldCancel | None,
) -> Generator[None, None, tuple[Estimate, ...]]:
    estimates: list[Estimate] = []
    last_found: Estimate | None = None
    unreadable: InputError | None = None
    count = len(frames)
    stages = Stages(on_progress, should_cancel)
    for number in range(count):

        def report(fraction: float, stage: str, number: int = number) -> None:
            stages.reach((number + fraction) / count, f"frame {number + 1} of {count}: {stage}")

        report(0.0, "reading")
        yield
        try:
            request = EstimateRequest(frames[number], last_found, refine, presence)
            estimate = yield from engine.submit(request, report, should_cancel)
        except InputError as error:
            unreadable = unreadable or error
            estimates.append(_unusable(error))
            continue
        estimates.append(estimate)
        last_found = estimate if estimate.found else last_found
    if unreadable is not None and all(estimate.status == "unreadable" for estimate in estimates):
        raise unreadable
    settled = with_tracked_sides(estimates)
    stages.reach(1.0, "done")
    return settled


def with_tracked_sides(estimates: Sequence[Estimate]) -> tuple[Estimate, ...]:
    """The estimates of a sequence with left and right alike in all frames; a warning says where they were exchanged."""
    if not any(estimate.has_pose for estimate in estimates):
        return tuple(estimates)
    positions, radii = stacked([estimate.pose for estimate in estimates])
    sides = track_sides(positions, estimates[0].pose.schema, radii)
    settled = []
    for number, estimate in enumerate(estimates):
        if estimate.has_pose:
            pose = _reordered(estimate.pose, sides.order[number])
            laterality = sides.laterality[number]
            given = estimate.pose.laterality
            if given is not None:  # exchanged twice is not exchanged
                laterality = replace(
                    laterality,
                    arms_swapped=laterality.arms_swapped != given.arms_swapped,
                    legs_swapped=laterality.legs_swapped != given.legs_swapped,
                )
            warnings = (*estimate.warnings, EXCHANGED) if sides.changed[number] else estimate.warnings
            estimate = replace(estimate, pose=replace(pose, laterality=laterality), warnings=warnings)
        settled.append(estimate)
    return tuple(settled)


def movement_of(poses: Sequence[Pose], times_s: Array | None = None) -> Movement:
    """The movement over a sequence of poses, all landmarks missing where there is no fetus.

    Args:
        poses: one per frame.
        times_s: (T,) seconds, None = unknown.

    Raises:
        ValueError: see `analyse_movement`.
    """
    positions, radii = stacked(poses)
    return analyse_movement(positions, poses[0].schema, times_s, radii)


def stacked(poses: Sequence[Pose]) -> tuple[Array, Array]:
    """Positions (T, N, 3) and 90 % radii (T, N) of poses, NaN where unknown."""
    positions = np.stack([pose.positions for pose in poses])
    unknown = np.full(positions.shape[1], np.nan)
    return positions, np.stack([unknown if pose.radius90_mm is None else pose.radius90_mm for pose in poses])


def _unusable(error: InputError) -> Estimate:
    """The estimate of a frame that cannot be read."""
    nowhere = Estimate.given(Pose.missing())
    return replace(nowhere, status="unreadable", reason=f"The frame cannot be used: {error.problem}.")


def _reordered(pose: Pose, order: NDArray[np.intp]) -> Pose:
    return replace(
        pose,
        positions=pose.positions[order],
        confidence=None if pose.confidence is None else pose.confidence[order],
        radius90_mm=None if pose.radius90_mm is None else pose.radius90_mm[order],
    )
