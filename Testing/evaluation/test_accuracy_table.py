"""The accuracy table: its values, formats and files."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from anatomy.bodies import bodies, standing_body

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.evaluation.accuracy_table import accuracy_table

SCHEMA = default_schema()


@pytest.fixture
def table():
    truths = np.stack([standing_body()] * 4)
    predictions = truths.copy()
    predictions[:, 0, 0] += [1, 3, 8, 12]  # cranial crest
    predictions[0, 1] = np.nan  # a missed forehead
    truths[:, 2] = np.nan  # no nasal tip to be found
    radii = np.full((4, 22), 5.0)
    return accuracy_table(predictions, truths, SCHEMA, radii)


def test_a_row_by_hand(table):
    crest = table.landmarks[0]
    assert (crest.number, crest.key, crest.n, crest.missed) == (1, "cranial_crest", 4, 0)
    assert crest.ed_mm == 6
    assert crest.ed_median_mm == 5.5
    assert crest.ed_sd_mm == pytest.approx(np.std([1, 3, 8, 12], ddof=1))
    assert crest.auc == pytest.approx((19 + 17 + 12 + 8) / 80)
    assert (crest.sr_2_5, crest.sr_5, crest.sr_10) == (0.25, 0.5, 0.75)
    assert crest.coverage == 0.5


def test_missed_and_unknown_landmarks(table):
    forehead, tip = table.landmarks[1:3]
    assert (forehead.n, forehead.missed, forehead.ed_mm, forehead.auc) == (4, 1, 0.0, 0.75)
    assert tip.n == 0
    assert math.isnan(tip.ed_mm)
    assert math.isnan(tip.auc)


def test_the_mean_is_over_the_landmarks_that_were_scored(table):
    assert table.mean.ed_mm == pytest.approx(6 / 21)
    assert table.mean.auc == pytest.approx((56 / 80 + 0.75 + 19) / 21)
    assert (table.mean.n, table.mean.missed) == (84, 1)
    assert table.sides["all"] == 1.0
    assert table.cases == 4


def test_markdown_has_every_landmark_with_as_many_cells_as_the_head(table):
    text = table.markdown()
    first = text.split("\n\n")[1].splitlines()
    assert len(first) == 2 + 22 + 1
    assert len({line.count("|") for line in first}) == 1
    assert first[2].startswith("| 1 Cranial crest | 4 | 0 | 6.00 |")
    assert first[4].startswith("| 3 Nasal tip | 0 | 0 | - |")
    assert "both arms | 100.0 %" in text
    assert "nan" not in text.lower()


def test_csv_reads_back(table):
    lines = list(csv.DictReader(io.StringIO(table.csv())))
    assert [line["key"] for line in lines] == [*SCHEMA.keys, "mean"]
    assert float(lines[0]["ed_mm"]) == 6
    assert lines[2]["ed_mm"] == ""
    assert lines[-1]["number"] == ""


def test_json_is_strict_and_holds_the_same(table, tmp_path):
    path = tmp_path / "sub folder" / "tabelle-ä.json"
    table.write(path)
    document = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert document["landmarks"][0]["ed_mm"] == 6
    assert document["landmarks"][2]["ed_mm"] is None
    assert document["mean"]["auc"] == pytest.approx(table.mean.auc)
    assert document["sides"]["arms"] == 1.0
    assert document["applications"]["left_femur"] == 0


def test_files_by_suffix(table, tmp_path):
    table.write(tmp_path / "a.md")
    table.write(tmp_path / "a.csv")
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == table.markdown()
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == table.csv()
    with pytest.raises(OutputError, match=r"no table format '\.xls'"):
        table.write(tmp_path / "a.xls")
    with pytest.raises(OutputError, match="exists already"):
        table.write(tmp_path / "a.md", overwrite=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.md"]


def test_a_table_of_no_cases_and_one_without_radii():
    empty = accuracy_table(np.zeros((0, 22, 3)), np.zeros((0, 22, 3)), SCHEMA)
    assert empty.cases == 0
    assert "Mean" in empty.markdown()
    json.dumps(empty.document(), allow_nan=False)
    poses = bodies(1, 3)
    assert math.isnan(accuracy_table(poses, poses, SCHEMA).mean.coverage)
    assert accuracy_table(poses, poses, SCHEMA).mean.auc == 1.0


def test_poses_of_another_schema_are_refused():
    with pytest.raises(ValueError, match="poses have 21 landmarks, the schema 22"):
        accuracy_table(np.zeros((1, 21, 3)), np.zeros((1, 21, 3)), SCHEMA)
