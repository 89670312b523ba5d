"""The bundled model through the engine: it finds a fetus however the file is laid out, and none where there is none."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.requests import EstimateRequest
from FetusMapV2Lib.evaluation.metrics import limb_sides_right
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.phantom.scene_options import SceneOptions
from FetusMapV2Lib.phantom.simulated_case import simulate_case
from FetusMapV2Lib.remote.client import RemoteEngine

REAL_ULTRASOUND = Path(__file__).resolve().parents[3] / "shared" / "data" / "real-ultrasound"
SHAPE, SPACING = (230, 157, 156), 0.6
#: The bodies that the bundled model was trained on.
BODIES = "2026-1"


@pytest.fixture(scope="module")
def engine():
    return PoseEngine.load(device="cpu")


@pytest.fixture(scope="module")
def case():
    bodies = SceneOptions(anatomy=BODIES)
    return simulate_case(4242, 1, shape_kji=SHAPE, spacing_mm=SPACING, style="held-out", scene=bodies)


@pytest.fixture(scope="module")
def estimate(engine, case):
    return engine.estimate(case.volume)


def test_a_fetus_is_found_where_it_is(case, estimate):
    assert estimate.found
    errors = _apart(estimate.pose.positions, case.pose.positions)
    assert errors.mean() < 5.0
    assert limb_sides_right(estimate.pose.positions[None], case.pose.positions[None], default_schema()).all()
    assert (estimate.pose.confidence > 0).all() and (estimate.pose.confidence <= 1).all()
    assert (estimate.pose.radius90_mm > 0).all()


def test_the_next_frame_is_searched_near_the_pose_before_in_another_process_too(engine, case, estimate):
    again = engine.estimate(case.volume, before=estimate)
    assert [one.view for one in again.views] == ["close", "tight"]
    with RemoteEngine(device="cpu") as remote:
        stages: list[str] = []
        request = EstimateRequest(case.volume, before=estimate)
        there = remote.submit(request, lambda _, stage: stages.append(stage)).result()
    assert _apart(there.pose.positions, again.pose.positions).max() < 1e-3
    assert there.mean_peak_mass == pytest.approx(again.mean_peak_mass)
    assert "searching near the previous pose" in stages and "searching the whole volume" not in stages


def _apart(one, other):
    return np.linalg.norm(one - other, axis=1)


def _grid_voxel_mm(engine):
    return SHAPE[0] * SPACING / max(engine.model.input_size)


def _relaid(volume: Volume, order: tuple[int, ...], flips: tuple[int, ...]) -> Volume:
    """The same voxels in the same place, with other index axes."""
    array = volume.array.transpose(order)
    matrix = np.eye(4)
    matrix[:3, 3] = volume.ijk_to_ras[:3, 3]
    for new in range(3):
        old = order[new]
        step = volume.ijk_to_ras[:3, 2 - old]
        matrix[:3, 2 - new] = step * flips[new]
        if flips[new] < 0:
            matrix[:3, 3] += step * (array.shape[new] - 1)
    array = array[tuple(slice(None, None, flip) for flip in flips)]
    return Volume(np.ascontiguousarray(array), matrix, volume.name, volume.source, ())


LAYOUTS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


@pytest.mark.parametrize("order, flips", [LAYOUTS[7], *LAYOUTS[1::9]])  # each order and each combination of flips once
def test_the_layout_of_the_volume_changes_nothing(order, flips, engine, case, estimate):
    again = engine.estimate(_relaid(case.volume, order, flips))
    assert _apart(again.pose.positions, estimate.pose.positions).max() < 0.3 * _grid_voxel_mm(engine)


def test_the_layout_of_the_file_changes_nothing(engine, case, estimate, tmp_path):
    """All 48 layouts of a file are read as one world in `imaging/test_reading.py`."""
    order, flips = LAYOUTS[22]
    path = tmp_path / "größe 1.nrrd"
    write_volume(path, _relaid(case.volume, order, flips))
    again = engine.estimate(read_volume(path))
    moved = _apart(again.pose.positions, estimate.pose.positions)
    assert moved.max() < 0.3 * _grid_voxel_mm(engine)


def test_an_oblique_volume_turns_the_landmarks(engine, case, estimate):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [25, -40, 70], degrees=True).as_matrix()
    turn[:3, 3] = [12.0, -30.0, 7.0]
    oblique = case.volume.with_(ijk_to_ras=turn @ case.volume.ijk_to_ras)
    again = engine.estimate(oblique)
    expected = estimate.pose.transformed(turn).positions
    assert _apart(again.pose.positions, expected).max() < 0.3 * _grid_voxel_mm(engine)


def test_anisotropic_spacing_is_understood(engine, case, estimate):
    array = ndimage.zoom(
        case.volume.array.astype(np.float32), (0.75, 1.0, 1.0), order=1, grid_mode=True, mode="nearest"
    )
    matrix = case.volume.ijk_to_ras.copy()
    step = SPACING * case.volume.array.shape[0] / array.shape[0]
    matrix[2, 2] = step
    matrix[2, 3] += (step - SPACING) / 2
    again = engine.estimate(case.volume.with_(array=array.astype(np.uint8), ijk_to_ras=matrix))
    assert np.median(_apart(again.pose.positions, estimate.pose.positions)) < 0.3 * _grid_voxel_mm(engine)
    assert _apart(again.pose.positions, case.pose.positions).mean() < 5.0


def _volume(array: np.ndarray) -> Volume:
    return Volume(array, np.diag([0.6, 0.6, 0.6, 1.0]), "made up", "made up", ())


@pytest.mark.parametrize("kind", ["noise", "speckle", "ramp", "black", "ball"])
def test_no_fetus_where_there_is_none(kind, engine):
    generator = np.random.default_rng(3)
    shape = (160, 120, 120)
    k, j, i = np.indices(shape)
    volumes = {
        "noise": lambda: generator.integers(0, 256, shape),
        "speckle": lambda: 60 * np.abs(ndimage.gaussian_filter(generator.normal(size=shape), 2)) / 0.07,
        "ramp": lambda: 255 * k / shape[0],
        "black": lambda: np.zeros(shape),
        "ball": lambda: 40 + 150 * ((k - 80) ** 2 + (j - 60) ** 2 + (i - 60) ** 2 < 40**2),
    }
    answer = engine.estimate(_volume(np.clip(volumes[kind](), 0, 255).astype(np.uint8)))
    assert not answer.found, f"detection score {answer.detection_score:.2f}"
    assert "No fetus found" in answer.reason


def test_no_fetus_in_an_empty_uterus(engine):
    empty = simulate_case(4243, 0, shape_kji=(154, 105, 104), spacing_mm=0.9, scene=SceneOptions("empty", BODIES))
    assert not engine.estimate(empty.volume).found


@pytest.mark.skipif(not REAL_ULTRASOUND.is_dir(), reason="the real volumes are not beside this checkout")
@pytest.mark.parametrize(
    "name, spacing",
    [("SpinePhantomFreehandReconstructed.mha", None), ("BoneUltrasound_L14.igs.mha", (0.5, 0.5, 0.5))],
)
def test_no_fetus_in_real_ultrasound_of_something_else(name, spacing, engine):
    answer = engine.estimate(read_volume(REAL_ULTRASOUND / name, spacing=spacing))
    assert not answer.found, f"detection score {answer.detection_score:.2f}"


def test_the_model_says_where_it_comes_from(engine):
    info = engine.model.info
    assert info.training["cases"] > 100
    assert "simulate" in str(info.training)
    assert engine.calibration.cases >= 50
    assert engine.model.template.shape == (default_schema().count, 3)
