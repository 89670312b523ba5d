"""Images for training: those of a device are those of the CPU, and padding stays black in both."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from training.tiny_run import fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.imaging.volume import Volume, ijk_to_ras_matrix
from FetusMapV2Lib.network.normalisation import Normalisation
from FetusMapV2Lib.training.network_images import DeviceImages, HostImages, augmented
from FetusMapV2Lib.training.preset_options import AugmentationOptions

DEVICES = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
device_of_test = pytest.mark.parametrize("device", DEVICES, ids=str)


def volume(turn: Rotation, spacing: tuple[float, float, float] = (0.9, 1.0, 0.7), name: str = "a") -> Volume:
    array = np.random.default_rng(3).integers(0, 256, (29, 34, 41), dtype=np.uint8)
    return Volume(array, ijk_to_ras_matrix(spacing, (5.0, -7.0, 11.0), turn.as_matrix()), name=name)


@device_of_test
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("grid_spacing", [0.5, 1.1, 2.4])
def test_the_device_samples_as_the_cpu_does(device: torch.device, seed: int, grid_spacing: float) -> None:
    turns = Rotation.random(2, random_state=seed)
    whole = volume(turns[0])
    centre = whole.centre_ras + np.random.default_rng(seed).uniform(-12, 12, 3)  # over the edge, too
    grid = Grid.around(centre, turns[1].as_matrix(), grid_spacing, (24, 16, 18))
    ours = DeviceImages(device).sampled(whole, grid).cpu()
    assert ours.shape == grid.shape and ours.dtype == torch.float32
    torch.testing.assert_close(ours, HostImages().sampled(whole, grid), atol=0.05, rtol=0)


@device_of_test
def test_a_grid_beside_the_volume_is_black(device: torch.device) -> None:
    whole = volume(Rotation.identity())
    grid = Grid.around(whole.centre_ras + 500.0, np.eye(3), 1.0, (8, 8, 8))
    assert not DeviceImages(device).sampled(whole, grid).any()
    assert not HostImages().sampled(whole, grid).any()


@device_of_test
@pytest.mark.parametrize("how", get_args(Normalisation))
def test_the_ends_of_a_volume_are_those_of_the_cpu(device: torch.device, how: Normalisation) -> None:
    whole = volume(Rotation.identity())
    for ours, theirs in zip(DeviceImages(device).ends(whole, how), HostImages().ends(whole, how), strict=True):
        assert ours.device.type == device.type
        torch.testing.assert_close(ours.cpu(), theirs)


@device_of_test
def test_grey_values_change_but_padding_stays_black(device: torch.device) -> None:
    options = AugmentationOptions(gamma=(0.7, 1.4), gain=(0.7, 1.3), noise=0.1, shadow=1.0)
    image = torch.zeros(16, 16, 16, device=device)
    image[4:12] = 0.5
    changed = augmented(image, options, np.random.default_rng(0)).cpu()
    assert not changed[:4].any()
    assert changed[4:12].std() > 0
    assert changed.min() >= 0 and changed.max() <= 1.5
    assert torch.equal(changed, augmented(image, options, np.random.default_rng(0)).cpu())
    assert torch.equal(augmented(image, AugmentationOptions(), np.random.default_rng(0)), image)


@pytest.mark.skipif(len(DEVICES) == 1, reason="needs a GPU")
def test_distortions_without_noise_are_the_same_on_a_gpu() -> None:
    options = AugmentationOptions(gamma=(0.7, 1.4), gain=(0.7, 1.3), shadow=1.0)
    image = torch.rand(12, 16, 14, generator=torch.Generator().manual_seed(0))
    on_cpu, on_gpu = (augmented(image.to(device), options, np.random.default_rng(4)).cpu() for device in DEVICES)
    torch.testing.assert_close(on_gpu, on_cpu, atol=1e-5, rtol=0)


def test_only_so_many_volumes_stay_on_the_device() -> None:
    size = volume(Rotation.identity()).array.nbytes
    images = DeviceImages(torch.device("cpu"), memory_bytes=2 * size)
    grid = Grid.around(volume(Rotation.identity()).centre_ras, np.eye(3), 1.0, (8, 8, 8))
    for name in "abcab":
        images.sampled(volume(Rotation.identity(), name=name), grid)
        assert images._bytes == sum(array.nbytes for array in images._held.values()) <= 2 * size
    assert list(images._held) == ["a", "b"]
    images.sampled(volume(Rotation.identity(), name=""), grid)  # one that was changed, and will not come again
    assert list(images._held) == ["a", "b"]


def test_a_run_on_samples_of_the_device_goes_the_same_way(tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    write_toy_cases(cases, 4)
    overrides = {
        "run.steps": 3,
        "input_size": [32, 16, 16],
        "network.widths": [4, 8],
        "augmentation.mirror": 0.5,
        "augmentation.shadow": 0.5,
        "normalisation": "plausible",
        "distortions.field_of_view.probability": 0.5,
        "distortions.surroundings.probability": 0.5,
        "distortions.blur.probability": 0.5,
        "distortions.grey_curve.probability": 0.5,
        "run.validation_cases": 0,
    }
    weights = []
    for place in ("cpu", "device"):
        fit_on_cpu("up", cases, tmp_path / place, overrides=overrides, prepare_on=place)
        weights.append(torch.load(tmp_path / place / "last.ckpt", weights_only=True)["state_dict"])
    for name, values in weights[0].items():
        torch.testing.assert_close(values, weights[1][name], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("place", "workers", "match"), [("disk", 0, "disk"), ("device", 2, "workers")])
def test_a_place_that_cannot_be(tmp_path: Path, place: str, workers: int, match: str) -> None:
    write_toy_cases(tmp_path / "cases", 2)
    with pytest.raises(UserError, match=match):
        fit_on_cpu("unet", tmp_path / "cases", tmp_path / "run", prepare_on=place, workers=workers)
    assert not (tmp_path / "run" / "last.ckpt").exists()
