"""What a model sees in cases, kept as a file so that an interrupted adaptation does not estimate them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
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
from FetusMapV2Lib.models import world_calibration
from FetusMapV2Lib.models.model_file import Model
from FetusMapV2Lib.models.world_calibration import Observations
from FetusMapV2Lib.training.case_folder import Case

Array = NDArray[np.float64]
#: A body that is farther off was taken for another: where models are compared, a tenth of what is beyond counts, as how
#: far off it is says little of what the model knows.
LOST_MM, _BEYOND = 10.0, 0.1


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
    def known_errors_mm(self) -> Array:
        """The same, of what is beyond `LOST_MM` a tenth."""
        errors_mm = self.case_errors_mm
        beyond = np.maximum(errors_mm - LOST_MM, 0.0)
        return np.asarray(errors_mm - (1 - _BEYOND) * beyond)

    @property
    def error_mm(self) -> float:
        """Mean of these over the cases."""
        return finite_mean(self.known_errors_mm)

    def chosen(self, names: Sequence[str], empty_names: Sequence[str]) -> Seen:
        """Some of the cases, in this order."""
        rows = [self.names.index(name) for name in names]
        empty_rows = [self.empty_names.index(name) for name in empty_names]
        return Seen(tuple(names), self.values.chosen(rows, empty_rows), tuple(empty_names))

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
    seen = Seen(tuple(names), observations_of(rows, empty), tuple(empty_names))
    write_json(kept, seen.document())
    return seen


def joined(parts: Sequence[Seen]) -> Seen:
    """All cases of some parts."""
    return Seen(
        tuple(name for part in parts for name in part.names),
        world_calibration.joined([part.values for part in parts]),
        tuple(name for part in parts for name in part.empty_names),
    )


def _from_document(document: dict[str, Any]) -> Seen:
    values: dict[str, Any] = {}
    for each in fields(Observations):
        kept = document[each.name]
        values[each.name] = None if kept is None else np.array(kept, dtype=np.float64)  # null in it is NaN
    return Seen(tuple(document["names"]), Observations(**values), tuple(document["empty_names"]))
