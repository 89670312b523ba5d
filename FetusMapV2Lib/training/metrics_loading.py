"""Of torchmetrics, the two classes that Lightning builds upon; the rest is loaded when it is asked for.

Lightning imports torchmetrics, which loads a hundred metrics and SciPy's signal processing: a third of what a training
takes to start, in each of its processes, for metrics that no training here uses.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_PACKAGE = "torchmetrics"
_BASES = {"Metric": "metric", "MetricCollection": "collections"}


def load_metric_bases() -> None:
    """Load torchmetrics with `Metric` and `MetricCollection`; any other name loads all of it, as usual."""
    spec = importlib.util.find_spec(_PACKAGE)
    if _PACKAGE in sys.modules or spec is None or spec.loader is None:
        return
    module, loader = importlib.util.module_from_spec(spec), spec.loader

    def load_all(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
        vars(module).pop("__getattr__", None)
        loader.exec_module(module)
        return getattr(module, name)

    sys.modules[_PACKAGE] = module
    try:
        _load_bases(module)
    except ImportError:  # another version: Lightning loads all of it
        for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]
    else:
        vars(module)["__getattr__"] = load_all


def _load_bases(module: ModuleType) -> None:
    vars(module)["_logger"] = logging.getLogger(_PACKAGE)  # its parts take it from there
    vars(module)["__version__"] = import_module(f"{_PACKAGE}.__about__").__version__
    import_module(f"{_PACKAGE}.utilities")  # before the classes, which it imports
    for name, part in _BASES.items():
        vars(module)[name] = getattr(import_module(f"{_PACKAGE}.{part}"), name)
