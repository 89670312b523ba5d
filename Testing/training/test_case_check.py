"""The check of annotated cases: every kind of mistake is found, named with file and landmark, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.markups import read_markups, write_markups
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.training.checking.case_check import check_cases
from FetusMapV2Lib.training.checking.page import check_page

SCHEMA = default_schema()


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    folder = tmp_path / "Fälle <1>"
    folder.mkdir()
    write_toy_cases(folder, 5)
    for path in folder.glob("*.mrk.json"):  # shorter femora than the balls have, so that nothing is doubtful
        positions = np.array(read_markups(path).positions)
        for hip, knee in ((16, 17), (19, 20)):
            positions[knee] = positions[hip] + 0.75 * (positions[knee] - positions[hip])
        write_markups(path, Pose(positions))
    return folder


def move(folder: Path, change: Callable[[np.ndarray], Any], name: str = "case-01") -> None:
    """Change the landmarks of a case."""
    path = folder / f"{name}.mrk.json"
    positions = np.array(read_markups(path).positions)
    change(positions)
    write_markups(path, Pose(positions))


def found(folder: Path) -> list[tuple[str, str, str, str]]:
    checked = check_cases(folder, pictures=False)
    return [(one.severity, one.kind, one.case, one.landmark) for one in checked.findings]


def row(key: str) -> int:
    return SCHEMA.index(key)


def exchange(pairs: tuple[tuple[int, int], ...]) -> Callable[[np.ndarray], None]:
    def change(positions: np.ndarray) -> None:
        for left, right in pairs:
            positions[[left, right]] = positions[[right, left]]

    return change


def test_good_cases_have_no_findings(cases: Path) -> None:
    checked = check_cases(cases)
    assert checked.findings == ()
    assert checked.summary() == "4 annotated cases, 1 without a fetus: 0 errors, 0 warnings"


@pytest.mark.parametrize(
    "change,expected",
    [
        (lambda p: p.__setitem__(9, [0, 0, 60]), ("error", "outside", "Rump")),
        (lambda p: p.__setitem__(12, [37, p[12][1], p[12][2]]), ("warning", "outside", "Left wrist")),
        (lambda p: p.__setitem__(2, p[3]), ("error", "same-place", "Nasal tip and Nasal bone")),
        (lambda p: p.__setitem__(18, np.nan), ("warning", "missing", "Left ankle")),
        (exchange(SCHEMA.pairs_of("la")), ("error", "sides", "Arms")),
        (exchange(SCHEMA.pairs_of("ll")), ("error", "sides", "Legs")),
        (exchange(SCHEMA.pairs), ("error", "mirrored", "all arms and legs")),
        (lambda p: p.__imul__(0.1), ("error", "length", "")),
        (exchange(((0, 21),)), ("error", "apart", "Hind neck and Cranial crest")),
        (lambda p: p.__setitem__(12, p[11] + 0.2 * (p[12] - p[11])), ("warning", "bones", "Left wrist")),
    ],
)  # fmt: skip
def test_wrong_landmarks_are_found(cases: Path, change: Callable[[np.ndarray], Any], expected: tuple[str, ...]) -> None:
    move(cases, change)
    here = [one for one in found(cases) if one[2] == "case-01"]
    assert any(one[:2] == expected[:2] and expected[2] in one[3] for one in here), here
    assert {one[2] for one in found(cases)} == {"case-01"}


def test_mirrored_volumes_are_one_finding_of_the_folder(cases: Path) -> None:
    for number in range(4):
        move(cases, exchange(SCHEMA.pairs), f"case-{number:02d}")
    first = check_cases(cases, pictures=False).general[0]
    assert first.kind == "mirrored" and "in 4 of 4 cases" in first.line()


def test_labels_with_typos_are_each_named(cases: Path) -> None:
    path = cases / "case-02.mrk.json"
    text = path.read_text(encoding="utf-8").replace("Nasal tip", "Nasel tip").replace("nasal_tip", "")
    path.write_text(text.replace("Chin", "Thing").replace('"chin"', '""'), encoding="utf-8")
    lines = [one.line() for one in check_cases(cases, pictures=False).errors]
    assert lines[0] == "error: case-02.mrk.json: 'Nasel tip': is not a landmark. Rename the point to 'Nasal tip'."
    assert "'Thing': is not a landmark. " in lines[1] and len(lines) == 2


def test_duplicates_are_found_by_voxels_and_by_landmarks(cases: Path) -> None:
    for suffix in (".nrrd", ".mrk.json", ".json"):
        shutil.copy(cases / f"case-00{suffix}", cases / f"twin{suffix}")
    shutil.copy(cases / "case-01.mrk.json", cases / "case-02.mrk.json")
    assert ("error", "duplicate", "twin", "") in found(cases)
    assert ("warning", "duplicate", "case-02", "") in found(cases)


def test_volumes_are_checked_too(cases: Path) -> None:
    volume = read_volume(cases / "case-00.nrrd")
    write_volume(cases / "case-00.nrrd", volume.with_(ijk_to_ras=np.diag([1.0, 1, 1, 1])))
    (cases / "case-01.nrrd").write_bytes(b"not a volume")
    (cases / "lost.mrk.json").write_bytes((cases / "case-00.mrk.json").read_bytes())
    write_volume(cases / "bare.nrrd", volume)
    everything = found(cases)
    assert ("warning", "geometry", "case-00", "") in everything
    assert ("error", "volume", "case-01", "") in everything
    assert ("warning", "left-out", "lost.mrk.json", "") in everything
    assert ("warning", "left-out", "bare.nrrd", "") in everything
    assert everything == sorted(everything, key=lambda one: one[0] != "error")


def test_what_is_said_of_the_fetus_must_fit_the_landmarks(cases: Path) -> None:
    move(cases, lambda p: p.fill(np.nan), "case-00")
    (cases / "case-01.json").write_text('{"fetus_present": false}')
    (cases / "case-02.json").write_text('{"fetus_present": "no"}')
    everything = found(cases)
    assert ("warning", "empty", "case-00", "") in everything
    assert ("error", "empty", "case-01", "") in everything
    assert ("error", "file", "case-02", "") in everything


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no annotated case"):
        check_cases(tmp_path)


def test_the_page_shows_every_case_the_worst_first_with_its_skeleton(cases: Path) -> None:
    move(cases, lambda p: p.__setitem__(9, [0, 0, 60]), "case-02")
    move(cases, lambda p: p.__setitem__(18, np.nan), "case-03")
    page = check_page(check_cases(cases))
    assert re.findall("<h2>(.*?)</h2>", page) == ["case-02", "case-03", "case-00", "case-01", "case-04"]
    assert page.count("<svg") == 10 and page.count('href="data:image/png;base64,iVBOR') == 10
    assert page.count("<path") == 2 * (4 * len(SCHEMA.edges) - 1)
    assert "Rump: lies" in page and page.count('stroke="#ff3020" fill="none"><title>Rump') == 2
    assert "Fälle &lt;1&gt;" in page and "<1>" not in page
    assert not re.search("<script|https?://", page)


def test_the_document_says_the_same(cases: Path) -> None:
    move(cases, lambda p: p.__setitem__(9, [0, 0, 60]))
    document = json.loads(json.dumps(check_cases(cases, pictures=False).document()))
    assert document["errors"] == 1 and document["warnings"] == 0
    assert [case["name"] for case in document["cases"]] == [f"case-{number:02d}" for number in range(5)]
    assert document["findings"][0]["landmark"] == "Rump"


def test_points_on_a_picture_lie_on_the_balls(cases: Path) -> None:
    """The balls are the brightest spots of the volume, so the pixels under the landmarks are bright."""
    case = next(one for one in check_cases(cases).cases if one.name == "case-00")
    for one in case.thumbnails:
        columns, rows = np.rint(one.points).astype(int).T
        middle = [SCHEMA.index(key) for key in ("umbilical_cord_insertion", "rump", "cranial_crest")]
        assert (one.grey[rows[middle], columns[middle]] > 40).sum() >= 2
        assert np.median(one.grey) < 20
