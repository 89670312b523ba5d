"""Everything that is written of an estimate: one call, `export`, with one options object, `ExportOptions`.

What draws, prints or builds scenes is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from FetusMapV2Lib.exporting.case_export import (
        export,
        export_paths,
        export_sequence,
        fetus_paths,
        write_movement_table,
    )
    from FetusMapV2Lib.exporting.options import KINDS, REPORT_KINDS, RESULT_KINDS, ByHand, ExportOptions, Kind

__all__ = [
    "KINDS",
    "REPORT_KINDS",
    "RESULT_KINDS",
    "ByHand",
    "ExportOptions",
    "Kind",
    "export",
    "export_paths",
    "export_sequence",
    "fetus_paths",
    "write_movement_table",
]

_OPTIONS = ("KINDS", "REPORT_KINDS", "RESULT_KINDS", "ByHand", "ExportOptions", "Kind")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    module = "options" if name in _OPTIONS else "case_export"
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
