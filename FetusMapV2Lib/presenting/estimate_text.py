"""Texts about an estimate: its warnings, the resources it needs, and its details."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.pose import Pose, shown_confidence
from FetusMapV2Lib.presenting.durations import duration_text
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.presenting.translation import translator

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate, TwoRegions
    from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate

_ = translator(__name__)

Array = NDArray[np.float64]
_LOW_SIDE_CONFIDENCE = 0.5
_LEAST_CERTAIN = 3


def warnings_text(estimate: Estimate) -> str:
    """The warnings of an estimate and of uncertain sides, one per line; empty without any."""
    lines = list(estimate.warnings)
    sides = estimate.pose.laterality
    if sides is not None and min(sides.arms_confidence, sides.legs_confidence) < _LOW_SIDE_CONFIDENCE:
        lines.append(_("Left and right are uncertain in this pose; check the sides."))
    return "\n".join(lines)


def frames_text(estimates: Sequence[Estimate], *, are_times_known: bool) -> tuple[str, Tone]:
    """In how many frames of a sequence a fetus was found, and the warnings about them, one per line, in their tone."""
    count, found = len(estimates), sum(estimate.found for estimate in estimates)
    lines = [_("A fetus was found in {0} of {1} frames.").format(found, count)]
    doubtful = sum(estimate.has_pose and not estimate.found for estimate in estimates)
    if doubtful:
        lines.append(_("It is doubtful in {0} frames.").format(doubtful))
    if found < count:
        lines.append(next(estimate.reason for estimate in estimates if not estimate.found))
    lines += dict.fromkeys(warning for estimate in estimates for warning in estimate.warnings)
    if not are_times_known:
        lines.append(_("The times of the frames are unknown: speeds are per frame."))
    return "\n".join(lines), Tone.SUCCESS if len(lines) == 1 else Tone.WARNING


def resource_text(
    resources: ResourceEstimate, usual_seconds: float | None, elsewhere_seconds: float | None = None
) -> str:
    """On which device an estimate will run and why, its duration and its memory.

    Args:
        resources: what the engine expects.
        usual_seconds: the usual duration of such estimates on this computer; None if unknown.
        elsewhere_seconds: that on another computer, for the first estimate; None if unknown.
    """
    device = _("the processor (CPU)") if resources.device == "cpu" else resources.device
    sentences = [_("Runs on {0}: {1}.").format(device, resources.device_reason)]
    if usual_seconds is not None:
        sentences.append(_("Takes about {0}.").format(duration_text(usual_seconds)))
    elif elsewhere_seconds is not None:
        sentences.append(_("Took about {0} on another computer.").format(duration_text(elsewhere_seconds)))
    else:
        sentences.append(_("The duration is known after the first estimate."))
    if resources.memory_bytes is not None and resources.device_bytes is not None:
        text = _("Memory: about {0:.1f} of {1:.1f} GiB.")
        sentences.append(text.format(resources.memory_bytes / 2**30, resources.device_bytes / 2**30))
    elif resources.memory_bytes is not None:
        sentences.append(_("Memory: about {0:.1f} GiB.").format(resources.memory_bytes / 2**30))
    return " ".join(sentences)


def detail_rows(pose: Pose, estimate: Estimate | None, model: str) -> list[tuple[str, str]]:
    """Name and text of each detail of a pose: landmarks, certainty, sides, model, device, time and memory.

    Args:
        pose: the pose as it is now, with its edits.
        estimate: the estimate that produced it; None if unknown.
        model: name and checksum of the model; empty if unknown.
    """
    rows = [(_("Landmarks"), _("{0} of {1}").format(int(pose.present.sum()), len(pose.present)))]
    if pose.doubt:
        rows.insert(0, (_("Fetus"), _("doubtful: {0}").format(pose.doubt)))
    elif estimate is not None:
        rows.insert(0, (_("Fetus"), _("found")))
    if pose.confidence is not None:
        rows.append((_("Least certain"), _least_certain(pose, pose.confidence)))
    two = {} if estimate is None else estimate.regions_in(pose)
    if two:
        rows.append((_("Two places"), "; ".join(_two_places(pose, row, one) for row, one in two.items())))
    if pose.laterality is not None:
        sides = pose.laterality.arms_confidence, pose.laterality.legs_confidence
        rows.append((_("Sides"), _("arms {0}, legs {1} certain").format(*map(shown_confidence, sides))))
    if model:
        rows.append((_("Model"), model))
    if estimate is not None:
        rows.append((_("Device"), f"{estimate.device} ({estimate.device_reason})"))
        rows.append((_("Time"), _("{0:.1f} s").format(sum(estimate.timings.values()))))
        if estimate.memory_plan:
            rows.append((_("Memory"), estimate.memory_plan))
    return rows


def _two_places(pose: Pose, row: int, two: TwoRegions) -> str:
    apart = float(np.linalg.norm(two.second.position - two.first.position))
    return _("{0}: perhaps {1:.0f} mm away").format(pose.schema.landmarks[row].name, apart)


def _least_certain(pose: Pose, confidence: Array) -> str:
    order = np.argsort(np.nan_to_num(confidence, nan=2.0))[:_LEAST_CERTAIN]
    return ", ".join(f"{pose.schema.landmarks[row].name} {shown_confidence(confidence[row])}" for row in order)
