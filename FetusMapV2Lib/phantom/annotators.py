"""Landmarks as people set them: each his own idea of a point that nobody sees exactly, and an unsteady hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.shapes import Array, unit

#: Distance (root mean square) of a point set twice by the same person, mm.
HAND_MM = 0.7
#: Standard deviation (mm) of where people take a landmark to be, and the landmarks from and to which it slides.
DEFINITIONS: dict[str, tuple[float, str, str]] = {
    "upper_thoracic_spine": (1.6, "lumbosacral_spine", "hind_neck"),
    "lumbosacral_spine": (1.4, "rump", "upper_thoracic_spine"),
    "rump": (1.3, "rump", "lumbosacral_spine"),
    "forehead": (1.2, "nasal_bone", "cranial_crest"),
    "hind_neck": (1.0, "upper_thoracic_spine", "cranial_crest"),
    "left_shoulder": (0.6, "left_elbow", "upper_thoracic_spine"),
    "right_shoulder": (0.6, "right_elbow", "upper_thoracic_spine"),
}


def annotated(landmarks: Array, generator: np.random.Generator) -> tuple[Array, dict[str, Any]]:
    """Landmarks (22, 3) mm as one person sets them, and the record of it (JSON values).

    Missing ones (NaN) stay missing, and landmarks that slide between missing ones do not slide.
    """
    schema = default_schema()
    slides = {key: float(generator.normal(0.0, sd)) for key, (sd, _, _) in DEFINITIONS.items()}
    found = landmarks + generator.normal(0.0, HAND_MM / np.sqrt(3), landmarks.shape)
    for key, (_, start, end) in DEFINITIONS.items():
        along = unit(landmarks[schema.index(end)] - landmarks[schema.index(start)])
        if np.isfinite(along).all():
            found[schema.index(key)] += slides[key] * along
    record = {"hand_mm": HAND_MM, "definition_mm": {key: round(slide, 4) for key, slide in slides.items()}}
    return found, record
