"""The benchmark of robustness: its changes do what they say, and a run that is repeated computes nothing again."""

from __future__ import annotations

import math
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from benchmarks import robustness
from benchmarks.volume_changes import FACTORS, Scene, coarser, field
from training.toy_cases import BODY

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.volume import Volume

SPACING = 1.0


@cache
def drawn() -> Volume:
    """Bright balls of 3 mm at the landmarks, in a sector with black corners."""
    shape = (80, 56, 52)
    matrix = np.diag([SPACING, SPACING, SPACING, 1.0])
    matrix[:3, 3] = -SPACING * (np.array(shape[::-1]) - 1) / 2
    world = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)[..., ::-1] * SPACING
    world = world + matrix[:3, 3]
    grey = np.full(shape, 20.0)
    for centre in BODY:
        grey += 120 * np.exp(-((world - centre) ** 2).sum(axis=-1) / 18)
    grey[np.linalg.norm(world, axis=-1) > 38] = 0
    return Volume(np.clip(grey, 0, 255).astype(np.uint8), matrix)


def scene() -> Scene:
    return Scene(drawn().with_(array=drawn().array.copy()), BODY.copy())


def greys_at(one: Scene, points: np.ndarray) -> np.ndarray:
    """Of the volume at RAS positions."""
    grids = [Grid.around(point, np.eye(3), 1.0, (1, 1, 1)) for point in points]
    return np.array([resample(one.volume, grid)[0, 0, 0] for grid in grids])


@pytest.mark.parametrize("name", FACTORS)
def test_the_landmarks_stay_where_the_body_is(name: str) -> None:
    changed = FACTORS[name](scene())
    assert changed.truth.shape == (22, 3)
    known = np.isfinite(changed.truth).all(axis=1)
    assert known.all() or (name == "legs outside" and 8 < known.sum() < 22)
    volume = changed.volume
    background = np.median(volume.array[volume.array > 0])
    assert np.median(greys_at(changed, changed.truth[known])) > (1.02 if "gain" in name else 1.2) * background
    if name != "unchanged":
        before = scene().volume
        same = volume.shape == before.shape and np.array_equal(volume.array, before.array)
        assert not same or not np.allclose(volume.ijk_to_ras, before.ijk_to_ras)


def test_fields_and_voxels_have_the_sizes_that_they_say() -> None:
    near = field(4.0)(scene()).volume
    assert np.allclose(near.extent_mm, np.ptp(BODY, axis=0) + 8, atol=2 * SPACING + 1e-6)
    assert np.allclose(coarser(4.0)(scene()).volume.spacing, 4.0)
    assert np.allclose(coarser(4.0, axes=(0,))(scene()).volume.spacing, (1, 1, 4))


def test_scores_count_what_was_shown_and_what_was_seen() -> None:
    truth = BODY
    far = BODY + np.array([0, 0, 8.0])
    sure, radii = np.full(22, 0.95), np.full(22, 3.0)
    records = [
        robustness.Record("found", truth, truth + 0.1, radii, sure),
        robustness.Record("doubtful", truth, far, radii, sure),
        robustness.Record("none", truth, far, radii, sure),
    ]
    scores = robustness.Scores.of(records)
    assert (scores.count, scores.found, scores.seen) == (3, 1, 2)
    assert scores.median_mm == pytest.approx(8.0) and scores.covered == pytest.approx(1 / 3)
    assert scores.falsely_sure == pytest.approx(0.5)  # the pose that nobody was shown does not count
    assert scores.sides == 1.0 and scores.crl_mm == pytest.approx(0.0, abs=1e-6)
    empty = robustness.Record("none", np.full((22, 3), np.nan), far, radii, sure)
    assert math.isnan(robustness.Scores.of([empty]).mean_mm)


def test_a_run_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        "--cases",
        "1",
        "--size",
        "69",
        "47",
        "47",
        "--spacing",
        "2.0",
        "--output",
        str(tmp_path),
        "--threads",
        "1",
    ]
    robustness.main([*given, "--worlds", "own", "--factors", "unchanged", "--part", "2/2"])
    assert not list(tmp_path.rglob("records/**/*.json"))  # the other part has the one estimate
    robustness.main([*given, "--worlds", "own", "--factors", "unchanged"])
    (record,) = tmp_path.rglob("records/**/*.json")
    written = record.stat().st_mtime_ns
    capsys.readouterr()
    robustness.main([*given, "--worlds", "own", "--quick", "--report-only"])
    shown = capsys.readouterr().out
    assert record.stat().st_mtime_ns == written
    assert re.search(r"\| unchanged \| [01]\+[01] of 1 \| \d", shown) and "| gain 2.5 | - |" in shown

    # the same case as one of a folder that something else has written
    (simulated,) = tmp_path.rglob("cases/own")
    folder = shutil.copytree(simulated, tmp_path / "theirs")
    theirs = ["--folder", f"theirs={folder}", "--worlds", "own", "--factors", "unchanged", robustness.EMPTY]
    robustness.main([*given, *theirs])
    shown = capsys.readouterr().out
    assert re.search(r"\| unchanged \| (.+) \| \1 \|\n\| empty uterus \| .+ \| - \| - \|", shown)
    with pytest.raises(UserError, match="only 1 cases show a fetus"):
        robustness.main([*given, *theirs, "--cases", "2"])
