"""Calibrating a model on cases: what the engine saw, where the presence threshold lies, and the rewritten file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.synthetic_balls import ball_engine, ball_volume, rump_near_its_skin
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.anatomy.body_frame import canonical_template
from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError, ModelError
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.evaluation.calibrating import (
    Observations,
    ObservedCase,
    calibrate_on_worlds,
    observations_of,
    observe,
    observed,
    uselessness,
)
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.models.calibration import uncalibrated
from FetusMapV2Lib.models.model_file import Model, ModelInfo, load_model, save_model
from FetusMapV2Lib.models.world_calibration import calibrate
from FetusMapV2Lib.network.unet import UNet3d


def seen(generator: np.random.Generator, cases: int, typical: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors that follow the spread, which differs from case to case."""
    spread = typical * np.exp(generator.normal(0, 0.5, (cases, 22)))
    errors = np.linalg.norm(generator.normal(0, 1, (cases, 22, 3)), axis=-1) * spread * 0.8
    return errors, spread, np.clip(1.0 - spread / 20, 0.05, 0.99)


def observations(empty: int = 20, seed: int = 0) -> Observations:
    generator = np.random.default_rng(seed)
    errors, spread, mass = seen(generator, 60, 2.0)
    present = np.clip(generator.normal(0.7, 0.05, 60), 0.5, 1)
    absent = np.clip(generator.normal(0.15, 0.05, empty), 0, 0.3)
    return Observations(errors, spread, mass, present, absent)


def test_the_threshold_parts_cases_with_and_without_a_fetus() -> None:
    data = observations()
    threshold = calibrate({"": data}).detection_threshold
    for part in (data, observations(seed=1)):
        assert (part.detection_score >= threshold).all()
        assert (part.empty_presence < threshold).all()


def test_without_empty_cases_the_threshold_stays_below_every_fetus() -> None:
    data = observations(empty=0)
    assert data.empty_presence.shape == (0,)
    assert 0 < calibrate({"": data}).detection_threshold < 0.6 * data.detection_score.min()


def test_the_radius_covers_nine_in_ten_of_new_cases() -> None:
    calibration = calibrate({"": observations()})
    errors, spread, mass = seen(np.random.default_rng(7), 400, 2.0)
    assert (errors <= calibration.radius90_mm(spread, mass)).mean() == pytest.approx(0.9, abs=0.05)


def test_landmarks_without_truth_are_left_out() -> None:
    data = observations()
    data.errors_mm[::3, 4] = np.nan
    calibration = calibrate({"": data})
    assert np.isfinite(calibration.radius_factors).all() and np.isfinite(calibration.offsets).all()


# --- with an engine


def test_observed_errors_are_distances_in_the_world(tmp_path: Path) -> None:
    volume, truth = ball_volume()
    shifted = truth + np.array([3.0, 0.0, 4.0])  # 5 mm off
    shifted[6] = np.nan
    write_volume(tmp_path / "a.nrrd", volume)
    write_markups(tmp_path / "a.mrk.json", Pose(shifted))
    write_volume(tmp_path / "b.nrrd", volume)
    write_markups(tmp_path / "b.mrk.json", Pose(np.full((22, 3), np.nan)))
    write_json(tmp_path / "b.json", {"fetus_present": False})
    fractions: list[float] = []
    data = observe(ball_engine(), tmp_path, lambda fraction, stage: fractions.append(fraction))
    assert data.errors_mm.shape == (1, 22) and data.detection_score.shape == data.empty_presence.shape == (1,)
    known = np.delete(data.errors_mm[0], 6)
    assert np.abs(known - 5.0).max() < 1.5 and abs(known.mean() - 5.0) < 0.2
    assert np.isnan(data.errors_mm[0, 6])
    assert fractions == sorted(fractions) and fractions[0] == 0.0


@pytest.fixture
def toy_model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = UNet3d(widths=(3, 4, 5))
    poses = np.random.default_rng(0).normal(size=(3, 22, 3)) * 20
    info = ModelInfo(name="toy", network=dict(network.config), input_size=(32, 24, 24), sigma=1.0)
    path = tmp_path / "toy.safetensors"
    save_model(path, Model(network, poses, canonical_template(poses, default_schema()), info))
    return path


def test_the_file_is_rewritten_with_its_calibration_and_nothing_else(toy_model: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    write_toy_cases(cases, 12)
    before = load_model(toy_model)
    calibration = calibrate_on_worlds(toy_model, [cases], force=True, device="cpu").calibration
    after = load_model(toy_model)
    assert before.calibration is None
    assert after.calibration == calibration
    assert calibration.cases == 11
    assert (after.checksum, after.info) == (before.checksum, before.info)
    assert PoseEngine.load(toy_model, "cpu").calibration == calibration
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases", "toy.safetensors"]


def test_a_model_that_changes_meanwhile_is_not_given_a_calibration(toy_model: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    write_toy_cases(cases, 11)
    other = load_model(toy_model).with_info(notice="another")

    def change(fraction: float, _: str) -> None:
        if fraction == 0.0:
            save_model(toy_model, other)

    with pytest.raises(ModelError, match="changed while it was calibrated"):
        calibrate_on_worlds(toy_model, [cases], force=True, device="cpu", on_progress=change)
    assert load_model(toy_model).calibration is None


def test_calibrating_again_gives_the_same(toy_model: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    write_toy_cases(cases, 11)
    first = calibrate_on_worlds(toy_model, [cases], force=True, device="cpu").calibration
    again = calibrate_on_worlds(str(toy_model), [str(cases)], fresh=True, force=True, device="cpu").calibration
    assert again == first
    assert replace(first, detection_threshold=0.0) != first


def test_thresholds_and_shift_of_an_averaged_model_stay(toy_model: Path, tmp_path: Path) -> None:
    """It has no calibration yet, but those that it was averaged from were careful, and no case shows no fetus."""
    write_toy_cases(tmp_path / "cases", 12)
    for path in (tmp_path / "cases").glob("case-11.*"):
        path.unlink()  # the one without a fetus
    shift = LandmarkShift(((0.0, 0.0, 0.05),) * 22)
    kept = replace(uncalibrated(), detection_threshold=0.03, doubtful_threshold=0.02, shift=shift)
    save_model(toy_model, replace(load_model(toy_model), calibration=kept))
    found = calibrate_on_worlds(toy_model, [tmp_path / "cases"], force=True, device="cpu").calibration
    assert (found.detection_threshold, found.doubtful_threshold, found.cases) == (0.03, 0.02, 11)
    assert found.shift == shift


def test_a_shift_is_seen_fitted_and_kept_out_of_the_errors_afterwards() -> None:
    """The balls lie where they lie; whoever annotated them puts the forehead elsewhere."""
    by_landmark = np.zeros((22, 3))
    by_landmark[1, 2] = 0.06
    shift = LandmarkShift(tuple(map(tuple, by_landmark.tolist())))
    volume, balls = ball_volume()
    engine = ball_engine()
    frame = engine.estimate(volume).views[-1].frame
    assert frame is not None
    truth = balls + shift.in_world(frame)
    row = observed(engine, volume, truth)
    assert isinstance(row, ObservedCase)
    assert row.misses[1, 2] == pytest.approx(0.06, abs=0.02) and row.length_mm == frame.length_mm
    fitted = calibrate({"": observations_of([row] * 10, [])}, shift=True)
    assert fitted.shift is not None
    shifted = observed(ball_engine(calibration=fitted), volume, truth)
    assert isinstance(shifted, ObservedCase)
    assert shifted.errors_mm[1] < 0.4 * row.errors_mm[1]
    np.testing.assert_array_equal(shifted.misses, row.misses)


def test_a_skin_that_is_seen_is_observed_and_counts_where_landmarks_lie_at_it() -> None:
    volume, balls = ball_volume()
    near = rump_near_its_skin()
    inside, at_skin = (
        observed(ball_engine(calibration=replace(uncalibrated(), shift=one)), volume, balls)
        for one in (near, replace(near, on_skin=True))
    )
    assert isinstance(inside, ObservedCase) and isinstance(at_skin, ObservedCase)
    np.testing.assert_array_equal(inside.skin_misses, at_skin.skin_misses)
    seen = np.isfinite(inside.skin_misses).all(axis=1)
    assert list(np.flatnonzero(seen)) == [default_schema().index("rump")]
    off = inside.length_mm * np.linalg.norm(inside.skin_misses, axis=1)
    np.testing.assert_allclose(at_skin.errors_mm, np.where(seen, off, inside.errors_mm))


def test_a_shift_stays_until_a_fresh_calibration(toy_model: Path, tmp_path: Path) -> None:
    write_toy_cases(tmp_path / "cases", 12)
    shift = LandmarkShift(((0.0, 0.0, 0.05),) * 22)
    earlier = replace(calibrate({"": observations()}), shift=shift)
    save_model(toy_model, replace(load_model(toy_model), calibration=earlier))
    again, fresh = (
        calibrate_on_worlds(toy_model, [tmp_path / "cases"], force=True, fresh=fresh, device="cpu").calibration
        for fresh in (False, True)
    )
    assert again.shift == shift and fresh.shift is None


def test_too_few_cases_are_refused_before_any_work(toy_model: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    write_toy_cases(cases, 10)  # the last one has no fetus
    (cases / "case-03.nrrd").write_bytes(b"")  # would be refused if it were read
    before = toy_model.read_bytes()
    with pytest.raises(ModelError, match="9 cases with a fetus are too few"):
        calibrate_on_worlds(toy_model, [cases], force=True, device="cpu")
    assert toy_model.read_bytes() == before


def test_cases_that_cannot_be_used_can_be_left_out(toy_model: Path, tmp_path: Path) -> None:
    cases, refused = tmp_path / "cases", []
    write_toy_cases(cases, 13)
    (cases / "case-03.nrrd").write_bytes(b"")
    (cases / "case-04.json").write_text("{", encoding="utf-8")

    def run_case(name, path, job):
        try:
            return job()
        except InputError as error:
            refused.append((name, path.name, error.problem))

    assert calibrate_on_worlds(toy_model, [cases], force=True, device="cpu", run_case=run_case).calibration.cases == 10
    assert [one[:2] for one in refused] == [("case-03", "case-03.nrrd"), ("case-04", "case-04.nrrd")]


def test_a_broken_case_leaves_the_model_alone(toy_model: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    write_toy_cases(cases, 11)
    (cases / "case-03.nrrd").write_bytes(b"")
    before = toy_model.read_bytes()
    with pytest.raises(InputError, match=r"case-03\.nrrd"):
        calibrate_on_worlds(toy_model, [cases], force=True, device="cpu")
    assert toy_model.read_bytes() == before
    with pytest.raises(InputError, match="folder"):
        calibrate_on_worlds(toy_model, [tmp_path / "nothing"], device="cpu")


def test_worlds_are_calibrated_together_and_told_apart(toy_model: Path, tmp_path: Path) -> None:
    for world in ("own", "other"):
        write_toy_cases(tmp_path / world, 7)
    result = calibrate_on_worlds(toy_model, [tmp_path / "own", tmp_path / "other"], force=True, device="cpu")
    assert [row.name for row in result.worlds] == ["own", "other"]
    assert result.calibration.cases == sum(row.cases for row in result.worlds)
    assert result.left_out == (), "the cases of a single world are too few"
    assert any("too few to tell what is familiar" in remark for remark in result.remarks)
    assert load_model(toy_model).calibration == result.calibration


def test_a_few_cases_move_an_earlier_calibration(toy_model: Path, tmp_path: Path) -> None:
    """With three cases; without any that shows no fetus its threshold stays."""
    earlier = replace(calibrate({"": observations()}), detection_threshold=0.8)
    save_model(toy_model, replace(load_model(toy_model), calibration=earlier))
    write_toy_cases(tmp_path / "few", 3)
    moved = calibrate_on_worlds(toy_model, [tmp_path / "few"], force=True, device="cpu").calibration
    assert moved.detection_threshold == 0.8 and moved.spread_weight == earlier.spread_weight
    assert moved.offsets != earlier.offsets and moved.cases == 33
    with pytest.raises(ModelError, match="3 cases with a fetus are too few"):
        calibrate_on_worlds(toy_model, [tmp_path / "few"], fresh=True, force=True, device="cpu")


def test_a_useless_model_is_refused_with_what_to_do(toy_model: Path, tmp_path: Path) -> None:
    write_toy_cases(tmp_path / "cases", 11)
    before = toy_model.read_bytes()
    with pytest.raises(ModelError, match=r"half of its landmarks .* Train it longer .*\(--force\)"):
        calibrate_on_worlds(toy_model, [tmp_path / "cases"], device="cpu")
    assert toy_model.read_bytes() == before


def test_what_makes_a_model_useless() -> None:
    good = observations()
    assert uselessness([good]) == ""
    assert "half of its landmarks" in uselessness([replace(good, errors_mm=good.errors_mm * 20)])
    same = replace(good, empty_presence=good.detection_score[:20] + 0.01)
    assert "does not tell" in uselessness([same])
    assert uselessness([replace(same, empty_presence=same.empty_presence[:4])]) == "", "too few without a fetus"
