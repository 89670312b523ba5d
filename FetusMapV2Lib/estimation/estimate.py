"""What the engine answers for one volume, and what it saw in each view. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_frame import BodyFrame
from FetusMapV2Lib.anatomy.laterality import row_order
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.imaging.grid import Grid

Array = NDArray[np.float64]


#: What the network is shown: the whole volume, the surroundings of a body in a large one, a close view along the
#: body, a tight one around its landmarks, or patches that cover the volume.
View = Literal["whole", "surroundings", "close", "tight", "patch"]
RefineMode = Literal["off", "prior", "full"]
SHOWN_ON_REQUEST = "Shown on request."
#: Three grades of presence, and "unreadable", which is only in a sequence.
Status = Literal["found", "doubtful", "none", "unreadable"]


@dataclass(frozen=True)
class Refinement:
    """What refinement did to an estimate.

    Attributes:
        mode: "off", "prior" (library and heatmaps weighed) or "full" (network tuned on this volume).
        moved: numbers of the landmarks that it moved.
        pinned: numbers of the landmarks that were set by hand.
        iterations: of the network that was kept; 0 = the untuned one.
        residual_before_mm, residual_after_mm: distance of the pose from the nearest library poses before and
            after, the criterion by which an iterate is kept; None where it was not measured.
    """

    mode: RefineMode = "off"
    moved: tuple[int, ...] = ()
    pinned: tuple[int, ...] = ()
    iterations: int = 0
    residual_before_mm: float | None = None
    residual_after_mm: float | None = None


def check_mode(mode: str) -> RefineMode:
    """The mode, if it is one.

    Raises:
        UserError: it is none of `RefineMode`.
    """
    if mode not in get_args(RefineMode):
        raise UserError(f"unknown refinement {mode!r}", remedy=f"Use one of: {', '.join(get_args(RefineMode))}")
    return cast(RefineMode, mode)


@dataclass(frozen=True, eq=False)
class ViewPrediction:
    """What the network saw in one view: landmarks with the shape of their heatmaps.

    Attributes:
        view: of which kind.
        positions: (22, 3) RAS mm.
        spread_mm: (22,) spread of each heatmap around its landmark.
        peak_mass: (22,) probability mass around its landmark.
        frame: the body frame of these landmarks, None with too few of them.
        hypotheses: where the body may lie, most likely first; of a whole view alone.
        grid: of the image that the network was shown.
        features: (F,) statistics of the network's feature maps (`Familiarity`); None if they were not measured.
        second_peaks: (22, 5) of the heatmaps with two peaks, where limbs are decoded as wholes: RAS mm of the second,
            probability mass around it, and its spread in mm; NaN for the others.
    """

    view: View
    positions: Array
    spread_mm: Array
    peak_mass: Array
    frame: BodyFrame | None
    hypotheses: tuple[BodyFrame, ...] = ()
    grid: Grid | None = field(default=None, repr=False)
    features: Array | None = field(default=None, repr=False)
    second_peaks: Array | None = field(default=None, repr=False)

    @property
    def mean_peak_mass(self) -> float:
        """Probability mass around the landmarks, 0-1, averaged over them."""
        return float(self.peak_mass.mean())


@dataclass(frozen=True, eq=False)
class Region:
    """A ball around a peak of a heatmap.

    Attributes:
        position: (3,) RAS mm.
        mass: probability mass around the peak, 0-1.
        radius90_mm: of the ball.
    """

    position: Array
    mass: float
    radius90_mm: float


@dataclass(frozen=True, eq=False)
class TwoRegions:
    """Two regions that together hold a landmark in 90 % of cases, as its heatmap has two peaks.

    Both are small where `Pose.radius90_mm`, around the first alone, has to reach to the other peak.

    Attributes:
        heatmap: row of the heatmap, whose limb the pose may have put on the other side.
        first: where the heatmap puts the landmark.
        second: where it may lie instead.
    """

    heatmap: int
    first: Region
    second: Region


@dataclass(frozen=True, eq=False)
class Estimate:
    """The answer for one volume.

    Attributes:
        pose: landmarks, confidence, 90 % radii and laterality; all missing if there is no pose to show.
        status: whether there is a fetus: "found", "doubtful" (the pose is shown, every landmark marked), or "none"; or
            the volume could not be read.
        detection_score: probability mass around head and trunk, 0-1 (`detection.detection_score_of`); decides on
            `status`; NaN = not measured.
        mean_peak_mass: probability mass around all landmarks in the last view but a tight one, 0-1; NaN = not measured.
        unfamiliarity: how unfamiliar the picture is to the model, 1 = as much as known ones at most; NaN = unknown.
        seen: what the network saw where no fetus was found, for `showing_what_was_seen`; None otherwise.
        reason: one sentence unless the status is "found".
        device: where the network ran, e.g. "cpu" or "cuda:0 (NVIDIA ...)".
        device_reason: why there.
        timings: seconds by stage.
        warnings: sentences for the user.
        model: name and fingerprint of the model (`Model.identity`).
        views: what the network saw in each view, first to last.
        memory_plan: how the network was kept within a memory budget, one sentence; empty without one.
        refinement: what was done to the pose after the last view.
        two_regions: of the landmarks whose heatmaps have two peaks; by landmark, see `regions`.
        others: estimates of further fetuses in the same volume, each with a pose of its own and without others.

    Examples:
        >>> estimate.status, round(estimate.detection_score, 1), estimate.warnings
        ('found', 0.9, ())
        >>> estimate.pose.positions.shape, estimate.pose.radius90_mm.shape
        ((22, 3), (22,))
    """

    pose: Pose
    status: Status
    detection_score: float
    reason: str
    device: str
    device_reason: str
    timings: dict[str, float]
    warnings: tuple[str, ...]
    model: str
    views: tuple[ViewPrediction, ...] = field(repr=False)
    memory_plan: str = ""
    refinement: Refinement = Refinement()
    mean_peak_mass: float = math.nan
    unfamiliarity: float = math.nan
    seen: Pose | None = field(default=None, repr=False)
    others: tuple[Estimate, ...] = field(default=(), repr=False)
    two_regions: tuple[TwoRegions, ...] = field(default=(), repr=False)

    @property
    def regions(self) -> dict[int, TwoRegions]:
        """The landmarks with two regions, by row of the pose; without those that a person has set."""
        return self.regions_in(self.pose)

    def regions_in(self, pose: Pose) -> dict[int, TwoRegions]:
        """The same for this pose as it was corrected since."""
        sides, by_hand = pose.laterality, pose.placed_by_hand
        if sides is None:
            return {}
        heatmaps = {two.heatmap: two for two in self.two_regions}
        order = enumerate(row_order(sides, pose.schema))
        return {row: heatmaps[heatmap] for row, heatmap in order if heatmap in heatmaps and not by_hand[row]}

    @property
    def fetuses(self) -> tuple[Estimate, ...]:
        """The estimates of all fetuses in the volume that have a pose, this one first; each without others."""
        alone = replace(self, others=()) if self.others else self
        return tuple(one for one in (alone, *self.others) if one.has_pose)

    @property
    def found(self) -> bool:
        """Whether a fetus was found beyond doubt."""
        return self.status == "found"

    @property
    def has_pose(self) -> bool:
        """Whether there is a pose to show: a fetus was found, or it is doubtful."""
        return self.status in ("found", "doubtful")

    def showing_what_was_seen(self) -> Estimate:
        """The estimate as a doubtful one, with the pose that the network saw although no fetus was found.

        Any other estimate, and one of a volume in which nothing was seen, is returned as it is.
        """
        if self.status != "none" or self.seen is None:
            return self
        reason = f"{SHOWN_ON_REQUEST} {self.reason}"
        return replace(self, status="doubtful", reason=reason, pose=replace(self.seen, doubt=reason), seen=None)

    @classmethod
    def given(cls, pose: Pose, model: str = "") -> Estimate:
        """An estimate for a known pose, such as one of a saved scene, so that it can be refined."""
        return cls(
            pose=pose,
            status="doubtful" if pose.doubt else "found",
            detection_score=math.nan,
            reason=pose.doubt,
            device="",
            device_reason="",
            timings={},
            warnings=(),
            model=model,
            views=(),
        )
