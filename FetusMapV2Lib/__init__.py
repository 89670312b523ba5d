"""Fetal pose estimation in 3D ultrasound: everything of FetusMapV2 that runs without Qt.

The names below are the public interface. Importing the package loads none of them: each is loaded at its first use,
so that neither PyTorch nor NumPy is imported before it is needed.

Examples:
    >>> import FetusMapV2Lib as fm
    >>> import numpy as np
    >>> engine = fm.PoseEngine.load(device="cpu")
    >>> case = fm.simulate_case(seed=1, index=0, shape_kji=(92, 63, 63), spacing_mm=1.5, gestational_age_days=91)
    >>> estimate = engine.estimate(case.volume)
    >>> estimate.pose.positions.shape  # RAS mm
    (22, 3)
    >>> fm.measurements(estimate.pose).crl.name
    'Crown-rump length'
"""

from importlib import import_module
from typing import TYPE_CHECKING

from FetusMapV2Lib.core.version import __version__

if TYPE_CHECKING:
    from FetusMapV2Lib.anatomy.measurements import measurements
    from FetusMapV2Lib.anatomy.pose import Pose
    from FetusMapV2Lib.core.errors import UserError
    from FetusMapV2Lib.estimation.engine import PoseEngine
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.estimation.sequence import estimate_sequence
    from FetusMapV2Lib.evaluation.case_evaluation import evaluate
    from FetusMapV2Lib.exporting.case_export import export, export_sequence
    from FetusMapV2Lib.exporting.options import ExportOptions
    from FetusMapV2Lib.imaging.markups import read_markups, write_markups
    from FetusMapV2Lib.imaging.reading import read_sequence, read_volume
    from FetusMapV2Lib.imaging.volume import Volume
    from FetusMapV2Lib.phantom.simulated_case import simulate_case
    from FetusMapV2Lib.training.fitting import train
    from FetusMapV2Lib.training.planning import plan_memory
    from FetusMapV2Lib.training.training_options import TrainingOptions

__all__ = [
    "Estimate",
    "ExportOptions",
    "Pose",
    "PoseEngine",
    "TrainingOptions",
    "UserError",
    "Volume",
    "__version__",
    "estimate_sequence",
    "evaluate",
    "export",
    "export_sequence",
    "measurements",
    "plan_memory",
    "read_markups",
    "read_sequence",
    "read_volume",
    "simulate_case",
    "train",
    "write_markups",
]

#: The module of each public name; the imports above say the same to type checkers.
_MODULES = {
    "Estimate": "estimation.estimate",
    "ExportOptions": "exporting.options",
    "Pose": "anatomy.pose",
    "PoseEngine": "estimation.engine",
    "TrainingOptions": "training.training_options",
    "UserError": "core.errors",
    "Volume": "imaging.volume",
    "estimate_sequence": "estimation.sequence",
    "evaluate": "evaluation.case_evaluation",
    "export": "exporting.case_export",
    "export_sequence": "exporting.case_export",
    "measurements": "anatomy.measurements",
    "plan_memory": "training.planning",
    "read_markups": "imaging.markups",
    "read_sequence": "imaging.reading",
    "read_volume": "imaging.reading",
    "simulate_case": "phantom.simulated_case",
    "train": "training.fitting",
    "write_markups": "imaging.markups",
}

_LIGHTNING = "FetusMapV2Lib.training.lightning_loading"
#: What some of them need beyond the base installation, as `require_package` takes it.
_PACKAGES = {
    "evaluate": ("matplotlib", "an evaluation", "evaluate"),
    "plan_memory": ("lightning", "a training preset", "train", _LIGHTNING),
    "train": ("lightning", "training", "train", _LIGHTNING),
}

if not TYPE_CHECKING:  # a type checker would take every name for one of this package

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in _PACKAGES:
            import_module(f"{__name__}.core.packages").require_package(*_PACKAGES[name])
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
