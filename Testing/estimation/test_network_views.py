"""Body frames are found from imperfect landmarks, and the close view holds the whole fetus the right way up."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame, canonical_template
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.network_views import close_view
from FetusMapV2Lib.phantom.fetus import sample_fetus

SCHEMA = default_schema()


@pytest.fixture(scope="module")
def poses():
    return np.stack([_placed(seed)[0] for seed in range(40)])


@pytest.fixture(scope="module")
def template(poses):
    return canonical_template(poses, SCHEMA)


def _placed(seed):
    generator = np.random.default_rng(seed)
    body = np.asarray(sample_fetus(generator).pose)
    turn = Rotation.random(random_state=seed).as_matrix()
    return body @ turn.T + generator.normal(scale=20, size=3), turn


def test_template_stands_upright_with_unit_length(template):
    crown, rump = SCHEMA.crl_rows
    assert np.linalg.norm(template[crown] - template[rump]) == pytest.approx(1.0)
    assert template[crown, 2] - template[rump, 2] == pytest.approx(1.0)
    for left in ("left_shoulder", "left_hip"):
        row = SCHEMA.index(left)
        assert template[row, 0] > 0 > template[SCHEMA.mirror_rows[row], 0]
    # x left, y posterior, z cranial: the nose lies in front of the neck
    assert template[SCHEMA.index("nasal_tip"), 1] < template[SCHEMA.index("hind_neck"), 1]


def test_frame_turns_with_the_fetus(poses, template):
    turn = Rotation.from_rotvec([0.4, -2.0, 1.0]).as_matrix()
    before = body_frame(poses[3], None, template, SCHEMA)
    after = body_frame(poses[3] @ turn.T + [5.0, -7.0, 11.0], None, template, SCHEMA)
    np.testing.assert_allclose(after.axes, turn @ before.axes, atol=1e-6)
    np.testing.assert_allclose(after.centre, turn @ before.centre + [5.0, -7.0, 11.0], atol=1e-6)
    assert np.linalg.det(after.axes) == pytest.approx(1.0)


def test_frame_survives_one_landmark_gone_astray(poses, template):
    true = body_frame(poses[5], None, template, SCHEMA)
    astray = poses[5].copy()
    astray[SCHEMA.index("chin")] += 60.0
    found = body_frame(astray, None, template, SCHEMA)
    assert true.angle_to(found) < 10.0
    assert found.length_mm == pytest.approx(true.length_mm, rel=0.12)


def test_frame_needs_four_landmarks(poses, template):
    sparse = np.full((22, 3), np.nan)
    sparse[:3] = poses[0][:3]
    assert body_frame(sparse, None, template, SCHEMA) is None


def test_close_view_holds_the_whole_fetus(poses, template):
    shape = (96, 64, 64)
    inside = []
    for pose in poses:
        grid = close_view(body_frame(pose, None, template, SCHEMA), shape)
        voxels = grid.to_voxel(pose)
        inside.append(((voxels > 0) & (voxels < np.array(shape[::-1]) - 1)).all(axis=1))
    inside = np.array(inside)
    assert inside[:, :10].all()
    assert inside.mean() > 0.995


def test_close_view_runs_along_the_body():
    frame = BodyFrame(np.array([1.0, 2.0, 3.0]), Rotation.from_rotvec([0, 0, 1.0]).as_matrix(), 60.0)
    grid = close_view(frame, (96, 64, 64))
    np.testing.assert_allclose(grid.axes, frame.axes, atol=1e-12)
    assert grid.spacing_mm * 96 == pytest.approx(1.7 * 60.0)


def test_jitter_is_reproducible_and_about_as_large_as_asked():
    frame = BodyFrame(np.zeros(3), np.eye(3), 60.0)
    one = frame.jittered(np.random.default_rng(1), 10.0, 0.1, 0.05)
    two = frame.jittered(np.random.default_rng(1), 10.0, 0.1, 0.05)
    np.testing.assert_array_equal(one.axes, two.axes)
    generator = np.random.default_rng(2)
    many = [frame.jittered(generator, 10.0, 0.1, 0.05) for _ in range(300)]
    assert np.sqrt(np.mean([frame.angle_to(j) ** 2 for j in many])) == pytest.approx(10.0, rel=0.15)
    assert np.std([j.centre[0] for j in many]) == pytest.approx(3.0, rel=0.15)
