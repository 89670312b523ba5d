"""Sample data for Slicer's SampleData module: a simulated volume and a moving one, made on the spot.

Nothing is downloaded; what was made is kept in Slicer's cache and is there at once the next time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Panel import requirements
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

CATEGORY = "FetusMapV2"
_AGE_DAYS = 88.0
#: Seed, voxels and voxel size: made in seconds, yet fine enough for an estimate. The second one kicks.
_CASE = (20260, (154, 104, 104), 0.9)
_MOVING_CASE, _FRAMES, _FRAME_INTERVAL_S = (20270, (115, 78, 78), 1.2), 5, 0.25
_VOLUME, _SEQUENCE = "VolumeFile", "SequenceFile"
_ICONS = Path(__file__).resolve().parent.parent / "Resources" / "Icons"


def register() -> None:
    """Offer the samples in the SampleData module; twice does no harm. Call when the application has started."""
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
            loadFileType=kind,  # the name before Slicer 5.10, which later ones take, too
        )


def loadCase(source):
    """The node of one simulated volume, None if that went wrong (the user was told)."""
    return _load(source, _VOLUME, _writeCase)


def loadMovingCase(source):
    """The node of a simulated sequence, None if that went wrong (the user was told)."""
    return _load(source, _SEQUENCE, _writeMovingCase)


def _load(source, kind: str, make: Callable[[Path], None]):
    """Load a sample, made first if it is not in the cache."""
    # What a source calls its kind of file changed with Slicer's versions, so it is not asked.
    path = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / source.fileNames[0]
    try:
        if not path.exists():
            _make(make, path)
        return slicer.util.loadNodeFromFile(str(path), kind, {"name": source.nodeNames[0]})
    except UserError as error:
        problem = error.line(with_option=False)
    except RuntimeError:  # Slicer cannot read it
        path.unlink(missing_ok=True)
        problem = _("{0}: the sample in the cache was damaged and is removed. Try again.").format(path)
    slicer.util.errorDisplay(problem, windowTitle=_("FetusMapV2 sample data"))
    return None


def _make(make: Callable[[Path], None], path: Path) -> None:
    requirements.require()  # the samples are simulated with PyTorch
    slicer.util.showStatusMessage(_("Simulating ultrasound; this takes some seconds ..."))
    slicer.app.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
    try:
        make(path)
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
