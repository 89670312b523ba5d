"""Adapting a tiny model to a site: better and no less safe, or refused; interrupted anywhere, the same model."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from adaptation.sites import THRESHOLD, options, write_simulated, write_start
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.adaptation import adapting
from FetusMapV2Lib.adaptation.adapting import adapt
from FetusMapV2Lib.adaptation.observing import Seen, see
from FetusMapV2Lib.core.errors import InputError, ModelError, OutputError
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.stop_signals import Stopped, stop_signals
from FetusMapV2Lib.models.model_file import NOTICE_MIXED, Model, load_model, save_model
from FetusMapV2Lib.models.pose_library import canonical_poses
from FetusMapV2Lib.training.case_folder import Case


class CutError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("Klinik Ö")
    write_toy_cases(folder, 6, seed=9)
    return folder


@pytest.fixture(scope="module")
def adapted(start: Path, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an adaptation that went through."""
    output = tmp_path_factory.mktemp("adapted")
    write_simulated(output)
    result = adapt(site, output, options(start))
    assert result.objections == (), result.report
    return output


def test_the_adapted_model_keeps_what_the_model_knew(adapted: Path, start: Path, site: Path) -> None:
    before, after = load_model(start), load_model(adapted / "model.safetensors")
    assert after.calibration is not None and after.calibration.detection_threshold >= THRESHOLD
    assert after.calibration.cases == 30 + 5
    np.testing.assert_array_equal(after.template, before.template)
    assert len(after.poses) == len(before.poses) + 5
    np.testing.assert_allclose(after.poses[5:], before.poses)
    assert canonical_poses(after.poses[:1], after.template).shape == (1, 22, 3)
    assert after.info.notice == NOTICE_MIXED and after.info.name == "model-adapted"
    assert after.info.training["adapted_from"] == before.identity
    assert not after.altered and after.checksum != before.checksum


def test_report_card_and_tables_say_the_same(adapted: Path) -> None:
    assert sorted(path.name for path in adapted.iterdir()) == [
        "adaptation.json", "cases.csv", "model-card.md", "model.safetensors", "report.md", "results.csv",
    ]  # fmt: skip
    rows = list(csv.DictReader((adapted / "results.csv").read_text().splitlines()))
    distance = next(row for row in rows if row["measure"] == "ed_mm")
    assert float(distance["change_high"]) < 0 and distance["n"] == "5"
    report = (adapted / "report.md").read_text(encoding="utf-8")
    assert f"| {float(distance['before']):.2f} [" in report and "**Kept**" in report
    cases = list(csv.DictReader((adapted / "cases.csv").read_text().splitlines()))
    assert np.mean([float(row["after_mm"]) for row in cases]) == pytest.approx(float(distance["after"]), abs=1e-3)
    info = load_model(adapted / "model.safetensors").info
    assert info.evaluation["card"] == (adapted / "model-card.md").read_text(encoding="utf-8")
    assert info.evaluation["adaptation"]["measures"][0]["key"] == "ed_mm"


def test_the_same_call_again_gives_the_result_and_another_one_is_refused(
    adapted: Path, start: Path, site: Path
) -> None:
    before = (adapted / "model.safetensors").read_bytes()
    again = adapt(site, adapted, options(start))
    assert again.model == adapted / "model.safetensors" and "**Kept**" in again.report
    assert (adapted / "model.safetensors").read_bytes() == before
    with pytest.raises(OutputError, match="another adaptation"):
        adapt(site, adapted, options(start, seed=5))


def test_cut_anywhere_it_goes_on_to_the_same_model(adapted: Path, start: Path, site: Path, tmp_path: Path) -> None:
    """Once early, and once more later."""
    write_simulated(tmp_path)
    stages: list[str] = []

    def cut(fraction: float, stage: str) -> None:
        stages.append(stage)
        if len(stages) in (14, 48):
            raise CutError

    for _ in range(2):
        with pytest.raises(CutError):
            adapt(site, tmp_path, options(start), on_progress=cut)
    assert len(set(stages)) > 14
    result = adapt(site, tmp_path, options(start))
    assert result.model is not None
    assert load_model(result.model).checksum == load_model(adapted / "model.safetensors").checksum


def test_ctrl_c_says_how_to_go_on(start: Path, site: Path, tmp_path: Path) -> None:
    write_simulated(tmp_path)

    def interrupt(fraction: float, stage: str) -> None:
        if stage.startswith("fold-1: step 3"):
            signal.raise_signal(signal.SIGINT)

    with stop_signals():
        with pytest.raises(Stopped) as stop:
            adapt(site, tmp_path, options(start), on_progress=interrupt)
        assert "the same command goes on from there" in stop.value.kept
    assert (tmp_path / "work" / "fold-1" / "last.ckpt").is_file()
    assert not (tmp_path / "model.safetensors").exists()


def test_a_model_that_is_not_better_is_refused(site: Path, tmp_path: Path) -> None:
    """Its recipe has a learning rate so small that no weight changes."""
    lazy = write_start(tmp_path / "world", rate=1e-30, steps=2)
    write_simulated(tmp_path / "out")
    result = adapt(site, tmp_path / "out", options(lazy))
    assert result.model is None and "did not fall" in result.objections[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "adaptation.json", "cases.csv", "report.md", "results.csv",
    ]  # fmt: skip
    again = adapt(site, tmp_path / "out", options(lazy))
    assert again.objections == result.objections and "**Refused**" in again.report


def test_where_only_landmarks_lie_elsewhere_they_are_moved_and_no_weight_changes(
    start: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bodies of the site are seen well by the model before and less well by any other; simulated ones by all."""
    learned: list[Path] = []

    def seeing(model: Model, cases: Sequence[Case], device: tuple[torch.device, str], kept: Path) -> Seen:
        seen = see(model, cases, device, kept)
        values = seen.values
        noise = 0.01 if "own" not in kept.stem else 0.03
        values.misses = np.random.default_rng(2).normal(0, noise, (len(values.errors_mm), 22, 3))
        values.misses[:, :2, 2] += 0.06
        values.lengths_mm = np.full(len(values.misses), 60.0)
        values.errors_mm = 60.0 * np.linalg.norm(values.misses, axis=2)
        learned.extend([kept] * ("after-simulated" in kept.stem))
        return seen

    monkeypatch.setattr(adapting, "see", seeing)
    many = tmp_path / "many"
    write_toy_cases(many, 8, seed=9)
    write_simulated(tmp_path / "out")
    result = adapt(many, tmp_path / "out", options(start))
    assert result.model is not None and learned == [], result.report
    before, after = load_model(start), load_model(result.model)
    for name, value in before.network.state_dict().items():
        torch.testing.assert_close(after.network.state_dict()[name], value)
    assert after.calibration is not None and after.calibration.shift is not None
    assert np.array(after.calibration.shift.by_landmark)[:2, 2] == pytest.approx(0.06, abs=0.01)
    assert after.info.training["adapted_steps"] == 0
    for text in (result.report, after.info.evaluation["card"]):
        assert "Landmarks that are moved by 1 % of the crown-rump length or more: " in text
    assert "Share of the fine-tuned weights: 0, chosen by" in result.report
    assert "its weights as they were, its landmarks moved to where 7 annotated cases" in after.info.evaluation["card"]


@pytest.mark.parametrize("forgetful", [("1",), ("1", "0.7"), ("1", "0.7", "0.4")])
def test_a_share_that_forgets_is_passed_over_for_a_smaller_one(
    forgetful: tuple[str, ...], start: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is best for the site; if all forget, the model is refused."""
    looked: list[str] = []

    def forgetting(model: Model, cases: Sequence[Case], device: tuple[torch.device, str], kept: Path) -> Seen:
        seen = see(model, cases, device, kept)
        looked.append(kept.stem)
        if "simulated" in kept.stem:
            seen.values.errors_mm[:] = 5.0 if kept.stem.removeprefix("after-simulated-") in forgetful else 2.0
        return seen

    monkeypatch.setattr(adapting, "see", forgetting)
    write_simulated(tmp_path)
    result = adapt(site, tmp_path, options(start))
    after = [name.removeprefix("after-simulated-") for name in looked if name.startswith("after")]
    assert after[-1] == "0.4" if len(forgetful) == 3 else after[-1] not in forgetful
    assert all(share in forgetful for share in after[:-1])
    assert any("has forgotten" in text for text in result.objections) == (len(forgetful) == 3)
    assert sum(name.startswith("simulated") for name in looked) == 0  # the folds do not look at them


@pytest.mark.parametrize(
    ("blind", "score", "tried"),
    [
        (("own-1",), 0.0, ("1", "0.7")),
        # above the threshold of the model before; the adapted one's is higher, as the site has a volume without a fetus
        (("after-simulated-1",), 0.1, ("1", "0.7")),
        (("own-1", "after-simulated-0.7"), 0.0, ("1", "0.7", "0.4")),
        (("after-simulated-1", "after-simulated-0.7", "after-simulated-0.4"), 0.0, ("1", "0.7", "0.4")),
    ],
)
def test_a_share_with_which_fewer_fetuses_are_seen_is_passed_over_for_the_next_best(
    blind: tuple[str, ...], score: float, tried: tuple[str, ...], start: Path, site: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """More of the new weights is better at the site by a little; one fetus is no longer seen with some shares."""
    errors = {"own-1": 1.0, "own-0.7": 1.1, "own-0.4": 1.2, "before": 5.0}
    looked: list[str] = []

    def seeing(model: Model, cases: Sequence[Case], device: tuple[torch.device, str], kept: Path) -> Seen:
        seen = see(model, cases, device, kept)
        values, name = seen.values, kept.stem
        looked.append(name)
        values.errors_mm[np.isfinite(values.errors_mm)] = errors.get(name, 2.0)
        values.detection_score[:] = 0.9
        values.empty_presence[:] = 0.0
        if name in blind:
            values.detection_score[0] = score
        return seen

    monkeypatch.setattr(adapting, "see", seeing)
    write_simulated(tmp_path)
    result = adapt(site, tmp_path, options(start))
    after = [name.removeprefix("after-simulated-") for name in looked if name.startswith("after")]
    assert tuple(after) == tried
    all_blind = len(blind) == 3
    assert (result.model is None) == all_blind
    assert any("fewer fetuses are found in simulated cases" in text for text in result.objections) == all_blind
    assert f"Share of the fine-tuned weights: {tried[-1]}," in result.report
    for share in tried[:-1]:
        where = "the site's cases" if f"own-{share}" in blind else "simulated cases"
        assert f"- A share of {share} is passed over: fewer fetuses are found in {where}" in result.report
    assert result.report.count("is passed over") == len(tried) - 1


def test_what_cannot_be_adapted_is_said_at_once(start: Path, site: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    write_toy_cases(tmp_path / "few", 4)
    with pytest.raises(InputError, match="4 cases with a fetus are too few"):
        adapt(tmp_path / "few", output, options(start))
    bare = tmp_path / "bare.safetensors"
    save_model(bare, replace(load_model(start), calibration=None))
    with pytest.raises(ModelError, match="not calibrated"):
        adapt(site, output, options(bare))
    save_model(bare, load_model(start).with_info(preset={}))
    with pytest.raises(ModelError, match="how it was trained"):
        adapt(site, output, options(bare))
    assert not output.exists()
    output.mkdir()
    with locked(output / ".adaptation.lock", "this folder"), pytest.raises(OutputError, match="in use"):
        adapt(site, output, options(start))


def test_a_full_disk_is_one_line_and_nothing_is_lost(adapted: Path, start: Path, site: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk; checkpoints and models are larger."""
    resource = pytest.importorskip("resource")
    write_simulated(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        with pytest.raises(OutputError):
            adapt(site, tmp_path, options(start))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "model.safetensors").exists()
    result = adapt(site, tmp_path, options(start))
    assert result.model is not None
    assert load_model(result.model).checksum == load_model(adapted / "model.safetensors").checksum


def test_negatives_are_tested_on_and_folds_are_planned_by_measured_times(
    start: Path, site: Path, tmp_path: Path
) -> None:
    write_toy_cases(tmp_path / "toys", 6, seed=30)
    (tmp_path / "negatives").mkdir()
    (tmp_path / "toys" / "case-05.nrrd").rename(tmp_path / "negatives" / "empty.nrrd")
    write_simulated(tmp_path / "out")
    said: list[str] = []
    measuring = options(start, negatives=tmp_path / "negatives", folds=None, steps=4)
    adapt(site, tmp_path / "out", measuring, say=said.append)
    assert said[0].startswith("5 folds of 4 steps each")
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    alarms = [row["n"] for row in rows if row["measure"] == "false_alarms"]
    assert alarms == ["2", "1"]
    assert json.loads((tmp_path / "out" / "adaptation.json").read_text())["cases"][-1][0] == "empty.nrrd"
