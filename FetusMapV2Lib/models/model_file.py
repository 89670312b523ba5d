"""The model file: one safetensors file with weights, shape-prior poses, template and JSON metadata. Never pickle.

Reading one gives a network ready to use, or a `ModelError` that says what is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.core.json_files import parse_json
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.models.calibration import Calibration
from FetusMapV2Lib.models.model_info import FETCH_AGAIN, NOTICE, NOTICE_MIXED, NOTICE_SIMULATED, ModelInfo, info_from
from FetusMapV2Lib.models.model_tensors import network_from, poses_from, stored_network
from FetusMapV2Lib.models.older_files import fields_from_preset
from FetusMapV2Lib.network.unet import UNet3d

__all__ = [
    "FORMAT",
    "NOTICE",
    "NOTICE_MIXED",
    "NOTICE_SIMULATED",
    "Model",
    "ModelInfo",
    "load_model",
    "lock_model",
    "read_info",
    "save_model",
    "tensors_checksum",
]  # fmt: skip

FORMAT = "fetusmapv2-model"
FORMAT_VERSION = 1
_WAIT_S = 120.0
_POSES, _TEMPLATE = "prior.poses", "prior.template"


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to use, with everything that the engine needs of a model.

    Attributes:
        network: float32 on the CPU, in evaluation mode.
        poses: (N, 22, 3) shape-prior poses in the canonical frame (see `anatomy.body_frame.canonical_template`), mm,
            NaN = missing.
        template: (22, 3) canonical pose, crown-rump length 1.
        info: the metadata.
        calibration: from heatmaps to radii and confidences, None if never calibrated.
        checksum: SHA-256 of the tensors, "" for a model not yet saved.
        altered: whether its description or calibration was changed after the file was written.
    """

    network: UNet3d
    poses: NDArray[np.float64]
    template: NDArray[np.float64]
    info: ModelInfo
    calibration: Calibration | None = None
    checksum: str = ""
    altered: bool = False

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(K, J, I) voxels of the network's grid."""
        return self.info.input_size

    @property
    def sigma(self) -> float:
        """Standard deviation of the heatmaps in voxels."""
        return self.info.sigma

    @property
    def has_close_view(self) -> bool:
        """Whether the network was trained on close views."""
        return "close" in self.info.views

    @property
    def has_tight_view(self) -> bool:
        """Whether the network was trained on tight views."""
        return "tight" in self.info.views

    @property
    def patch_spacing_mm(self) -> float | None:
        """Voxel size of the patches that the network was trained on; None if it sees volumes as a whole."""
        return self.info.patch_spacing_mm if "patch" in self.info.views else None

    @property
    def anonymous_sides(self) -> bool:
        """Whether either map of a pair may hold either limb; the geometry names the sides (Pair Loss)."""
        return self.info.anonymous_sides

    @property
    def decodes_limbs(self) -> bool:
        """Whether limbs are read from the heatmaps as wholes instead of joint by joint (`estimation.limb_decoding`)."""
        return self.info.decoding == "limbs"

    @property
    def refined_schema(self) -> Schema:
        """The bundled schema with the set that this model's online refinement moves (Eq. 10)."""
        schema = default_schema()
        if self.info.refined_landmarks == "trunk":
            return schema
        limbs = tuple(landmark.row for landmark in schema.landmarks if landmark.side is not None)
        return replace(schema, refined_rows=limbs)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that changes an estimate or its description; "" for a model not yet saved.

        That is the tensors (weights, library, template), the calibration, the landmark schema, and the whole
        description with views, grid, licence and notice, but not the seconds that the training took.
        """
        if not self.checksum:
            return ""
        implied = fields_from_preset(self.info.preset)
        # the fields that older files lack count where they say something else, so that older files keep their identity
        description = {
            key: value for key, value in asdict(self.info).items() if key not in implied or value != implied[key]
        }
        # 2 is the same as 2.0
        description |= {key: float(value) for key, value in description.items() if type(value) is int}
        description["training"] = {key: value for key, value in self.info.training.items() if key != "seconds"}
        schema = default_schema()
        covered = {
            "tensors": self.checksum,
            "schema": [schema.id, schema.fingerprint],
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "description": description,
        }
        text = json.dumps(covered, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    @property
    def identity(self) -> str:
        """Name and the beginning of the fingerprint, for results."""
        return f"{self.info.name} ({self.fingerprint[:12]})" if self.checksum else self.info.name

    def with_info(self, **changes: Any) -> Model:
        """A copy with some metadata changed, e.g. ``evaluation={...}``."""
        return replace(self, info=replace(self.info, **changes))


def save_model(path: str | os.PathLike[str], model: Model, *, overwrite: bool = True) -> str:
    """Write a model whole or not at all.

    Args:
        path: the file, usually ``.safetensors``.
        model: what to write; ``model.info.weights`` says in which precision ("float16" halves the size, "int8" halves
            it once more: `model_tensors.stored_network`).
        overwrite: whether the file may exist.

    Returns:
        The checksum of the tensors.

    Raises:
        OutputError: the file exists and may not be overwritten, or cannot be written.
    """
    tensors = stored_network(model.network, model.info.weights)
    tensors[_POSES] = torch.tensor(np.asarray(model.poses), dtype=torch.float32)
    tensors[_TEMPLATE] = torch.tensor(np.asarray(model.template), dtype=torch.float64)
    schema = default_schema()
    checksum = tensors_checksum(tensors)
    saved = replace(model, checksum=checksum)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "software": SOFTWARE,
        "schema": schema.id,
        "schema_fingerprint": schema.fingerprint,
        "checksum": checksum,
        "fingerprint": saved.fingerprint,
        "calibration": model.calibration.to_dict() if model.calibration is not None else None,
        **asdict(model.info),
    }
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(save(tensors, metadata={FORMAT: json.dumps(header, allow_nan=False)}))
    return checksum


def lock_model(path: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Lock a model file while it is read, changed and written, so that no change by another process is lost.

    Raises:
        LockedError: another process keeps it locked for minutes.
    """
    file = Path(path)
    lock = file.with_name(f".{file.name}.lock")
    return locked(lock, f"{file.name} here", wait_s=_WAIT_S, remedy="Try again when it is done")


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file.

    Raises:
        ModelError: missing, corrupt, not a model of this program, of another landmark schema or a newer format, or
            its tensors do not match its checksum or its network.
    """
    file = Path(path)
    header, tensors = _read(file)
    _check_header(header, file)
    if tensors_checksum(tensors) != header.get("checksum"):
        raise ModelError("the model file is damaged: its checksum is wrong", where=file, remedy=FETCH_AGAIN)
    info = info_from(header, file)
    calibration = _calibration(header.get("calibration"), file)
    network = network_from(info, tensors, file)
    poses, template = poses_from(tensors.get(_POSES), tensors.get(_TEMPLATE), file)
    model = Model(network.eval(), poses, template, info, calibration, str(header["checksum"]))
    # only files older than the key "software" may lack the fingerprint
    expected = header.get("fingerprint", "" if "software" in header else model.fingerprint)
    return replace(model, altered=expected != model.fingerprint)


def _calibration(data: Any, file: Path) -> Calibration | None:
    return None if data is None else Calibration.from_dict(data, landmarks=default_schema().count, where=file)


def read_info(path: str | os.PathLike[str]) -> ModelInfo:
    """The metadata alone, without the weights.

    Raises:
        ModelError: as `load_model`, the tensors unread.
    """
    file = Path(path)
    try:
        with safe_open(_existing(file), framework="pt") as content:
            header = _header(content.metadata(), file)
    except (SafetensorError, OSError) as error:
        raise _corrupt(file, error) from error
    _check_header(header, file)
    return info_from(header, file)


def tensors_checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise ModelError("there is no such model file", where=file)
    return file


def _corrupt(file: Path, error: Exception) -> ModelError:
    return ModelError(f"the model file is corrupt ({error})", where=file, remedy=FETCH_AGAIN)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(_existing(file), framework="pt") as content:
            header = _header(content.metadata(), file)
            # copies: the file stays free to be replaced, also on Windows
            return header, {name: content.get_tensor(name).clone() for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _corrupt(file, error) from error


def _header(metadata: Mapping[str, str] | None, file: Path) -> dict[str, Any]:
    text = (metadata or {}).get(FORMAT)
    if text is None:
        raise ModelError(
            "this safetensors file is no pose model", where=file, remedy="Choose a model file written by a training"
        )
    header = parse_json(text, "the model's description", where=file, remedy=FETCH_AGAIN, error=ModelError)
    if not isinstance(header, dict):
        raise ModelError("the model file is corrupt (its description)", where=file, remedy=FETCH_AGAIN)
    return header


def _check_header(header: dict[str, Any], file: Path) -> None:
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelError(
            f"the model file has format version {version}, this program reads {FORMAT_VERSION}",
            where=file,
            remedy="Update the program or use another model",
        )
    schema = default_schema()
    if (header.get("schema"), header.get("schema_fingerprint")) != (schema.id, schema.fingerprint):
        raise ModelError(
            f"the model was made for another landmark schema ({header.get('schema')}, not {schema.id})",
            where=file,
            remedy="Use a model trained with the landmark schema of this installation",
        )
