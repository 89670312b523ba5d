"""The smallest training whose checkpoints can be resumed, and trainings on one CPU thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from FetusMapV2Lib.core.progress import OnProgress
from FetusMapV2Lib.training.fitting import train
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.training_options import TrainingOptions

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


def fit_on_cpu(
    preset: str | Preset, cases: Path, output: Path, *, on_progress: OnProgress | None = None, **options: Any
) -> Path:
    """`train` on one thread of the CPU, with `TrainingOptions` by name."""
    given = TrainingOptions(**{"device": "cpu", "threads": 1, **options})
    return train(preset, cases, output, given, on_progress=on_progress)
