"""A folder of training cases (volume + Slicer markups of the same stem), and each volume kept small on disk.

A volume is read in full once, averaged down to 8 bit and a coarser voxel, and read from that copy ever after.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.foundation.errors import InputError, OutputError
from FetusMapV2Lib.foundation.files import written_whole
from FetusMapV2Lib.imaging.blocks import block_mean
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.volume import Volume

MARKUPS_SUFFIX = ".mrk.json"
VOLUME_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz", ".vol", ".dcm")
_LOG = logging.getLogger(__name__)


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


class CaseFolder:
    """The usable cases of a folder, sorted by name.

    Args:
        folder: holds ``<stem>.nrrd`` (or another volume format) with ``<stem>.mrk.json`` and, optionally,
            ``<stem>.json`` with facts about the case.
        names: only these stems (to resume a run on the cases it began with).

    Raises:
        InputError: no such folder, no usable case, or a case of `names` is gone.
    """

    def __init__(self, folder: str | os.PathLike[str], names: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError("there is no such folder of cases", where=self.folder)
        self.cases = self._found(names)
        if not self.cases:
            raise InputError(
                "the folder holds no training case",
                where=self.folder,
                remedy="A case is a volume such as case.nrrd with case.mrk.json beside it",
            )

    def __len__(self) -> int:
        return len(self.cases)

    def poses(self) -> NDArray[np.float64]:
        """Positions of all cases, (N, 22, 3) RAS mm."""
        return np.stack([case.positions for case in self.cases])

    def _found(self, names: Sequence[str] | None) -> list[Case]:
        volumes: dict[str, Path] = {}
        for path in sorted(self.folder.iterdir()):
            stem = _stem(path)
            if stem is not None and not path.name.startswith("."):
                volumes.setdefault(stem, path)
        wanted = sorted(volumes) if names is None else list(names)
        missing = [name for name in wanted if name not in volumes]
        if missing:
            raise InputError(f"the case {missing[0]} is gone", where=self.folder, remedy="Put it back or start afresh")
        cases = (self._case(name, volumes[name]) for name in wanted)
        return [case for case in cases if case is not None]

    def _case(self, name: str, volume_path: Path) -> Case | None:
        markups = volume_path.with_name(name + MARKUPS_SUFFIX)
        truth = _truth(volume_path.with_name(name + ".json"))
        present = bool(truth.get("fetus_present", True))
        if present and not markups.is_file():
            return None
        if present:
            positions = np.array(read_markups(markups).positions, dtype=np.float64)
            if not np.isfinite(positions).any():
                _LOG.warning("%s: no landmark is annotated; the case is left out", markups)
                return None
        else:
            positions = np.full((default_schema().count, 3), np.nan)
        return Case(name, volume_path, positions, present, truth)


class ReducedVolumes:
    """Small 8-bit copies of the cases' volumes, written on first use and kept in memory while there is room.

    Args:
        folder: where the copies lie.
        spacing_mm: voxels are averaged in blocks of whole voxels to about this size (never finer than the file).
        memory_bytes: how much of them to keep in memory in this process.
    """

    def __init__(self, folder: str | os.PathLike[str], spacing_mm: float, memory_bytes: int = 1 << 30) -> None:
        self.folder = Path(folder)
        self.spacing_mm = spacing_mm
        self.memory_bytes = memory_bytes
        self._held: OrderedDict[str, Volume] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        # a worker process starts with an empty memory; the disk is shared
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
            volume = reduced(read_volume(case.volume_path), self.spacing_mm)
            self._keep_on_disk(path, volume)
        self._hold(path.name, volume)
        return volume

    def _path(self, case: Case) -> Path:
        facts = case.volume_path.stat()
        key = f"{case.volume_path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}|{self.spacing_mm:.4f}"
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
            with written_whole(path) as temporary:
                save_file(tensors, temporary)
        except OutputError as error:
            _LOG.warning("the reduced volume is not kept: %s", error)


def reduced(volume: Volume, spacing_mm: float) -> Volume:
    """A volume averaged over blocks of whole voxels to about `spacing_mm`, as 8 bit.

    Blocks that are not full at the far borders are left out.
    """
    factors_ijk = [max(1, int(spacing_mm / size + 0.5)) for size in volume.spacing]
    factors = (factors_ijk[2], factors_ijk[1], factors_ijk[0])
    kept = tuple(slice(0, max(1, n // f) * f) for n, f in zip(volume.shape, factors, strict=True))
    array = volume.array[kept]
    small = array if max(factors) == 1 else block_mean(array, factors)
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ ((np.array(factors_ijk) - 1) / 2)
    matrix[:3, :3] *= factors_ijk
    return volume.with_(array=_as_bytes(small, volume.array.dtype), ijk_to_ras=matrix)


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
        tensors = load_file(path)
        return Volume(tensors["array"], tensors["ijk_to_ras"], name=name)
    except (OSError, KeyError, SafetensorError):
        return None  # a damaged copy is made again


def _stem(path: Path) -> str | None:
    lower = path.name.lower()
    for suffix in sorted(VOLUME_SUFFIXES, key=len, reverse=True):
        if lower.endswith(suffix) and not lower.endswith(".seq" + suffix):
            return path.name[: -len(suffix)]
    return None


def _truth(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the facts of the case cannot be read ({error})", where=path) from error
    return data if isinstance(data, dict) else {}
