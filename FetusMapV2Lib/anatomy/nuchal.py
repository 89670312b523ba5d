"""Nuchal translucency, measured by callipers that a person sets: which of several tries counts, and when at all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_sections import SectionSize
from FetusMapV2Lib.anatomy.fetal_slices import SlicePose
from FetusMapV2Lib.anatomy.planes import fetal_axes
from FetusMapV2Lib.anatomy.pose import Pose

Array = NDArray[np.float64]

#: Crown-rump lengths, mm, at which it is measured.
CRL_RANGE_MM = (45.0, 84.0)
#: The 99th centile at all these lengths, mm: "about 3.5 mm" in the abstract of PubMed 16363364; the text of Snijders et
#: al., from which it is usually quoted, was not read.
CUT_OFF_MM = 3.5
CUT_OFF_SOURCE = (
    "99th centile, about the same at all crown-rump lengths of 45 to 84 mm (PubMed 16363364; "
    "Snijders et al., Lancet 1998;352:343)"
)
CRITERIA_SOURCE = "ISUOG, Ultrasound Obstet Gynecol 2013;41:102-113, after the Fetal Medicine Foundation"
KEY, NAME = "nt", "Nuchal translucency"
#: Head and upper thorax fill this share of the picture.
_FILLED = 0.75
_SHOWN = ("cranial_crest", "forehead", "nasal_tip", "chin", "hind_neck", "upper_thoracic_spine")
#: Soft tissue beyond these landmarks on each side, mm.
_MARGIN_MM = 3.0
#: Callipers start so far behind the neck, where the mouse does not take hold of its landmark instead.
_FIRST_MM = (3.0, 7.0)


@dataclass(frozen=True)
class Nuchal:
    """The tries of one fetus.

    Attributes:
        tries_mm: distances between the callipers, in the order in which they were measured.
        ends: the two callipers of the largest try, RAS mm; empty if they are not known.
    """

    tries_mm: tuple[float, ...]
    ends: tuple[tuple[float, ...], ...] = ()

    @property
    def value_mm(self) -> float:
        """The largest try, which the guideline records; NaN without one."""
        return max(self.tries_mm, default=math.nan)

    @property
    def size(self) -> SectionSize:
        """As a size among those of head and abdomen."""
        return SectionSize(KEY, NAME, self.value_mm, None, self.note)

    @property
    def is_above(self) -> bool:
        """Whether it reaches the cut-off."""
        return round(self.value_mm, 1) >= CUT_OFF_MM

    @property
    def note(self) -> str:
        """How it was measured, for files and reports."""
        tries = len(self.tries_mm)
        kept = "one try" if tries == 1 else f"the largest of {tries} tries"
        place = "at or above" if self.is_above else "below"
        return f"callipers set by hand, {kept}; {place} {CUT_OFF_MM:g} mm, {CUT_OFF_SOURCE}"


def nuchal_of(tries: Iterable[Array], crl_mm: float) -> Nuchal | None:
    """The measured tries; None without one, and where the crown-rump length is outside its range.

    Args:
        tries: each (2, 3), the places of two callipers, RAS mm.
        crl_mm: crown-rump length; NaN if it is unknown.
    """
    known = list(tries)
    lengths = tuple(float(np.linalg.norm(one[0] - one[1])) for one in known)
    if refusal(crl_mm) or not lengths:
        return None
    return Nuchal(lengths, tuple(map(tuple, known[int(np.argmax(lengths))].tolist())))


def refusal(crl_mm: float) -> str:
    """Why it is not measured at a crown-rump length; empty if it is."""
    low, high = CRL_RANGE_MM
    if not math.isfinite(crl_mm):
        return f"the crown-rump length is unknown; it must be {low:g} to {high:g} mm"
    if not low <= round(crl_mm, 1) <= high:
        return f"the crown-rump length is {crl_mm:.1f} mm; it must be {low:g} to {high:g} mm"
    return ""


def nuchal_view(pose: Pose, aspect: float) -> SlicePose | None:
    """The midsagittal slice, magnified until head and upper thorax fill three quarters of it; None without a plane.

    Args:
        pose: the landmarks, RAS mm.
        aspect: width over height of the view.
    """
    plane, keys = pose.midsagittal_plane, pose.schema.keys
    rows = [pose.schema.index(key) for key in _SHOWN if key in keys]
    points = pose.positions[rows][pose.present[rows]]
    if plane is None or not len(points):
        return None
    axes = fetal_axes(plane)
    right, up = -axes.dorsal, axes.cranial
    along = points @ np.stack([right, up], axis=1)
    low, high = along.min(axis=0) - _MARGIN_MM, along.max(axis=0) + _MARGIN_MM
    middle = (low + high) / 2
    centre = middle[0] * right + middle[1] * up + float(plane.origin @ axes.left) * axes.left
    width, height = high - low
    return SlicePose("Midsagittal, magnified", centre, right, up, float(max(height, width / aspect) / _FILLED))


def first_callipers(pose: Pose) -> Array | None:
    """(2, 3) where two callipers can be taken hold of before they are set: behind the neck; None without it."""
    plane = pose.midsagittal_plane
    row = pose.schema.index("hind_neck") if "hind_neck" in pose.schema.keys else None
    if plane is None or row is None or not pose.present[row]:
        return None
    axes = fetal_axes(plane)
    neck = pose.positions[row]
    neck = neck - axes.left * float((neck - plane.origin) @ axes.left)
    return np.stack([neck + away * axes.dorsal for away in _FIRST_MM])
