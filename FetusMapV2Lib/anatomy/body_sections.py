"""Head and abdomen measured by ellipses in their planes: circumferences and diameters with uncertainty and charts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from FetusMapV2Lib.anatomy.ellipse import Ellipse
from FetusMapV2Lib.anatomy.fetal_slices import SlicePose
from FetusMapV2Lib.anatomy.growth_charts import CHARTED, ChartPlace, chart_places
from FetusMapV2Lib.anatomy.standard_planes import SectionPlane

SectionKey = Literal["head", "abdomen"]

#: Half-width of the 90 % interval of a size that was found, as a share of it: nine of ten errors on simulated volumes
#: of two formers were smaller (Testing/benchmarks/head_abdomen.py).
FOUND_SHARE: dict[str, float] = {"hc": 0.04, "bpd": 0.10, "ofd": 0.10, "ac": 0.06}
_NAMES = {
    "hc": "Head circumference",
    "bpd": "Biparietal diameter, outer to outer",
    "ofd": "Occipitofrontal diameter",
    "ac": "Abdominal circumference",
}
#: A view of a section is so many times as high as the outline.
_ROOM = 1.6
_KEYS: dict[str, tuple[str, ...]] = {"head": ("hc", "bpd", "ofd"), "abdomen": ("ac",)}


@dataclass(frozen=True)
class SectionSize:
    """One size of head or abdomen.

    Attributes:
        key: "hc", "bpd", "ofd" or "ac".
        name: for display.
        value_mm: NaN if it was not measured.
        uncertainty_mm: half-width of the 90 % interval, None if unknown.
        note: how it was measured, or why it was not.
    """

    key: str
    name: str
    value_mm: float
    uncertainty_mm: float | None
    note: str

    @property
    def measured(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value_mm)

    def places(self, days: float) -> tuple[ChartPlace, ...]:
        """Where it lies on the charts at a gestational age; empty where there is none."""
        return chart_places(self.key, self.value_mm, days) if self.key in CHARTED else ()


@dataclass(frozen=True, eq=False)
class BodySection:
    """An ellipse in the plane across head or abdomen, or why there is none.

    Attributes:
        key: "head" or "abdomen".
        plane: proposed from the landmarks, None without them.
        ellipse: in the plane, None if not measured.
        seen: share of the ellipse, 0-1, on which an edge was seen; 0 if not measured, NaN by hand.
        reason: why it was not measured, one sentence; empty if it was.
        by_hand: whether a user set the ellipse.
    """

    key: SectionKey
    plane: SectionPlane | None
    ellipse: Ellipse | None = None
    seen: float = 0.0
    reason: str = ""
    by_hand: bool = False

    def with_ellipse(self, ellipse: Ellipse, plane: SectionPlane | None = None) -> BodySection:
        """The section with an ellipse that a user set."""
        plane = self.plane if plane is None else plane
        return replace(self, plane=plane, ellipse=ellipse, seen=math.nan, reason="", by_hand=True)

    def cut(self, aspect: float) -> SlicePose | None:
        """The slice that shows the outline, or where it is expected, with the front up; None without a plane.

        Args:
            aspect: width over height of the view.
        """
        plane = self.plane
        if plane is None:
            return None
        wide, deep = plane.half_axes_mm
        title = "Head, axial" if self.key == "head" else "Abdomen, transverse"
        return SlicePose(title, plane.origin, plane.x_axis, -plane.y_axis, _ROOM * 2 * max(deep, wide / aspect))

    @property
    def sizes(self) -> tuple[SectionSize, ...]:
        """HC, BPD and OFD of the head, or AC of the abdomen; not measured without an ellipse."""
        return tuple(self._size(key) for key in _KEYS[self.key])

    def _size(self, key: str) -> SectionSize:
        if self.ellipse is None:
            return SectionSize(key, _NAMES[key], math.nan, None, f"not measured: {self.reason}")
        values = {
            "hc": self.ellipse.circumference_mm,
            "ac": self.ellipse.circumference_mm,
            "bpd": 2 * self.ellipse.minor_mm,
            "ofd": 2 * self.ellipse.major_mm,
        }
        if self.by_hand:
            return SectionSize(key, _NAMES[key], values[key], None, "ellipse set by hand")
        note = f"ellipse found in the volume, edge seen on {100 * self.seen:.0f} % of it"
        return SectionSize(key, _NAMES[key], values[key], FOUND_SHARE[key] * values[key], note)


@dataclass(frozen=True, eq=False)
class HeadAndAbdomen:
    """The sections of head and abdomen of one fetus."""

    head: BodySection
    abdomen: BodySection

    @classmethod
    def unknown(cls, reason: str) -> HeadAndAbdomen:
        """Without planes, for a reason."""
        return cls(BodySection("head", None, reason=reason), BodySection("abdomen", None, reason=reason))

    @property
    def sections(self) -> tuple[BodySection, BodySection]:
        """Head, then abdomen."""
        return self.head, self.abdomen

    def section(self, key: SectionKey) -> BodySection:
        """The head or the abdomen."""
        return self.head if key == "head" else self.abdomen

    @property
    def sizes(self) -> tuple[SectionSize, ...]:
        """HC, BPD, OFD and AC."""
        return self.head.sizes + self.abdomen.sizes

    def with_section(self, section: BodySection) -> HeadAndAbdomen:
        """The same with another head or abdomen."""
        return replace(self, **{section.key: section})
