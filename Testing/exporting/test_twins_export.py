"""Two fetuses in a volume: each has files of its own, the first tells of both, and none stays of an earlier export."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
from core.folders import visible
from exporting.test_result_document import estimate
from training.toy_cases import BODY

from FetusMapV2Lib.anatomy.growth import Size
from FetusMapV2Lib.anatomy.known_dates import KnownDates
from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.exporting import ExportOptions, export
from FetusMapV2Lib.exporting.case_files import is_of_other_fetus
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.reporting.earlier import EarlierExamination

BESIDE = BODY * 0.9 + [60.0, 0.0, 0.0]


def twins() -> Estimate:
    second = estimate(BESIDE, status="doubtful", reason="It is doubtful.", warnings=("secret.nrrd is odd",))
    second = replace(second, pose=replace(second.pose, doubt="It is doubtful."))
    return estimate(others=(second,))


def names(folder: Path) -> list[str]:
    return [path.name for path in visible(folder)]


@pytest.mark.parametrize("identifiers", [True, False])
def test_each_fetus_has_its_own_points_in_one_space(tmp_path: Path, identifiers: bool) -> None:
    result = twins()
    export(result, None, tmp_path, ExportOptions(kinds=("dicom3d",), stem="case", identifiers=identifiers))
    frames = set()
    for name, pose in (("case", result.pose), ("case.fetus-2", result.others[0].pose)):
        document = pydicom.dcmread(tmp_path / f"{name}.sr3d.dcm")
        measured = next(one for one in document.ContentSequence if one.ValueType == "CONTAINER")
        first = next(one for one in measured.ContentSequence[0].ContentSequence if one.ValueType == "SCOORD3D")
        np.testing.assert_allclose(first.GraphicData, pose.positions[0] * [-1, -1, 1], atol=1e-4)
        frames.add(first.ReferencedFrameOfReferenceUID)
    assert len(frames) == 1


def test_each_fetus_has_files_of_its_own(tmp_path: Path) -> None:
    result = twins()
    export(result, None, tmp_path, ExportOptions(stem="case"))
    ends = (".fetus-2.measurements.csv", ".fetus-2.measurements.json", ".fetus-2.mrk.json")
    assert names(tmp_path) == sorted(f"case{end}" for end in (*ends, *(end.replace(".fetus-2", "") for end in ends)))
    for name, pose in (("case", result.pose), ("case.fetus-2", result.others[0].pose)):
        assert np.allclose(read_markups(tmp_path / f"{name}.mrk.json").positions, pose.positions, atol=1e-4)
        document = json.loads((tmp_path / f"{name}.measurements.json").read_text(encoding="utf-8"))
        crl = next(one for one in document["measurements"] if one["key"] == "crl")
        assert abs(crl["value_mm"] - measurements(pose).crl.value_mm) < 1e-3
    assert "doubtful" in (tmp_path / "case.fetus-2.measurements.csv").read_text(encoding="utf-8")
    assert "doubtful" not in (tmp_path / "case.measurements.csv").read_text(encoding="utf-8").splitlines()[1]


def test_the_first_document_has_all_fetuses(tmp_path: Path) -> None:
    export(twins(), None, tmp_path, ExportOptions(stem="case"))
    first, second = (
        json.loads((tmp_path / f"{name}.measurements.json").read_text(encoding="utf-8"))
        for name in ("case", "case.fetus-2")
    )
    assert (first["fetus"], first["fetuses"], second["fetus"], second["fetuses"]) == (1, 2, 2, 2)
    assert first["other_fetuses"] == [second] and second["other_fetuses"] == []
    assert second["status"] == "doubtful" and first["status"] == "found"


def test_an_earlier_examination_is_of_the_chosen_fetus(tmp_path: Path) -> None:
    earlier = EarlierExamination(date(2026, 2, 1), ("", "", ""), {"crl": Size(40.0, 2.0)})
    options = ExportOptions(
        kinds=("json",), stem="case", earlier=earlier, dates=KnownDates(date(2026, 2, 15)), chosen=2
    )
    export(twins(), None, tmp_path, options)
    first, second = (
        json.loads((tmp_path / f"{name}.measurements.json").read_text(encoding="utf-8"))["examination"]
        for name in ("case", "case.fetus-2")
    )
    assert second["earlier"]["growth"] and not first.get("earlier")
    with pytest.raises(InputError, match="of fetus 2, but 1 is seen"):
        export(estimate(), None, tmp_path / "one", options)


def test_files_of_a_second_fetus_do_not_stay_beside_a_single_one(tmp_path: Path) -> None:
    export(twins(), None, tmp_path, ExportOptions(stem="case"))
    export(estimate(), None, tmp_path, ExportOptions(stem="case", overwrite=True))
    assert not any("fetus-2" in name for name in names(tmp_path))


def test_no_file_name_of_the_patient_is_in_the_second_either(tmp_path: Path) -> None:
    source = tmp_path / "secret.nrrd"
    source.write_bytes(b"")
    export(twins(), None, tmp_path / "out", ExportOptions(stem="case-1", identifiers=False, source=source))
    for path in visible(tmp_path / "out"):
        assert "secret" not in path.read_text(encoding="utf-8")


def test_files_of_another_fetus_are_known_by_their_names() -> None:
    assert is_of_other_fetus("case.fetus-2.mrk.json") and is_of_other_fetus("case.fetus-12.mrk.json")
    assert not is_of_other_fetus("case.mrk.json") and not is_of_other_fetus("fetus-2.mrk.json")
