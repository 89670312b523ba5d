"""A site's own poses in a model's library: all that are added at once are there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from cli.synthetic_balls import model_of
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.models.model_file import load_model, save_model
from FetusMapV2Lib.models.pose_library import add_poses
from FetusMapV2Lib.network.unet import UNet3d


def test_poses_added_to_one_file_at_once_are_all_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = UNet3d(widths=(2, 3, 4))
    path = tmp_path / "site.safetensors"
    save_model(path, model_of(network, input_size=(16, 16, 16)).with_info(network=dict(network.config)))
    before = load_model(path)
    cases = tmp_path / "cases"
    write_toy_cases(cases, 2, shape=(8, 8, 8))
    with pytest.raises(OutputError, match="exists"):
        add_poses(path, cases, path)
    threads = [
        threading.Thread(target=add_poses, args=(path, cases, path), kwargs={"overwrite": True}) for _ in range(4)
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
