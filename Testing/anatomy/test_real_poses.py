"""Left and right by Eq. 7 on 19,816 real fetal poses, where they are at hand.

In the folder that FETUSMAPV2_REAL_DATA names, or beside the checkout in shared/data.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.laterality import Laterality, resolve_sides
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.resources import resource_path

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
POSES = Path(os.environ.get("FETUSMAPV2_REAL_DATA") or BESIDE) / "real-fetal-poses" / "poses.npz"

pytestmark = pytest.mark.skipif(not POSES.exists(), reason="the real fetal poses are not at hand")


def schema_of_the_real_poses() -> Schema:
    """Their keypoints have no crest, nasal bone or neck: the same rule with eyes and knees for the front."""
    document = json.loads(resource_path("Landmarks", "fetusmapv2.json").read_text(encoding="utf-8"))
    midline = ["mid_shoulders", "mid_eyes", "mid_hips", "mid_knees"]
    pairs = ["shoulder", "elbow", "wrist", "hip", "knee", "ankle"]
    marks = []
    template = document["landmarks"][0]
    for number, key in enumerate(midline, start=1):
        marks.append(template | {"number": number, "key": key, "name": key})
    for place, joint in enumerate(pairs):
        for side, other in (("left", 1), ("right", -1)):
            group = side[0] + ("a" if place < 3 else "l")
            number = len(marks) + 1
            extra = {"number": number, "key": f"{side}_{joint}", "name": f"{side} {joint}"}
            marks.append(template | extra | {"group": group, "side": side, "partner": number + other})
    document |= {"id": "real-poses", "landmarks": marks, "edges": [], "head_frame": [1, 2, 3], "trunk_frame": [1, 4, 3]}
    document |= {"registration": [1, 2, 3], "refined": [], "crl": [1, 3], "midsagittal": [1, 2, 3], "face_line": [1, 2]}
    document["bones"] = {
        "left_femur": [11, 13],
        "right_femur": [12, 14],
        "left_humerus": [5, 7],
        "right_humerus": [6, 8],
    }
    return Schema.from_document(document)


@pytest.fixture(scope="module")
def schema() -> Schema:
    return schema_of_the_real_poses()


@pytest.fixture(scope="module")
def poses(schema: Schema) -> np.ndarray:
    """(19816, 16, 3) in the rows of the schema."""
    with np.load(POSES) as data:
        names, points = list(data["keypoints"]), data["positions"].astype(np.float64)

    def keypoint(name: str) -> np.ndarray:
        return points[:, names.index(name)]

    middles = [(keypoint(f"left {n}") + keypoint(f"right {n}")) / 2 for n in ("shoulder", "eye", "hip", "knee")]
    return np.stack(middles + [keypoint(key.replace("_", " ")) for key in schema.keys[4:]], axis=1)


@pytest.fixture(scope="module")
def answers(poses: np.ndarray, schema: Schema) -> list[Laterality]:
    return [resolve_sides(pose, schema)[1] for pose in poses]


def test_it_agrees_with_the_annotated_sides(answers: list[Laterality]) -> None:
    arms = np.array([answer.arms_swapped for answer in answers])
    legs = np.array([answer.legs_swapped for answer in answers])
    confidence = np.array([answer.arms_confidence for answer in answers])
    assert len(answers) == 19816
    for name, wrong in (("arms", arms), ("legs", legs)):
        print(f"{name} as annotated: {1 - wrong.mean():.2%}")
        assert 1 - wrong.mean() >= 0.99
    assert np.median(confidence[arms]) < 0.5 < np.median(confidence[~arms])


def test_arms_and_legs_name_the_same_side(answers: list[Laterality]) -> None:
    """The eyes tell the front of the arms' frame, the knees that of the legs'."""
    agreement = np.mean([answer.consistent is True for answer in answers])
    print(f"arms and legs agree: {agreement:.2%}")
    assert agreement >= 0.99


def test_anonymous_limbs_and_mirrored_bodies(poses: np.ndarray, answers: list[Laterality], schema: Schema) -> None:
    """The answer hangs on the body alone, not on the names the limbs had; a mirrored body gives the opposite one."""
    generator = np.random.default_rng(7)
    # every twentieth is enough, and those on the edge, too
    doubtful = [n for n, answer in enumerate(answers) if answer.arms_swapped or answer.legs_swapped]
    for number in {*range(0, len(poses), 20), *doubtful[:200]}:
        named, _ = resolve_sides(poses[number], schema)
        given = poses[number].copy()
        for group in ("la", "ll"):
            if generator.random() < 0.5:
                rows = [row for pair in schema.pairs_of(group) for row in pair]
                given[rows] = poses[number][schema.mirror_rows][rows]
        mirrored, _ = resolve_sides(given * [-1, 1, 1], schema)
        assert np.array_equal(resolve_sides(given, schema)[0], named)
        assert np.array_equal(mirrored, (named * [-1, 1, 1])[schema.mirror_rows])
