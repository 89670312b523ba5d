"""Predictions of models for annotated cases, one JSON file per model and case: an interruption costs one case."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError, ModelError, UserError
from FetusMapV2Lib.core.json_files import read_json_object
from FetusMapV2Lib.core.progress import CaseRunner, OnProgress, Stages, run_directly
from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, json_name, to_json
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate, RefineMode, check_mode
from FetusMapV2Lib.imaging.training_cases import CaseFiles
from FetusMapV2Lib.models.index_file import file_sha256
from FetusMapV2Lib.models.model_index import find_model

Array = NDArray[np.float64]

#: Words for the grades of presence.
_GRADES = {"found": "found", "doubtful": "doubtful", "none": "no fetus found"}


@dataclass(frozen=True)
class ModelChoice:
    """A model under evaluation.

    Attributes:
        name: for tables and file names.
        path: the model file.
        sha256: of the file; predictions of another file are recomputed.
        refine: how the engine refines its estimates.
    """

    name: str
    path: Path
    sha256: str
    refine: RefineMode = "off"

    @classmethod
    def of(cls, path: Path, name: str, refine: RefineMode = "off") -> ModelChoice:
        """A model file under a name.

        Raises:
            ModelError: no such file.
            UserError: an unknown refinement.
        """
        check_mode(refine)
        if not path.is_file():
            raise ModelError("there is no such model file", where=path, remedy="Give a model's name or file")
        return cls(name, path, file_sha256(path), refine)


@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's prediction for one case.

    Attributes:
        case: name.
        found: whether the engine found a fetus.
        positions: (22, 3) RAS mm: the pose, or without a fetus the landmarks of the last view; NaN = missing.
        radii_mm: (22,) 90 % radii, NaN where there is none.
        detection_score: decides on `found`.
        seconds: from the volume in memory to the answer.
        confidence: (22,) NaN where there is none, as in predictions kept by earlier versions.
        status: the grade of presence; "" in predictions kept by earlier versions.
        two_regions: (N, 9) of the landmarks with two regions (`Estimate.regions`): row, and place and radius in mm of
            each region; none in predictions kept by earlier versions.
    """

    case: str
    found: bool
    positions: Array
    radii_mm: Array = field(metadata=json_name("radius90_mm"))
    detection_score: float = field(metadata=json_name("presence"))
    seconds: float
    confidence: Array = field(default_factory=lambda: np.full(default_schema().count, np.nan))
    status: str = ""
    two_regions: Array = field(default_factory=lambda: np.zeros((0, 9)))

    def inside_either(self, truth: Array) -> NDArray[np.bool_]:
        """(N,) whether each landmark with two regions and a known `truth` (22, 3) lies in one of them."""
        known = self.two_regions[np.isfinite(truth[self.two_regions[:, 0].astype(int)]).all(axis=1)]
        regions = known[:, 1:].reshape(-1, 2, 4)
        distances = np.linalg.norm(regions[..., :3] - truth[known[:, 0].astype(int), None], axis=-1)
        return np.asarray((distances <= regions[..., 3]).any(axis=1))


def chosen_models(texts: Sequence[str], refine: RefineMode) -> list[ModelChoice]:
    """The models of ``--model`` options: NAME, FILE or LABEL=FILE; none = the default model.

    Raises:
        ModelError: an unknown model, or two of one name.
    """
    models = [_model(text, refine) for text in texts or [""]]
    names = [model.name.casefold() for model in models]
    for model, name in zip(models, names, strict=True):
        if names.count(name) > 1:
            raise ModelError(
                f"two models are called '{model.name}'",
                where=model.path,
                remedy="Name them apart: --model LABEL=FILE",
            )
    return models


def _model(text: str, refine: RefineMode) -> ModelChoice:
    label, equals, rest = text.partition("=")
    if equals and not Path(text).is_file():
        if not label or any(sign in label for sign in '/\\:*?"<>|'):
            raise ModelError("not a label for a model", where=f"--model {text}", remedy="Write LABEL=FILE")
        return ModelChoice.of(find_model(rest), label, refine)
    path = find_model(text or None)
    name = path.stem if path.stem != "model" else path.absolute().parent.name  # training calls every model "model"
    return ModelChoice.of(path, name, refine)


def predict(
    model: ModelChoice,
    cases: Sequence[CaseFiles],
    folder: str | os.PathLike[str],
    *,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    say: Callable[[str], None] | None = None,
    run_case: CaseRunner = run_directly,
) -> list[Prediction]:
    """Estimate every case that has no prediction of this model yet; the engine is loaded only if one is missing.

    Args:
        model: which.
        cases: in the order of the result.
        folder: for ``NAME/CASE.json``.
        device: see `PoseEngine.load`.
        on_progress: called with the fraction done and the case.
        say: called with one line on each new prediction.
        run_case: handles a case that cannot be used; such cases are missing in the result.

    Raises:
        UserError: the model or a case cannot be read, or a file cannot be written; finished predictions are kept.
    """
    stages = Stages(on_progress)
    engine: PoseEngine | None = None
    found = []
    for number, case in enumerate(cases):
        stages.reach(number / len(cases), case.name)
        path = Path(folder) / model.name / f"{case.name}.json"
        if engine is None and not _is_kept(model, case, path):
            engine = PoseEngine.load(model.path, device)
        answer = run_case(case.name, case.volume_path, partial(_answer, model, engine, case, path, say))
        if answer is not None:
            found.append(answer)
    stages.reach(1.0, "done")
    return found


def _answer(
    model: ModelChoice,
    engine: PoseEngine | None,
    case: CaseFiles,
    path: Path,
    say: Callable[[str], None] | None,
) -> Prediction:
    """The prediction for a case, of an earlier run or new; without an engine there should be an earlier one."""
    key = _key(model, case)
    record = _kept(path, key)
    if record is None:
        engine = engine or PoseEngine.load(model.path)
        estimate = engine.estimate(case.volume(), refine=model.refine)
        record = key | _record(estimate)
        write_json(path, record)
        if say is not None:
            say(f"{model.name}, {case.name}: {_GRADES.get(estimate.status, estimate.status)}")
    return _prediction(case.name, record)


def _is_kept(model: ModelChoice, case: CaseFiles, path: Path) -> bool:
    """Whether the prediction for a case can be reused."""
    try:
        return _kept(path, _key(model, case)) is not None
    except (OSError, UserError):
        return False


def _key(model: ModelChoice, case: CaseFiles) -> dict[str, Any]:
    """What a kept prediction must agree with."""
    facts = case.volume_path.stat()
    volume = {"file": case.volume_path.name, "bytes": facts.st_size, "modified_ns": facts.st_mtime_ns}
    return {"model_sha256": model.sha256, "refine": model.refine, "volume": volume}


def _kept(path: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """The record of an earlier run, None if there is none of this model file, refinement and volume."""
    if not path.is_file():
        return None
    record = read_json_object(path, "a kept prediction", remedy="Remove it")
    if any(record.get(name) != value for name, value in key.items()):
        return None
    return record


def _record(estimate: Estimate) -> dict[str, Any]:
    pose = estimate.seen or estimate.pose
    unknown = np.full(len(pose.positions), np.nan)
    return {
        "model": estimate.model,
        "device": estimate.device,
        "found": estimate.found,
        "status": estimate.status,
        "reason": estimate.reason,
        "presence": estimate.detection_score,
        "seconds": sum(estimate.timings.values()),
        "positions": to_json(pose.positions),
        "radius90_mm": to_json(unknown if pose.radius90_mm is None else pose.radius90_mm),
        "confidence": to_json(unknown if pose.confidence is None else pose.confidence),
        "two_regions": [
            [row, *(value for one in (two.first, two.second) for value in (*one.position.tolist(), one.radius90_mm))]
            for row, two in estimate.regions.items()
        ],
    }


def _prediction(name: str, record: dict[str, Any]) -> Prediction:
    count = default_schema().count
    known: dict[str, Any] = {"where": name, "remedy": "Remove its file from the folder of predictions"}
    rules = ReadingRules(unknown_keys=True, null_is_nan=True)
    found = from_json(Prediction, {**record, "case": name}, "a kept prediction", rules=rules, **known)
    if found.positions.shape != (count, 3) or {found.radii_mm.shape, found.confidence.shape} != {(count,)}:
        raise InputError(f"a kept prediction does not hold {count} landmarks", **known)
    regions = found.two_regions.reshape(-1, 9) if found.two_regions.size % 9 == 0 else np.full((1, 9), np.nan)
    if not np.isfinite(regions).all() or not ((regions[:, 0] >= 0) & (regions[:, 0] < count)).all():
        raise InputError("a kept prediction has damaged regions", **known)
    return replace(found, two_regions=regions)
