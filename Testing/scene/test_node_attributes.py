"""What is stored in attributes of nodes: readable from older scenes, and empty where it is damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.scene.corrections import CORRECTIONS_ATTRIBUTE, Corrections
from FetusMapV2Lib.scene.estimate_record import ESTIMATE_ATTRIBUTE, EstimateRecord

SIDES = {
    "arms_confidence": 0.9,
    "legs_confidence": None,
    "arms_swapped": True,
    "legs_swapped": False,
    "consistent": None,
}
STORED = {
    "positions": [[1.5, -2.0, 3.0], [None, None, None]],
    "confidence": [0.25, None],
    "radius90_mm": [2.5, None],
    "laterality": SIDES,
}


@pytest.fixture
def node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLMarkupsFiducialNode:
    return scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")


def test_an_estimate_as_older_scenes_hold_it_is_read(node: slicer.vtkMRMLMarkupsFiducialNode) -> None:
    node.SetAttribute(ESTIMATE_ATTRIBUTE, json.dumps({**STORED, "later": 1}))
    record = EstimateRecord.load(node, 2)
    np.testing.assert_array_equal(record.positions, [[1.5, -2.0, 3.0], [np.nan] * 3])
    np.testing.assert_array_equal(record.confidence, [0.25, np.nan])
    np.testing.assert_array_equal(record.radius90_mm, [2.5, np.nan])
    assert isinstance(record.laterality, Laterality)
    assert (record.laterality.arms_confidence, record.laterality.arms_swapped) == (0.9, True)
    assert np.isnan(record.laterality.legs_confidence) and record.laterality.consistent is None


def test_an_estimate_is_stored_with_the_same_keys_as_ever(node: slicer.vtkMRMLMarkupsFiducialNode) -> None:
    node.SetAttribute(ESTIMATE_ATTRIBUTE, json.dumps(STORED))
    EstimateRecord.load(node, 2).save(node)
    assert json.loads(node.GetAttribute(ESTIMATE_ATTRIBUTE)) == STORED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "NaN",
        json.dumps({**STORED, "positions": [[1.0, 2.0]] * 2}),
        json.dumps({**STORED, "positions": STORED["positions"][:1]}),
        json.dumps({**STORED, "confidence": ["sure", None]}),
        json.dumps({**STORED, "laterality": 1}),
        json.dumps({key: value for key, value in STORED.items() if key != "radius90_mm"}),
    ],
)
def test_a_damaged_estimate_counts_as_none(node: slicer.vtkMRMLMarkupsFiducialNode, text: str) -> None:
    node.SetAttribute(ESTIMATE_ATTRIBUTE, text)
    record = EstimateRecord.load(node, 2)
    assert np.isnan(record.positions).all() and record.positions.shape == (2, 3)
    assert np.isnan(record.confidence).all() and record.laterality is None


def test_corrections_are_read_and_stored_as_ever(node: slicer.vtkMRMLMarkupsFiducialNode) -> None:
    stored = {"confirmed": [[0.0, 1.0, 2.0]], "refined": [[None] * 3], "swapped": ["arms", "legs"]}
    node.SetAttribute(CORRECTIONS_ATTRIBUTE, json.dumps(stored))
    corrections = Corrections.load(node, 1)
    assert corrections.swapped == {"arms", "legs"} and corrections.confirmed.tolist() == [[0.0, 1.0, 2.0]]
    corrections.save(node)
    assert json.loads(node.GetAttribute(CORRECTIONS_ATTRIBUTE)) == stored


def test_corrections_of_another_number_of_landmarks_count_as_none(node: slicer.vtkMRMLMarkupsFiducialNode) -> None:
    Corrections.none(3).save(node)
    assert Corrections.load(node, 2).confirmed.shape == (2, 3)


def test_limbs_that_are_not_known_are_ignored(node: slicer.vtkMRMLMarkupsFiducialNode) -> None:
    stored = {"confirmed": [[None] * 3], "refined": [[None] * 3], "swapped": ["arms", "wings"]}
    node.SetAttribute(CORRECTIONS_ATTRIBUTE, json.dumps(stored))
    assert Corrections.load(node, 1).swapped == {"arms"}
