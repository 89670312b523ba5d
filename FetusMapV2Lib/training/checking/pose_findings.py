"""What the landmarks of one case tell by themselves: missing, outside, exchanged sides, impossible lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.laterality import Laterality, resolve_sides
from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.estimation.detection import PLAUSIBLE_LENGTH_MM
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.training.checking.finding import Finding, Severity

#: Confidence of Eq. 7 from which names that contradict it are an error, not a doubt.
SURE_SIDES = 0.5
#: Landmarks this far outside the volume were placed on another one; a little outside is a matter of rounding, mm.
_FAR_OUTSIDE_MM = 5.0
#: Landmarks closer than this are one point placed twice, mm: the nearest ones of bodies are 2 mm apart.
_SAME_PLACE_MM = 0.3
#: Neighbours in the skeleton farther apart than this share of the crown-rump length: one is misplaced or misnamed. None
#: of 60 simulated bodies reaches 0.55.
_LONGEST_EDGE = 0.8
#: Length of a lower over an upper limb bone. Median of 19,816 real fetal poses: 0.94 in arms and legs.
_BONE_RATIO = (0.55, 1.7)
_LOOK = "Look at the landmarks in Slicer"


class Place(NamedTuple):
    """Where a finding is: the case and the file of its landmarks."""

    case: str
    file: str

    def finding(self, severity: Severity, kind: str, landmark: str, problem: str, remedy: str) -> Finding:
        """A finding there."""
        return Finding(severity, kind, self.case, self.file, landmark, problem, remedy)


def pose_findings(place: Place, pose: Pose, volume: Volume | None) -> list[Finding]:
    """All findings about the landmarks of a case with a fetus.

    Args:
        place: of the findings.
        pose: at least one landmark is placed.
        volume: of the case; None if it could not be read.
    """
    outside = list(_outside(place, pose, volume)) if volume is not None else []
    found = [*_missing(place, pose), *outside, *_same_place(place, pose), *_sides(place, pose)]
    if any(one.severity == "error" for one in outside):
        return found  # its lengths would only say the same again
    return [*found, *_lengths(place, pose)]


def contradicting_sides(pose: Pose) -> bool:
    """Whether arms and legs both, and surely, contradict the geometry: the volume or its landmarks are mirrored."""
    sides = resolve_sides(pose.positions, pose.schema)[1]
    sure = min(sides.arms_confidence, sides.legs_confidence) >= SURE_SIDES
    return sure and sides.arms_swapped and sides.legs_swapped


def _missing(place: Place, pose: Pose) -> Iterator[Finding]:
    names = [mark.name for mark in pose.schema.landmarks if not pose.present[mark.row]]
    if names:
        problem = f"{len(names)} of {pose.schema.count} landmarks are missing"
        yield place.finding("warning", "missing", ", ".join(names), problem, "Place them if they can be seen")


def _outside(place: Place, pose: Pose, volume: Volume) -> Iterator[Finding]:
    beyond = _outside_mm(pose.positions, volume)
    for mark in pose.schema.landmarks:
        distance = beyond[mark.row]
        if not distance > 0:
            continue
        severity: Severity = "error" if distance > _FAR_OUTSIDE_MM else "warning"
        remedy = f"{_LOOK}; if all are off, they belong to another volume or its position was changed"
        yield place.finding(severity, "outside", mark.name, f"lies {distance:.1f} mm outside the volume", remedy)


def _outside_mm(positions: NDArray[np.float64], volume: Volume) -> NDArray[np.float64]:
    """Distance of each landmark from the volume's box, mm; 0 inside, NaN where missing."""
    matrix = np.linalg.inv(volume.ijk_to_ras)
    index = positions @ matrix[:3, :3].T + matrix[:3, 3]
    last = np.array(volume.shape[::-1]) - 0.5
    over = np.maximum(np.maximum(-0.5 - index, index - last), 0.0) * np.array(volume.spacing)
    return np.asarray(np.linalg.norm(over, axis=1))


def _same_place(place: Place, pose: Pose) -> Iterator[Finding]:
    distances = np.linalg.norm(pose.positions[:, None] - pose.positions[None], axis=2)
    for first, second in np.argwhere(np.triu(distances < _SAME_PLACE_MM, 1)):
        names = f"{pose.schema.landmarks[first].name} and {pose.schema.landmarks[second].name}"
        yield place.finding("error", "same-place", names, "lie at the same place", "Move one of them, or remove it")


def _sides(place: Place, pose: Pose) -> Iterator[Finding]:
    sides = resolve_sides(pose.positions, pose.schema)[1]
    if contradicting_sides(pose):
        yield place.finding(
            "error", "mirrored", "all arms and legs", "left and right contradict the anatomy everywhere",
            "Exchange left and right if they were named as on the screen; export the volume again if it is mirrored",
        )  # fmt: skip
        return
    for limb, swapped, confidence in _limbs(sides):
        if swapped and confidence > 0:
            sure = confidence >= SURE_SIDES
            yield place.finding(
                "error" if sure else "warning", "sides", limb,
                "left and right are exchanged" if sure else "left and right may be exchanged",
                f"{_LOOK} and exchange left and right where they are wrong",
            )  # fmt: skip


def _limbs(sides: Laterality) -> tuple[tuple[str, bool, float], ...]:
    return (
        ("Arms", sides.arms_swapped, sides.arms_confidence),
        ("Legs", sides.legs_swapped, sides.legs_confidence),
    )


def _lengths(place: Place, pose: Pose) -> Iterator[Finding]:
    derived = measurements(pose)
    crl = derived.crl.value_mm
    low, high = PLAUSIBLE_LENGTH_MM
    if math.isfinite(crl) and not low <= crl <= high:
        problem = f"the crown-rump length is {crl:.0f} mm, no fetus of 10-15 weeks ({low:.0f} to {high:.0f} mm)"
        yield place.finding("error", "length", "", problem, "Check the voxel size of the volume, then the landmarks")
        return
    yield from _edges(place, pose, crl)
    yield from _bone_ratios(place, pose)
    for check in derived.checks:
        if check.key != "neck_posture" and check.verdict == "flagged":
            problem = (
                f"{check.value:.1f} mm, {check.remark} (usually {check.limits[0]:.1f} to {check.limits[1]:.1f} mm)"
            )
            yield place.finding("warning", "length", check.name, problem, f"{_LOOK}; keep it if it is right")


def _edges(place: Place, pose: Pose, crl: float) -> Iterator[Finding]:
    for edge in pose.schema.edges:
        length = float(np.linalg.norm(pose.positions[edge.end] - pose.positions[edge.start]))
        if length > _LONGEST_EDGE * crl:
            names = f"{pose.schema.landmarks[edge.start].name} and {pose.schema.landmarks[edge.end].name}"
            problem = f"are {length:.0f} mm apart at a crown-rump length of {crl:.0f} mm"
            yield place.finding("error", "apart", names, problem, "One of them is misplaced or has another's name")


def _bone_ratios(place: Place, pose: Pose) -> Iterator[Finding]:
    schema = pose.schema
    for group in ("la", "ra", "ll", "rl"):
        rows = schema.rows(group)
        if len(rows) != 3:
            continue
        upper, lower = (float(length) for length in np.linalg.norm(np.diff(pose.positions[list(rows)], axis=0), axis=1))
        low, high = _BONE_RATIO
        if upper > 0 and math.isfinite(lower) and not low <= lower / upper <= high:
            names = " - ".join(schema.landmarks[row].name for row in rows)
            problem = f"the outer bone is {lower / upper:.2f} times the inner one (usually {low:g} to {high:g})"
            yield place.finding("warning", "bones", names, problem, f"{_LOOK}; one of the three may be misplaced")
