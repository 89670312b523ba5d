"""Requests to an engine and their results as JSON values; the voxels of a volume travel in a file beside them.

Whatever is read is checked: the other process may be damaged, or another program. Needs neither torch nor Qt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.estimation.detection import PresenceRule
from FetusMapV2Lib.estimation.estimate import Estimate, RefineMode
from FetusMapV2Lib.estimation.requests import (
    EstimateRequest,
    InstallRequest,
    RefineRequest,
    Request,
    ResourceRequest,
)
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.remote.messages import Command, MessageError, read, sendable

T = TypeVar("T")

#: No coordinate, length, duration or count of an estimate is larger.
_LARGEST = 1e6
#: No volume shows more further fetuses.
_MOST_OTHERS = 4


@dataclass(frozen=True, eq=False)
class VolumeFile:
    """A volume whose voxels lie in a file of numpy (``.npy``); the other fields are those of `Volume`."""

    file: str
    ijk_to_ras: NDArray[np.float64]
    name: str
    source: str
    warnings: tuple[str, ...]

    @classmethod
    def write(cls, volume: Volume, path: Path) -> VolumeFile:
        """Write the voxels of a volume.

        Raises:
            OSError: the file cannot be written, e.g. because the disk is full.
        """
        np.save(path, np.ascontiguousarray(volume.array), allow_pickle=False)
        warnings = tuple(map(sendable, volume.warnings))
        return cls(str(path), volume.ijk_to_ras, sendable(volume.name), sendable(volume.source), warnings)

    def volume(self) -> Volume:
        """The volume, its voxels read-only on the disk.

        Raises:
            MessageError: the file is gone or damaged, or these are no values of a volume.
        """
        matrix = self.ijk_to_ras
        usable = matrix.shape == (4, 4) and np.isfinite(matrix).all()
        if not usable or abs(matrix).max() > _LARGEST or abs(np.linalg.det(matrix)) < 1e-12:
            raise MessageError("the volume has no place in the world")
        try:
            array = np.load(self.file, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # a damaged file can raise anything in numpy
            raise MessageError(f"the voxels cannot be read ({error})", where=self.file) from error
        if not isinstance(array, np.ndarray) or array.ndim != 3 or array.dtype.kind not in "uif" or not array.size:
            raise MessageError("the file holds no voxels of a volume", where=self.file)
        return Volume(array, matrix, self.name, self.source, self.warnings)


@dataclass(frozen=True, eq=False)
class _EstimatePayload:
    volume: VolumeFile
    before: Estimate | None
    refine: RefineMode
    presence: PresenceRule

    def request(self) -> EstimateRequest:
        before = None if self.before is None else _checked_estimate(self.before)
        return EstimateRequest(self.volume.volume(), before, self.refine, self.presence)


@dataclass(frozen=True, eq=False)
class _RefinePayload:
    volume: VolumeFile
    estimate: Estimate
    pinned: tuple[int, ...]
    mode: RefineMode

    def request(self) -> RefineRequest:
        return RefineRequest(self.volume.volume(), _checked_estimate(self.estimate), self.pinned, self.mode)


def command_of(request: Request[Any]) -> Command:
    """The command of a request."""
    return _COMMANDS[type(request)]


def request_values(request: Request[Any], voxels: Path = Path("volume.npy")) -> Any:
    """A request as JSON values.

    Args:
        request: to an engine.
        voxels: file that the voxels of its volume are written to, if it has one.

    Raises:
        OSError: the file cannot be written.
    """
    if isinstance(request, EstimateRequest):
        before = None if request.before is None else _estimate_values(request.before)
        return {
            "volume": _volume_values(request.volume, voxels),
            "before": before,
            "refine": request.refine,
            "presence": to_json(request.presence),
        }
    if isinstance(request, RefineRequest):
        return {
            "volume": _volume_values(request.volume, voxels),
            "estimate": _estimate_values(request.estimate),
            "pinned": sorted(request.pinned),
            "mode": request.mode,
        }
    if isinstance(request, InstallRequest):  # the other process has another current folder
        request = replace(request, file=str(Path(request.file).absolute()))
    return to_json(request)


def request_from(command: Command, values: Any) -> Request[Any]:
    """The request of `request_values`.

    Raises:
        MessageError: there is none, or the voxels of its volume cannot be read.
    """
    if command == "estimate":
        return read(_EstimatePayload, values, "the request", _LARGEST).request()
    if command == "refine":
        return read(_RefinePayload, values, "the request", _LARGEST).request()
    if command == "install":
        return read(InstallRequest, values, "the request")
    request = read(ResourceRequest, values, "the request")
    if request.voxels < 0:
        raise MessageError("the number of voxels is negative")
    return request


def result_values(result: Any) -> Any:
    """The result of a request as JSON values; an estimate is sent without its single views."""
    return _estimate_values(result) if isinstance(result, Estimate) else to_json(result)


def result_from(request: Request[T], values: Any) -> T:
    """The result of `result_values`.

    Raises:
        MessageError: it is none of this request.
    """
    if isinstance(request, InstallRequest):
        return cast(T, None)
    if isinstance(request, ResourceRequest):
        return cast(T, resource_estimate_from(values))
    return cast(T, estimate_from(values))


def estimate_from(values: Any) -> Estimate:
    """The estimate of `result_values`; it has no views.

    Raises:
        MessageError: it is none.
    """
    return _checked_estimate(read(Estimate, values, "the estimate", _LARGEST))


def resource_estimate_from(values: Any) -> ResourceEstimate:
    """The resource estimate of `result_values`.

    Raises:
        MessageError: it is none.
    """
    resources = read(ResourceEstimate, values, "the resource estimate")
    if min(resources.memory_bytes or 0, resources.device_bytes or 0) < 0:
        raise MessageError("an amount of memory is negative")
    return resources


_COMMANDS: Mapping[type[Request[Any]], Command] = {
    EstimateRequest: "estimate",
    RefineRequest: "refine",
    ResourceRequest: "resources",
    InstallRequest: "install",
}


def _volume_values(volume: Volume, voxels: Path) -> Any:
    return to_json(VolumeFile.write(volume, voxels))


def _estimate_values(estimate: Estimate) -> Any:
    """An estimate without its views and without the landmark schema, which both processes have."""
    values = to_json(replace(estimate, views=(), others=()))
    for pose in (values["pose"], values["seen"]):
        if pose is not None:
            del pose["schema"]
    return values | {"others": [_estimate_values(other) for other in estimate.others]}


def _checked_estimate(estimate: Estimate) -> Estimate:
    """An estimate whose numbers all lie where they can, without views."""
    refinement, count = estimate.refinement, default_schema().count
    _check_pose(estimate.pose)
    if estimate.seen is not None:
        _check_pose(estimate.seen)
    _check_within("duration", np.nan_to_num([*estimate.timings.values()], nan=-1), 0, _LARGEST)
    _check_within("landmark number", np.array([*refinement.moved, *refinement.pinned]), 1, count)
    _check_within("number of iterations", np.array([refinement.iterations]), 0, _LARGEST)
    regions = [region for two in estimate.two_regions for region in (two.first, two.second)]
    _check_within("row of a heatmap", np.array([two.heatmap for two in estimate.two_regions]), 0, count - 1)
    if any(region.position.shape != (3,) or not np.isfinite(region.position).all() for region in regions):
        raise MessageError("a region has no place")
    _check_within("probability mass", np.nan_to_num([region.mass for region in regions], nan=-1), 0, 1)
    _check_within("radius", np.nan_to_num([region.radius90_mm for region in regions], nan=-1), 0, _LARGEST)
    residuals = [one for one in (refinement.residual_before_mm, refinement.residual_after_mm) if one is not None]
    _check_within("residual", np.array(residuals), 0, _LARGEST)
    if len(estimate.others) > _MOST_OTHERS or any(other.others for other in estimate.others):
        raise MessageError(f"an estimate has more than {_MOST_OTHERS} others, or they have others")
    return replace(estimate, views=(), others=tuple(map(_checked_estimate, estimate.others)))


def _check_pose(pose: Pose) -> None:
    if pose.schema != default_schema():
        raise MessageError("a pose of other landmarks")
    _check_within("confidence", pose.confidence, 0, 1)
    _check_within("radius", pose.radius90_mm, 0, _LARGEST)
    if pose.laterality is not None:
        sides = [pose.laterality.arms_confidence, pose.laterality.legs_confidence]
        _check_within("confidence of the sides", np.nan_to_num(sides, nan=-1), 0, 1)


def _check_within(what: str, values: NDArray[Any] | None, least: float, most: float) -> None:
    """Refuse values that are known and lie elsewhere."""
    if values is not None and ((values < least) | (values > most)).any():
        raise MessageError(f"a {what} does not lie within {least:g}-{most:g}")
