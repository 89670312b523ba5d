"""Units of length in headers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.imaging.formats.header_fields import shown
from FetusMapV2Lib.imaging.geometry import format_numbers
from FetusMapV2Lib.imaging.volume_checks import SPACING_REMEDY

#: Millimetres of the units that headers name; "" and "???" name none.
MILLIMETRES = {
    "": 1.0, "???": 1.0, "none": 1.0, "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0,
    "millimetres": 1.0, "cm": 10.0, "m": 1e3, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3,
    "nm": 1e-6, "in": 25.4, "inch": 25.4,
}  # fmt: skip


def unit_note(units: Sequence[str], spacing: NDArray[np.float64]) -> list[str]:
    """A warning where a header names another unit than the millimetre, which other programs assume anyway."""
    for unit in units:
        factor = MILLIMETRES.get(unit.lower())
        if factor != 1.0:
            value = "" if factor is None else f" {format_numbers(spacing * factor)} mm"
            return [
                f"the voxel size is{value} by its unit '{shown(unit)}' but {format_numbers(spacing)} mm as other "
                f"programs read it, which was used: {SPACING_REMEDY}"
            ]
    return []
