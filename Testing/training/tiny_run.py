"""The smallest training whose checkpoints can be resumed."""

from __future__ import annotations

from FetusMapV2Lib.training.preset import Preset

PRESET = Preset.from_dict(
    {
        "name": "tiny",
        "input_size": [16, 16, 16],
        "sigma": 1.0,
        "network": {"widths": [3, 4]},
        "run": {"steps": 4, "cache_spacing_mm": 3.0, "validate_every": 1000, "checkpoint_every": 2},
    }
)


class CutError(Exception):
    """Ends a run."""
