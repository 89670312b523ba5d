"""Sample data for Slicer's SampleData module: a simulated volume and a simulated sequence.

Nothing is downloaded: they are simulated on first use and then loaded from Slicer's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import qt
import slicer
from slicer import vtkMRMLNode

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Panel import requirements
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

CATEGORY = "FetusMapV2"
_AGE_DAYS = 88.0
#: Seed, voxels and voxel size (mm): simulated in seconds, yet fine enough for an estimate. The second one moves.
_CASE = (20260, (154, 104, 104), 0.9)
_MOVING_CASE, _FRAMES, _FRAME_INTERVAL_S = (20270, (115, 78, 78), 1.2), 5, 0.25
_VOLUME, _SEQUENCE = "VolumeFile", "SequenceFile"
_ICONS = Path(__file__).resolve().parent.parent / "Resources" / "Icons"


class Source(Protocol):
    """A `SampleData.SampleDataSource`."""

    fileNames: list[str]
    nodeNames: list[str]


def register() -> None:
    """Add the samples to the SampleData module, once; call when the application has started."""
    import SampleData

    for name, file, load, kind in (
        ("FetusMapV2Case", "fetusmapv2-case.nrrd", loadCase, _VOLUME),
        ("FetusMapV2MovingCase", "fetusmapv2-moving-case.seq.nrrd", loadMovingCase, _SEQUENCE),
    ):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=name,
            uris="",
            fileNames=file,
            nodeNames=name,
            customDownloader=load,
            thumbnailFileName=str(_ICONS / f"{name}.png"),
            loadFileType=kind,  # the name before Slicer 5.10, which later versions accept as well
        )


def loadCase(source: Source) -> vtkMRMLNode | None:
    """The node of a simulated volume; None after an error, which was shown to the user."""
    return _load(source, _VOLUME, _writeCase)


def loadMovingCase(source: Source) -> vtkMRMLNode | None:
    """The node of a simulated sequence; None after an error, which was shown to the user."""
    return _load(source, _SEQUENCE, _writeMovingCase)


def _load(source: Source, kind: str, simulate: Callable[[Path], None]) -> vtkMRMLNode | None:
    """Load a sample from the cache, where it is simulated first if it is missing."""
    # the kind is not read from the source, whose attribute has different names in different versions of Slicer
    path = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / source.fileNames[0]
    try:
        if not path.exists():
            _simulate(simulate, path)
        return slicer.util.loadNodeFromFile(str(path), kind, {"name": source.nodeNames[0]})
    except UserError as error:
        problem = error.line(with_option=False)
    except RuntimeError:  # Slicer cannot read it
        path.unlink(missing_ok=True)
        problem = _("{0}: the cached sample was damaged and has been removed. Try again.").format(path)
    slicer.util.errorDisplay(problem, windowTitle=_("FetusMapV2 sample data"))
    return None


def _simulate(simulate: Callable[[Path], None], path: Path) -> None:
    requirements.require()  # the samples are simulated with PyTorch
    slicer.util.showStatusMessage(_("Simulating ultrasound; this takes some seconds ..."))
    slicer.app.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
    try:
        simulate(path)
    finally:
        slicer.app.restoreOverrideCursor()
        slicer.util.showStatusMessage("")


def _writeCase(path: Path) -> None:
    from FetusMapV2Lib.imaging.writing import write_volume
    from FetusMapV2Lib.phantom.simulated_case import simulate_case

    seed, shape, spacing = _CASE
    write_volume(path, simulate_case(seed, 0, shape, spacing, gestational_age_days=_AGE_DAYS).volume)


def _writeMovingCase(path: Path) -> None:
    from FetusMapV2Lib.imaging.writing import write_sequence
    from FetusMapV2Lib.phantom.motion import simulate_sequence

    seed, shape, spacing = _MOVING_CASE
    frames = simulate_sequence(seed, 0, _FRAMES, shape, spacing, gestational_age_days=_AGE_DAYS)
    times = [_FRAME_INTERVAL_S * number for number in range(_FRAMES)]
    write_sequence(path, [frame.volume for frame in frames], times_s=times)
