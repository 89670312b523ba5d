"""What a model sees in cases, kept as a file so that an interrupted adaptation does not estimate them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.json_files import read_json_object
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.evaluation.calibrating import observations_of, observed
from FetusMapV2Lib.evaluation.statistics import finite_mean, row_means
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.models.model_file import Model
from FetusMapV2Lib.models.world_calibration import Observations
from FetusMapV2Lib.training.case_folder import Case

Array = NDArray[np.float64]
_ROWS = ("errors_mm", "spread_mm", "peak_mass")


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model sees in some cases.

    Attributes:
        names: of the cases with a fetus.
        values: of these.
        empty_names: of the cases without one, in the order of ``values.empty_presence``.
    """

    names: tuple[str, ...]
    values: Observations
    empty_names: tuple[str, ...]

    @property
    def case_errors_mm(self) -> Array:
        """(cases with a fetus,) mean distance to the truth."""
        return row_means(self.values.errors_mm)

    @property
    def error_mm(self) -> float:
        """Mean of it over the cases."""
        return finite_mean(self.case_errors_mm)

    def ordered(self, names: Sequence[str]) -> Seen:
        """The cases with a fetus in another order."""
        rows = [self.names.index(name) for name in names]
        old = self.values
        return replace(
            self,
            names=tuple(names),
            values=replace(
                old,
                **{key: getattr(old, key)[rows] for key in (*_ROWS, "detection_score")},
                features=None if old.features is None else old.features[rows],
            ),
        )

    def document(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain: dict[str, Any] = to_json({"names": self.names, "empty_names": self.empty_names, **vars(self.values)})
        return plain


def see(model: Model, cases: Sequence[Case], device: tuple[torch.device, str], kept: Path) -> Seen:
    """What a model sees in cases; from the file if it is there.

    Args:
        model: with its calibration.
        cases: with their truth.
        device: see `PoseEngine`.
        kept: the file.

    Raises:
        UserError: a volume cannot be read, or the file cannot be written.
    """
    if kept.is_file():
        return _from_document(read_json_object(kept, "what a model saw", remedy="Remove it"))
    engine = PoseEngine(model, *device)
    rows, names, empty, empty_names = [], [], [], []
    for case in cases:
        row = observed(engine, read_volume(case.volume_path), case.positions if case.fetus_present else None)
        if isinstance(row, float):
            empty.append(row)
            empty_names.append(case.name)
        else:
            rows.append(row)
            names.append(case.name)
    seen = Seen(tuple(names), _kept(observations_of(rows, empty)), tuple(empty_names))
    write_json(kept, seen.document())
    return seen


def joined(parts: Sequence[Seen]) -> Seen:
    """All cases of some parts."""
    values = [part.values for part in parts]
    features = [one.features for one in values if one.features is not None]
    everything = {key: np.concatenate([getattr(one, key) for one in values]) for key in (*_ROWS, "detection_score")}
    return Seen(
        tuple(name for part in parts for name in part.names),
        Observations(
            **everything,
            empty_presence=np.concatenate([one.empty_presence for one in values]),
            features=np.concatenate(features) if len(features) == len(values) else None,
        ),
        tuple(name for part in parts for name in part.empty_names),
    )


def _kept(values: Observations) -> Observations:
    """What an adaptation needs of observations: it moves no landmarks and has no use for second peaks."""
    return Observations(
        values.errors_mm, values.spread_mm, values.peak_mass, values.detection_score, values.empty_presence,
        values.features,
    )  # fmt: skip


def _from_document(document: dict[str, Any]) -> Seen:
    def array(key: str) -> Array:
        return np.array(document[key], dtype=np.float64)  # null is NaN

    features = None if document["features"] is None else array("features")
    shapes = {key: array(key) for key in (*_ROWS, "detection_score", "empty_presence")}
    return Seen(tuple(document["names"]), Observations(**shapes, features=features), tuple(document["empty_names"]))
