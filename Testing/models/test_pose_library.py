"""A site's own poses in a model's library: all that are added at once are there."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.synthetic_balls import model_of
from scipy.spatial.transform import Rotation
from training.toy_cases import BODY, write_toy_cases

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.models.model_file import load_model, save_model
from FetusMapV2Lib.models.pose_library import add_poses, canonical_poses, extended_model
from FetusMapV2Lib.network.unet import UNet3d


def test_poses_added_to_one_file_at_once_are_all_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = UNet3d(widths=(2, 3, 4))
    path = tmp_path / "site.safetensors"
    save_model(path, model_of(network, input_size=(16, 16, 16)).with_info(network=dict(network.config)))
    before = load_model(path)
    folders = [tmp_path / "cases" / str(seed) for seed in range(4)]
    for seed, folder in enumerate(folders):
        write_toy_cases(folder, 2, seed=seed, shape=(8, 8, 8))
    with pytest.raises(OutputError, match="exists"):
        add_poses(path, folders[0], path)
    threads = [
        threading.Thread(target=add_poses, args=(path, folder, path), kwargs={"overwrite": True}) for folder in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = load_model(path)
    assert len(after.poses) == len(before.poses) + 8
    assert after.info.training["poses_added"] == 8
    assert after.identity != before.identity and after.checksum != before.checksum
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cases", "site.safetensors"]


def test_a_pose_that_is_in_the_library_is_not_added_again(tmp_path: Path) -> None:
    write_toy_cases(tmp_path, 2, shape=(8, 8, 8))
    model = model_of(UNet3d(widths=(2, 3)), input_size=(16, 16, 16))
    once, added = extended_model(model, tmp_path)
    twice, again = extended_model(replace(once, poses=once.poses.astype(np.float32).astype(float)), tmp_path)
    assert (added, again) == (2, 0)
    assert len(twice.poses) == len(once.poses) and twice.info.training["poses_added"] == 2


def test_a_full_library_loses_its_last_poses_not_the_new_ones(tmp_path: Path) -> None:
    write_toy_cases(tmp_path, 2, shape=(8, 8, 8))
    model = model_of(UNet3d(widths=(2, 3)), input_size=(16, 16, 16))
    full = replace(model, poses=np.repeat(model.poses[:1], 1999, axis=0) + np.arange(1999.0)[:, None, None])
    extended, added = extended_model(full, tmp_path)
    assert (len(extended.poses), added) == (2000, 2)
    np.testing.assert_array_equal(extended.poses[2:], full.poses[:1998])


@pytest.mark.parametrize(("apart_mm", "usable"), [(900.0, True), (1100.0, False)])
def test_landmarks_a_metre_away_are_no_body(apart_mm: float, usable: bool, tmp_path: Path) -> None:
    write_toy_cases(tmp_path, 1, shape=(8, 8, 8))
    wrist = default_schema().index("left_wrist")
    positions = BODY.copy()
    positions[wrist] = [apart_mm, 0.0, 0.0]
    write_markups(tmp_path / "case-00.mrk.json", Pose(positions))
    model = model_of(UNet3d(widths=(2, 3)), input_size=(16, 16, 16))
    if usable:
        assert extended_model(model, tmp_path)[1] == 1
    else:
        with pytest.raises(InputError, match="farther apart"):
            extended_model(model, tmp_path)


def test_poses_are_moved_into_the_canonical_frame_at_their_own_size() -> None:
    template = BODY / 60.0 - (BODY / 60.0)[list(default_schema().rows("ht"))].mean(axis=0)
    turn = Rotation.from_euler("xyz", (40, -70, 110), degrees=True).as_matrix()
    pose = 45.0 * template @ turn.T + [5.0, -20.0, 60.0]
    np.testing.assert_allclose(canonical_poses(pose[None], template), 45.0 * template[None], atol=1e-9)


@pytest.mark.parametrize(("known", "kept"), [(3, 0), (4, 1)])
def test_a_pose_needs_four_landmarks_of_head_and_trunk(known: int, kept: int) -> None:
    pose = BODY.copy()
    pose[known:10] = np.nan
    assert len(canonical_poses(pose[None], BODY / 60.0)) == kept
