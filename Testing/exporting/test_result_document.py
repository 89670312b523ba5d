"""Result files: strict, readable back to the same pose, honest about what is missing, all written or none."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.folders import visible
from training.toy_cases import BODY

from FetusMapV2Lib.anatomy.crl_quality import CrlView, crl_quality
from FetusMapV2Lib.anatomy.laterality import resolve_sides
from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.estimation.estimate import Estimate, Region, TwoRegions
from FetusMapV2Lib.exporting import RESULT_KINDS, ExportOptions, export, export_paths
from FetusMapV2Lib.exporting.result_document import measurements_csv, results_document
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.volume import Volume

SCHEMA = default_schema()


def estimate(positions: np.ndarray | None = None, **changes: Any) -> Estimate:
    points, laterality = resolve_sides(BODY if positions is None else positions, SCHEMA)
    pose = Pose(points, np.linspace(0.5, 0.95, 22), np.linspace(1.0, 4.0, 22), laterality)
    whole = Estimate(
        pose=pose, status="found", detection_score=0.8, reason="", device="cpu", device_reason="for a test",
        timings={"network": 0.1234567}, warnings=("voxel size is odd",), model="toy (0123)", views=(),
    )  # fmt: skip
    return replace(whole, **changes)


def not_found() -> Estimate:
    nowhere = Pose(np.full((22, 3), np.nan))
    return estimate(status="none", reason="No fetus found: none.", pose=nowhere, detection_score=float("nan"))


def without(*rows: int) -> np.ndarray:
    positions = BODY.copy()
    positions[list(rows)] = np.nan
    return positions


def write_results(folder: Path, stem: str, result: Estimate, *, overwrite: bool = False) -> dict[str, Path]:
    return export(result, None, folder, ExportOptions(stem=stem, overwrite=overwrite))


def strict(path: Path) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def table(text: str) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in csv.DictReader(io.StringIO(text))}


def test_files_are_those_announced(tmp_path: Path) -> None:
    folder = tmp_path / "Ergebnisse für Ä" / "tief"
    paths = write_results(folder, "Fall 1", estimate())
    assert list(paths.values()) == export_paths(folder, "Fall 1", ExportOptions())
    assert visible(folder) == sorted(paths.values())


def test_landmarks_come_back(tmp_path: Path) -> None:
    positions = BODY + np.random.default_rng(0).normal(0, 0.3, BODY.shape) + [120.5, -33.25, 7.125]
    write_results(tmp_path, "case", estimate(positions))
    expected = resolve_sides(positions, SCHEMA)[0]
    assert np.abs(read_markups(tmp_path / "case.mrk.json").positions - expected).max() < 1e-5
    document = strict(tmp_path / "case.measurements.json")
    assert document["coordinate_system"] == "RAS" and document["unit"] == "mm"
    assert np.abs(np.array([one["position"] for one in document["landmarks"]]) - expected).max() < 1e-3
    assert [one["key"] for one in document["landmarks"]] == list(SCHEMA.keys)


def test_every_point_says_how_sure_it_is(tmp_path: Path) -> None:
    write_results(tmp_path, "case", estimate())
    markup = strict(tmp_path / "case.mrk.json")["markups"][0]
    assert markup["coordinateSystem"] == "RAS"
    for point, landmark in zip(markup["controlPoints"], SCHEMA.landmarks, strict=True):
        assert point["label"] == landmark.name
        assert point["description"].startswith("confidence 0.")
        assert "90 % radius" in point["description"] and "mm" in point["description"]
        assert ("definition assumed" in point["description"]) == (landmark.source == "assumed")
        assert len(point["color"]) == 3


def test_research_use_only_is_everywhere(tmp_path: Path) -> None:
    write_results(tmp_path, "case", estimate())
    assert strict(tmp_path / "case.measurements.json")["notice"] == RESEARCH_USE
    assert RESEARCH_USE in (tmp_path / "case.measurements.csv").read_text(encoding="utf-8")
    write_results(tmp_path, "empty", not_found())
    assert strict(tmp_path / "empty.measurements.json")["notice"] == RESEARCH_USE


def test_table_and_document_agree_with_the_pose(tmp_path: Path) -> None:
    one = estimate(BODY * 0.9)
    write_results(tmp_path, "case", one)
    rows = table((tmp_path / "case.measurements.csv").read_text(encoding="utf-8"))
    document = strict(tmp_path / "case.measurements.json")
    found = measurements(one.pose)
    assert len(found.lengths) == 5 and len(found.datings) == 4
    for measurement, entry in zip(found.lengths, document["measurements"], strict=True):
        assert entry["value_mm"] == pytest.approx(measurement.value_mm, abs=1e-3)
        assert float(rows[measurement.name]["value"]) == pytest.approx(measurement.value_mm, abs=0.051)
        assert float(rows[measurement.name]["plus_minus"]) == pytest.approx(entry["uncertainty_mm"], abs=0.051)
        assert rows[measurement.name]["unit"] == "mm"
    for dating, entry in zip(found.datings, document["gestational_age"], strict=True):
        row = rows[f"Gestational age ({dating.name})"]
        assert float(row["value"]) == pytest.approx(dating.days, abs=0.051)
        assert float(row["plus_minus"]) == pytest.approx(dating.combined_days, abs=0.051)
        assert row["valid"] == str(entry["valid"]) == str(dating.valid)
        assert entry["weeks"] == dating.weeks_text
        assert entry["source"] in row["remark"]
    assert len(document["checks"]) == len(found.checks) == 7
    for check, entry in zip(found.checks, document["checks"], strict=True):
        row = rows[check.name]
        assert entry["key"] == check.key and entry["verdict"] == check.verdict
        assert float(row["value"]) == pytest.approx(check.value, abs=0.051)
        assert row["unit"] == check.unit and check.remark in row["remark"] and check.source in row["remark"]
        assert row["valid"] == ("" if check.verdict == "unknown" else str(not check.doubtful))
    crl = np.linalg.norm(0.9 * (BODY[0] - BODY[9]))
    assert document["measurements"][0]["value_mm"] == pytest.approx(crl, abs=1e-3)
    plane = document["midsagittal_plane"]
    assert abs(np.dot(plane["normal_to_left"], [1, 0, 0])) > 0.99
    assert document["model"] == "toy (0123)" and document["device"] == "cpu"
    assert document["warnings"] == ["voxel size is odd"]
    assert document["seconds"] == {"network": 0.123}
    assert "not checked" in document["handedness_note"] and document["unfamiliarity"] is None


def test_a_landmark_with_two_regions_has_both_under_the_name_of_its_limb() -> None:
    left, right = SCHEMA.rows("la")[2], SCHEMA.rows("ra")[2]
    two = TwoRegions(left, Region(np.ones(3), 0.6, 4.0), Region(np.array([1.0, 1.0, 13.0]), 0.3, 5.0))
    found = estimate(two_regions=(two,))

    def written(result: Estimate) -> dict[int, Any]:
        marks = results_document(result)["landmarks"]
        return {row: mark["two_regions"] for row, mark in enumerate(marks) if mark["two_regions"] is not None}

    regions = [
        {"position": [1.0, 1.0, 1.0], "mass": 0.6, "radius90_mm": 4.0},
        {"position": [1.0, 1.0, 13.0], "mass": 0.3, "radius90_mm": 5.0},
    ]
    assert written(found) == {left: regions}
    exchanged = replace(found.pose, laterality=replace(found.pose.laterality, arms_swapped=True))
    assert written(replace(found, pose=exchanged)) == {right: regions}, "the heatmap's limb is on the other side"
    by_hand = found.pose.radius90_mm.copy()
    by_hand[left] = np.nan
    assert written(replace(found, pose=replace(found.pose, radius90_mm=by_hand))) == {}, "a person knows better"


def test_a_crl_outside_the_charts_is_marked() -> None:
    rows = table(measurements_csv(measurements(Pose(BODY * 2.2))))
    validity = {rows[name]["valid"] for name in rows if name.startswith("Gestational")}
    assert "False" in validity


@pytest.mark.parametrize(
    "rows",
    [(0,), (9,), (0, 9), (17,), tuple(range(10)), tuple(range(10, 22)), tuple(range(21)), tuple(range(22))],
    ids=lambda rows: f"{len(rows)}-from-{rows[0] + 1}",
)
def test_missing_landmarks_are_missing(tmp_path: Path, rows: tuple[int, ...]) -> None:
    pose = estimate(without(*rows)).pose
    confidence, radius = pose.confidence.copy(), pose.radius90_mm.copy()
    confidence[list(rows)] = radius[list(rows)] = np.nan
    one = estimate(pose=Pose(pose.positions, confidence, radius, pose.laterality))
    write_results(tmp_path, "case", one)
    document = strict(tmp_path / "case.measurements.json")
    back = read_markups(tmp_path / "case.mrk.json")
    assert np.array_equal(back.present, one.pose.present)
    for row in range(22):
        entry = document["landmarks"][row]
        assert (entry["position"] is None) == (not one.pose.present[row])
    points = strict(tmp_path / "case.mrk.json")["markups"][0]["controlPoints"]
    for row, point in enumerate(points):
        assert "nan" not in point["description"]
        assert ("not found" in point["description"]) == (not one.pose.present[row])
    text = (tmp_path / "case.measurements.csv").read_text(encoding="utf-8")
    assert "nan" not in text.lower()
    if 0 in rows or 9 in rows:
        assert document["measurements"][0]["value_mm"] is None
        assert document["gestational_age"] == []
        assert table(text)[document["measurements"][0]["name"]]["value"] == ""


def test_no_fetus_is_said_and_nothing_measured(tmp_path: Path) -> None:
    paths = write_results(tmp_path, "case", not_found())
    assert list(paths) == ["json"]
    assert visible(tmp_path) == [paths["json"]]
    document = strict(paths["json"])
    assert document["found"] is False and document["status"] == "none"
    assert document["presence"] is None
    assert "No fetus found" in document["reason"]
    assert "landmarks" not in document and "measurements" not in document


def test_an_earlier_pose_does_not_stay_beside_no_fetus(tmp_path: Path) -> None:
    write_results(tmp_path, "case", estimate())
    write_results(tmp_path, "other", estimate())
    write_results(tmp_path, "case", not_found(), overwrite=True)
    assert sorted(path.name for path in tmp_path.glob("case*")) == ["case.measurements.json"]
    assert len(list(tmp_path.glob("other*"))) == 3


@pytest.mark.parametrize("number", range(len(RESULT_KINDS)))
@pytest.mark.parametrize("result", [estimate, not_found])
def test_existing_results_are_kept(tmp_path: Path, number: int, result: Any) -> None:
    path = export_paths(tmp_path, "case", ExportOptions())[number]
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="--overwrite"):
        write_results(tmp_path, "case", result())
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("suffix", [".mrk.json", ".csv", "measurements.json"])
@pytest.mark.parametrize("before", [False, True], ids=["new", "overwriting"])
def test_a_full_disk_leaves_nothing_new(tmp_path: Path, monkeypatch, suffix: str, before: bool) -> None:
    if before:
        write_results(tmp_path, "case", estimate(BODY * 0.8))
    old = {path.name: path.read_bytes() for path in visible(tmp_path)}
    write_text = Path.write_text

    def full(self: Path, data: str, *args: Any, **options: Any) -> int:
        if self.name.endswith(suffix):
            write_text(self, data[:100], *args, **options)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(self, data, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="the disk is full") as caught:
        write_results(tmp_path, "case", estimate(), overwrite=True)
    assert Path(caught.value.where).parent == tmp_path
    assert Path(caught.value.where).name.endswith(suffix)
    assert {path.name: path.read_bytes() for path in visible(tmp_path)} == old


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(OutputError, match="not a folder"):
            usable_folder(folder)
        with pytest.raises(OutputError, match="not a folder"):
            write_results(folder, "case", estimate())


def test_numbers_are_numbers_or_nothing() -> None:
    document = results_document(estimate())

    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [n for one in value.values() for n in numbers(one)]
        if isinstance(value, list):
            return [n for one in value for n in numbers(one)]
        return [value] if isinstance(value, float) else []

    assert numbers(document) and all(math.isfinite(number) for number in numbers(document))


def doubtful() -> Estimate:
    reason = "It is doubtful whether this is a fetus: a score of 0.77, below the 0.80; check every landmark."
    return estimate(status="doubtful", reason=reason, pose=replace(estimate().pose, doubt=reason))


def test_a_doubtful_pose_is_written_and_never_called_found(tmp_path: Path) -> None:
    one = doubtful()
    paths = write_results(tmp_path, "case", one)
    document = strict(paths["json"])
    assert (document["found"], document["status"], document["reason"]) == (False, "doubtful", one.reason)
    assert all(mark["doubtful"] for mark in document["landmarks"])
    rows = list(csv.DictReader(io.StringIO(paths["csv"].read_text(encoding="utf-8"))))
    assert (rows[0]["name"], rows[0]["remark"]) == ("Fetus", one.reason)
    assert {row["fetus"] for row in rows[:-1]} == {"doubtful"}
    for point in strict(paths["landmarks"])["markups"][0]["controlPoints"]:
        assert point["description"].startswith("doubtful pose: It is doubtful") and not point["selected"]


def test_a_found_pose_says_so_in_its_table() -> None:
    rows = list(csv.DictReader(io.StringIO(measurements_csv(measurements(estimate().pose)))))
    assert {row["fetus"] for row in rows[:-1]} == {"found"}
    assert not any(mark["doubtful"] for mark in results_document(estimate())["landmarks"])


def test_what_dates_decide_is_in_the_document() -> None:
    from datetime import date

    from FetusMapV2Lib.anatomy.known_dates import KnownDates

    dates = KnownDates(date(2026, 3, 1), conceived=date(2025, 12, 21))
    document = results_document(estimate(), dates)["dates"]
    assert document["decides"] == "conception" and document["days"] == 84 and document["due"] == "2026-09-13"
    assert document["ages"][0]["origin"] == "conception" and document["crl_centile"] is not None
    assert "dates" not in results_document(estimate())


def test_the_criteria_of_the_crown_rump_image_are_in_document_and_table(tmp_path: Path) -> None:
    view = CrlView(9.0, -2.0, 300.0, 6.0, 0.2)
    quality = crl_quality(estimate().pose, view)
    entries = results_document(estimate(), view=view)["crl_quality"]
    rows = table(measurements_csv(measurements(estimate().pose), quality=quality))
    for check, entry in zip(quality, entries, strict=True):
        assert (entry["key"], entry["verdict"], entry["source"]) == (check.key, check.verdict, check.source)
        assert rows[check.name]["valid"] == ("" if check.verdict == "unknown" else str(not check.doubtful))
    assert entries[3]["verdict"] == "flagged" and entries[3]["value"] == -2.0
    assert entries[0]["usual_range"][0] is None and entries[2]["usual_range"][1] is None
    assert "at least 50.0 %; " in rows["Share of the field"]["remark"]
    export(estimate(), Volume(np.zeros((4, 4, 4), np.uint8), np.eye(4), "v"), tmp_path, ExportOptions())
    assert len(strict(tmp_path / "v.measurements.json")["crl_quality"]) == len(quality)


def test_head_and_abdomen_are_in_table_and_document_with_the_age_of_the_head() -> None:
    from reporting.samples import sections

    found = sections()
    document = results_document(estimate(), sections=found)
    sizes = {one["key"]: one for one in document["head_and_abdomen"]}
    hc = found.head.sizes[0]
    assert sizes["hc"]["value_mm"] == pytest.approx(hc.value_mm, abs=1e-3) and sizes["ac"]["value_mm"] is None
    head = document["gestational_age"][-1]
    assert head["key"] == "head" and head["valid"] and "2016;48:719-726" in head["source"]
    rows = list(csv.reader(io.StringIO(measurements_csv(measurements(estimate().pose), sizes=found.sizes))))
    assert ["Head circumference", f"{hc.value_mm:.1f}", "mm"] in [row[:3] for row in rows]
    assert "head_and_abdomen" not in results_document(estimate())
