"""The cases of a training run, and reduced copies of their volumes on disk.

A volume is read in full once and averaged down to larger voxels of 8 bit; later reads use that copy.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.imaging.blocks import block_mean
from FetusMapV2Lib.imaging.case_search import VOLUME_SUFFIXES
from FetusMapV2Lib.imaging.fill_values import without_fill
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.training_cases import CaseFiles, find_cases
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.training.distortions.field_of_view import Box

_LOG = logging.getLogger(__name__)
_CHECKSUM = "sha256"


@dataclass(frozen=True, eq=False)
class Case:
    """One annotated volume.

    Attributes:
        name: stem of its files.
        volume_path: the volume file.
        positions: (22, 3) RAS mm, NaN = missing.
        fetus_present: false for a volume that shows no fetus (flagged in ``<stem>.json``).
        truth: what ``<stem>.json`` says, {} without one.
    """

    name: str
    volume_path: Path
    positions: NDArray[np.float64]
    fetus_present: bool
    truth: dict[str, Any]

    @property
    def is_label_map(self) -> bool:
        """Whether the volume holds a simulated label map (`phantom.label_map`) in place of a picture."""
        return self.truth.get("renderer") == "labels"

    def seen_in(self, box: Box) -> Case:
        """The case with the landmarks outside a box missing."""
        return self.with_positions(np.where(box.holds(self.positions)[:, None], self.positions, np.nan))

    def with_positions(self, positions: NDArray[np.float64]) -> Case:
        """The case with other landmarks."""
        return replace(self, positions=positions)


class CaseFolder:
    """The usable cases of a folder, sorted by name.

    A case without any landmark is used only if its ``<stem>.json`` says ``"fetus_present": false``; otherwise it
    is not annotated yet and is skipped.

    Args:
        folder: see `imaging.training_cases.find_cases`.
        names: only these cases, in this order (to resume a run on the cases it started with).

    Raises:
        InputError: no such folder, no usable case, or a case of `names` is missing.
    """

    def __init__(self, folder: str | os.PathLike[str], names: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        found = {files.name: files for files in find_cases(self.folder)}
        missing = [name for name in names or () if name not in found]
        if missing:
            raise InputError(
                f"the case {missing[0]} is missing", where=self.folder, remedy="Restore it, or start a new run"
            )
        loaded = (_case(found[name]) for name in (found if names is None else names))
        self.cases = [case for case in loaded if case is not None]
        if not any(case.fetus_present for case in self.cases):
            raise InputError(
                "no case of this folder has landmarks", where=self.folder, remedy="Annotate some cases first"
            )

    def __len__(self) -> int:
        return len(self.cases)


def cases_without_fetus(folder: str | os.PathLike[str]) -> list[Case]:
    """The volumes of a folder as cases without a fetus, sorted by name.

    Raises:
        InputError: no such folder, or no volume in it.
    """
    missing = np.full((default_schema().count, 3), np.nan)
    where = Path(folder)
    if not where.is_dir():
        raise InputError("this folder does not exist", where=where, remedy="Give a folder of volumes without a fetus")
    found = sorted(path for path in where.iterdir() if path.name.lower().endswith(VOLUME_SUFFIXES))
    if not found:
        raise InputError("no volume was found", where=folder, remedy="Give a folder of volumes without a fetus")
    return [Case(path.name, path, missing, False, {}) for path in found]


class ReducedVolumes:
    """Small 8-bit copies of the cases' volumes, written on first use and cached in memory up to a limit.

    Args:
        folder: of the copies.
        spacing_mm: voxels are averaged in blocks of whole voxels to about this size (never finer than the file).
        memory_bytes: limit of the cache in this process.
    """

    def __init__(self, folder: str | os.PathLike[str], spacing_mm: float, memory_bytes: int = 1 << 30) -> None:
        self.folder = Path(folder)
        self.spacing_mm = spacing_mm
        self.memory_bytes = memory_bytes
        self._held: OrderedDict[str, Volume] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        # a worker process starts with an empty cache; the disk is shared
        return {**self.__dict__, "_held": OrderedDict(), "_bytes": 0}

    def get(self, case: Case) -> Volume:
        """The reduced volume of a case.

        Raises:
            InputError: the volume cannot be read.
        """
        path = self._path(case)
        held = self._held.get(path.name)
        if held is not None:
            self._held.move_to_end(path.name)
            return held
        volume = _load_reduced(path, case.name)
        if volume is None:
            whole = read_volume(case.volume_path)
            small = (
                thinned(whole, self.spacing_mm) if case.is_label_map else reduced(without_fill(whole), self.spacing_mm)
            )
            volume = small.with_(name=case.name)
            self._keep_on_disk(path, volume)
        self._hold(path.name, volume)
        return volume

    def _path(self, case: Case) -> Path:
        facts = case.volume_path.stat()
        key = f"{case.volume_path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}|{self.spacing_mm:.4f}"
        key += "|labels" if case.is_label_map else ""
        return self.folder / f"{case.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"

    def _hold(self, name: str, volume: Volume) -> None:
        self._held[name] = volume
        self._bytes += volume.array.nbytes
        while self._bytes > self.memory_bytes and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= dropped.array.nbytes

    @staticmethod
    def _keep_on_disk(path: Path, volume: Volume) -> None:
        tensors = {"array": volume.array, "ijk_to_ras": np.ascontiguousarray(volume.ijk_to_ras)}
        try:
            with atomic_write(path, private=True) as temporary:  # patient data
                temporary.write_bytes(save(tensors, metadata={_CHECKSUM: _checksum(tensors)}))
        except OutputError as error:
            _LOG.warning("the reduced volume cannot be cached: %s", error)


def reduced(volume: Volume, spacing_mm: float) -> Volume:
    """A volume averaged over blocks of whole voxels to about `spacing_mm`, as 8 bit.

    Incomplete blocks at the far borders are dropped.
    """
    factors_ijk = _factors(volume, spacing_mm)
    factors = (factors_ijk[2], factors_ijk[1], factors_ijk[0])
    kept = tuple(slice(0, max(1, n // f) * f) for n, f in zip(volume.shape, factors, strict=True))
    array = volume.array[kept]
    small = array if max(factors) == 1 else block_mean(array, factors)
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ ((np.array(factors_ijk) - 1) / 2)
    matrix[:3, :3] *= factors_ijk
    return volume.with_(array=_as_bytes(small, volume.array.dtype), ijk_to_ras=matrix)


def thinned(labels: Volume, spacing_mm: float) -> Volume:
    """Every nth voxel of a label map, to about `spacing_mm`: means of labels have no meaning."""
    i, j, k = _factors(labels, spacing_mm)
    matrix = labels.ijk_to_ras.copy()
    matrix[:3, :3] *= [i, j, k]
    return labels.with_(array=np.ascontiguousarray(labels.array[::k, ::j, ::i], dtype=np.uint8), ijk_to_ras=matrix)


def _factors(volume: Volume, spacing_mm: float) -> list[int]:
    """Voxels (i, j, k) of a block of about `spacing_mm`."""
    return [max(1, int(spacing_mm / size + 0.5)) for size in volume.spacing]


def _as_bytes(array: NDArray[Any], original: np.dtype[Any]) -> NDArray[np.uint8]:
    if original == np.uint8:
        return np.ascontiguousarray(np.rint(array), dtype=np.uint8)
    grey = np.maximum(array, 0).astype(np.float32)
    bright = grey[grey > 0]
    top = float(np.percentile(bright, 99.9)) if bright.size else 1.0
    return np.ascontiguousarray(np.rint(np.minimum(grey * (250.0 / top), 255.0)), dtype=np.uint8)


def _load_reduced(path: Path, name: str) -> Volume | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as content:
            tensors = {name: content.get_tensor(name) for name in ("array", "ijk_to_ras")}
            noted = (content.metadata() or {}).get(_CHECKSUM)
        return Volume(tensors["array"], tensors["ijk_to_ras"], name=name) if noted == _checksum(tensors) else None
    except (OSError, ValueError, SafetensorError):
        return None  # a damaged copy is replaced


def _checksum(tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of a reduced volume."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}|{tensors[name].dtype}|{tensors[name].shape}|".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def _case(files: CaseFiles) -> Case | None:
    positions = np.array(files.pose().positions, dtype=np.float64)
    truth = files.truth()
    present = bool(truth.get("fetus_present", True))
    if not present:
        positions = np.full_like(positions, np.nan)
    elif not np.isfinite(positions).any():
        _LOG.warning("%s: no landmark is annotated; the case is skipped", files.landmarks_path)
        return None
    return Case(files.name, files.volume_path, positions, present, truth)
