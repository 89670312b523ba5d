"""What model files that were written before a field existed mean by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def fields_from_preset(preset: Mapping[str, Any]) -> dict[str, Any]:
    """How the network of an older file is used, which such a file says only by its training preset.

    Args:
        preset: of a model file; its ``refinement``, if any, is an object.

    Returns:
        The fields ``decoding``, ``anonymous_sides``, ``refined_landmarks`` and ``normalisation`` of `ModelInfo`.
    """
    return {
        "decoding": "limbs" if preset.get("decoding") == "limbs" else "peaks",
        "anonymous_sides": preset.get("loss") == "pair",
        "refined_landmarks": "limbs" if preset.get("refinement", {}).get("refined") == "limbs" else "trunk",
        "normalisation": "bright-end",  # the only way there was
    }
