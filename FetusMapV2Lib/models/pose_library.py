"""The pose library of a model: poses moved into the canonical frame, and poses of a site's own cases."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.registration import register
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import ensure_absent
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.training_cases import find_cases
from FetusMapV2Lib.models.model_file import Model, load_model, lock_model, save_model
from FetusMapV2Lib.models.model_index import find_model

Array = NDArray[np.float64]

#: More poses make the file larger and refinement no better.
LARGEST_LIBRARY = 2000
_LARGEST_MM = 1000.0
#: Poses whose landmarks all agree this well are of one case; library and template are stored in single precision.
_SAME_POSE_MM = 0.05


def canonical_poses(poses: Array, template: Array) -> Array:
    """Poses moved and rotated, not scaled, into the canonical frame of the template.

    Args:
        poses: (N, 22, 3) RAS mm, NaN = missing.
        template: (22, 3) of `canonical_template`.

    Returns:
        (M, 22, 3) mm; poses with fewer than four known head and trunk landmarks are left out.
    """
    rows = list(default_schema().rows("ht"))
    result = []
    for pose in poses:
        if np.isfinite(pose[rows]).all(axis=1).sum() < 4:
            continue
        fit = register(pose[rows], template[rows])
        moved = pose @ np.asarray(fit.rotation).T
        # the translation of the similarity, at the pose's own size
        result.append(moved + fit.matrix[:3, 3] / float(fit.scale))
    return np.array(result).reshape(-1, *poses.shape[1:])


def merged_library(new: Array, library: Array) -> tuple[Array, int]:
    """A library with further poses before its own, none of them twice.

    Args:
        new: (N, 22, 3) in the canonical frame, mm.
        library: (M, 22, 3) likewise.

    Returns:
        At most `LARGEST_LIBRARY` poses, and how many of them are new.
    """
    kept: list[Array] = []
    for pose in new:
        others = [*kept, *library]
        if not any(np.allclose(pose, other, atol=_SAME_POSE_MM, equal_nan=True) for other in others):
            kept.append(pose)
    added = np.array(kept).reshape(-1, *library.shape[1:])
    return np.concatenate([added, library])[:LARGEST_LIBRARY], len(added)


def extended_model(model: Model, cases: str | os.PathLike[str]) -> tuple[Model, int]:
    """A model with the poses of annotated cases in its library, the new ones first so that none of them is cut off.

    Poses that are in the library already are not added again.

    Args:
        model: not changed.
        cases: folder of cases; those without a fetus are skipped.

    Returns:
        The model, and how many poses were added.

    Raises:
        InputError: no case with enough landmarks of head and trunk, or a case that cannot be read.
    """
    annotated = [case.pose().positions for case in find_cases(cases) if case.fetus_present]
    if model.calibration is not None:
        annotated = [model.calibration.as_seen(positions, model.template) for positions in annotated]
    new = canonical_poses(np.stack(annotated), model.template) if annotated else np.empty((0, 22, 3))
    if not len(new):
        raise InputError(
            "no case has enough landmarks for the pose library",
            where=cases,
            remedy="Annotate at least four of the landmarks 1-10",
        )
    if np.nanmax(np.abs(new)) > _LARGEST_MM:
        raise InputError("the landmarks of a case are farther apart than a body is long", where=cases)
    poses, added = merged_library(new, model.poses)
    before = model.info.training.get("poses_added", 0)
    training = {**model.info.training, "poses_added": (before if type(before) is int else 0) + added}
    return replace(model, poses=poses, checksum="").with_info(training=training), added


def add_poses(
    model: str | os.PathLike[str] | None,
    cases: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> tuple[Model, int]:
    """`extended_model` of a named model, written to a file; the file may be the model's own.

    Returns:
        See `extended_model`.

    Raises:
        UserError: see `extended_model`, `find_model` and `save_model`.
    """
    with lock_model(output):
        ensure_absent(Path(output), overwrite)
        extended, added = extended_model(load_model(find_model(model)), cases)
        save_model(output, extended, overwrite=overwrite)
    return extended, added
