"""An estimate where the network runs: a GPU's way gives the CPU's answer, and the CPU waits for it once per look."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from cli.synthetic_balls import INPUT_SIZE, BallReader, ball_volume, layout, model_of
from estimation.known_networks import OutOfMemory
from estimation.pretended_device import DEVICE, PretendedDevice
from imaging.samples import ORIENTATIONS, oblique, reordered
from scipy import ndimage
from torch import Tensor, nn

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation import device_volume
from FetusMapV2Lib.estimation.device_volume import DeviceVolume, sampled
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.map_filters import blurred, highest_nearby
from FetusMapV2Lib.estimation.network_tuning import Tuned, Tuning
from FetusMapV2Lib.estimation.shape_prior import ShapePrior
from FetusMapV2Lib.imaging.grid import Grid, resample, sampling_of
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.network.heatmap import gaussian_target

CPU = torch.device("cpu")
SMALL = (40, 32, 32)  # where it does not matter what is found


class SameBody(nn.Module):
    """Heatmaps of one body in every view, some of its joints with a second, lower peak."""

    def forward(self, batch: Tensor) -> Tensor:
        points = layout() * 0.6 * batch.shape[2] / np.ptp(layout()[:, 2]) + (np.array(batch.shape[:1:-1]) - 1) / 2
        maps = gaussian_target(torch.from_numpy(points).float().to(batch.device), batch.shape[2:], 2.0)
        return torch.log(0.8 * maps + 0.2 * maps.roll(1, 0) + 1e-9)[None]


class MovableHeatmaps(nn.Module):
    """Gaussian heatmaps whose centres are its weights."""

    def __init__(self, points_ijk: np.ndarray, device: torch.device) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.from_numpy(points_ijk).float().to(device))

    def forward(self, batch: Tensor) -> Tensor:
        axes = [torch.arange(size, device=batch.device) for size in batch.shape[2:]]
        k, j, i = ((axis - self.points[:, 2 - n, None]) ** 2 for n, axis in enumerate(axes))
        return (-(k[:, :, None, None] + j[:, None, :, None] + i[:, None, None, :]) / 8.0)[None]


def engine_on(
    device: torch.device,
    network: nn.Module,
    views: tuple[str, ...],
    input_size: tuple[int, int, int] = INPUT_SIZE,
) -> PoseEngine:
    return PoseEngine(model_of(network, views=views, decoding="limbs", input_size=input_size), device, "for a test")


@pytest.mark.parametrize(
    ("network", "views", "copies", "expected_looks"),
    [(BallReader(), ("whole",), 1, 1), (SameBody(), ("whole", "close"), 4, 4)],
)
def test_the_device_s_way_gives_the_answer_of_the_cpu_with_one_copy_per_look(
    network: nn.Module, views: tuple[str, ...], copies: int, expected_looks: int
) -> None:
    """Or for several looks side by side."""
    volume, _ = ball_volume()
    expected = engine_on(CPU, network, views).estimate(volume)
    looks: list[int] = []
    hook = network.register_forward_hook(lambda *_: looks.append(1))
    with PretendedDevice() as device:
        found = engine_on(DEVICE, network, views).estimate(volume)
    hook.remove()
    assert len(found.views) == len(expected.views) >= len(views)
    for one, other in zip(found.views, expected.views, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-3)
        np.testing.assert_allclose(one.spread_mm, other.spread_mm, atol=1e-3)
        lengths = [[frame.length_mm for frame in view.hypotheses] for view in (one, other)]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)
    assert device.waits == 0
    assert device.downloads == 1 + copies  # where the volume is bright, what the looks show, and the body beside
    assert len(looks) == expected_looks


@pytest.mark.parametrize(("views", "expected_looks"), [(("whole",), 1), (("whole", "close"), 2)])
def test_an_engine_warms_up_by_one_look_of_each_kind(views: tuple[str, ...], expected_looks: int) -> None:
    network = SameBody()
    looks: list[int] = []
    network.register_forward_hook(lambda *_: looks.append(1))
    with PretendedDevice():
        engine = engine_on(DEVICE, network, views, SMALL)
        engine.warm_up()
        assert len(looks) == expected_looks
        volume, _ = ball_volume()
        assert engine.estimate(volume).warnings == engine_on(DEVICE, network, views, SMALL).estimate(volume).warnings


def test_what_warming_up_did_about_a_full_gpu_is_told_with_every_estimate() -> None:
    engine = engine_on(CPU, OutOfMemory(SameBody(), 1), ("whole",), SMALL)
    engine.warm_up()
    for _ in range(2):
        assert any("memory was too small" in warning for warning in engine.estimate(ball_volume()[0]).warnings)


def test_tuning_waits_for_the_device_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what the pseudo labels come from, and for what all eight steps have seen."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no such device
    body = layout() * 0.5
    grid = Grid.around(body.mean(axis=0), np.eye(3), 4.0, (32, 24, 24))
    seen = grid.to_voxel(body + np.random.default_rng(0).normal(0, 2.0, body.shape))
    prior = ShapePrior(np.stack([body, 1.1 * body]), default_schema())

    def tuned(device: torch.device) -> Tuned:
        network = MovableHeatmaps(seen, device)
        image = torch.zeros(grid.shape).to(device)
        found = Tuning(network, image, grid, 2.0, prior, range(22), {0: body[0]}).run(device)
        assert found is not None and len(found.losses) == 8
        return found

    expected = tuned(CPU)
    with PretendedDevice() as device:
        found = tuned(DEVICE)
    assert found.losses == pytest.approx(expected.losses, rel=1e-5)
    for one, other in zip(found.iterates, expected.iterates, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-4)
    assert (device.waits, device.downloads) == (0, 2)


def test_the_pretended_device_counts_what_a_gpu_waits_for() -> None:
    with PretendedDevice() as device:
        tensor = torch.arange(5.0).to(DEVICE)
        assert (device.uploads, device.downloads, device.waits) == (1, 0, 0)
        assert float(tensor.sum()) == 10.0 and len(tensor.nonzero()) == 4 and int(tensor[tensor > 2].numel()) == 2
        assert device.waits == 3
        assert tensor.cpu().tolist() == [0, 1, 2, 3, 4]
        assert (device.uploads, device.downloads) == (1, 1)


# --- sampling


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "float32"])
@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[::7])
@pytest.mark.parametrize("spacing_mm", [0.6, 2.3])
def test_grey_values_are_those_of_scipy(order, signs, spacing_mm: float, kind: str) -> None:
    grey = 255 * ndimage.gaussian_filter(np.random.default_rng(1).random((31, 26, 29)), 1.0)
    matrix = np.diag([0.9, 1.0, 0.7, 1.0])
    matrix[:3, :3] = oblique() @ matrix[:3, :3]
    volume = reordered(Volume(grey.astype(kind), matrix), order, signs)
    volume.array.flags.writeable = False
    grid = Grid.around(
        volume.centre_ras + np.array([6.0, -4.0, 5.0]), oblique((20.0, 50.0, 5.0)), spacing_mm, (14, 16, 18)
    )
    expected = resample(volume, grid)
    found = [sampled(values, sampling_of(volume, grid), grid) for values in (volume.array, torch.tensor(volume.array))]
    with PretendedDevice():
        found.append(sampled(DeviceVolume(volume, DEVICE)._values, sampling_of(volume, grid), grid).cpu())
    for one in found:
        np.testing.assert_allclose(one.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("full", ["uploaded", "_pooled"])
def test_what_a_gpu_has_no_room_for_is_sampled_on_the_cpu(monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    def refuse(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    volume, _ = ball_volume()
    grid = Grid.fit(volume, (32, 16, 16))
    expected = DeviceVolume(volume, CPU).image(grid, "bright-end")
    monkeypatch.setattr(device_volume, full, refuse)
    with PretendedDevice():
        placed = DeviceVolume(volume, DEVICE)
        assert torch.equal(placed.image(grid, "bright-end"), expected)
        assert placed.profiles() is None


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_the_whole_view_is_aimed_by_sums_that_the_device_took(kind: str) -> None:
    volume = Volume(np.random.default_rng(2).integers(0, 99, (13, 17, 11)).astype(kind), np.diag([1.0, 1.1, 1.2, 1.0]))
    with PretendedDevice():
        profiles = DeviceVolume(volume, DEVICE).profiles()
    assert DeviceVolume(volume, CPU).profiles() is None
    assert profiles is not None
    for away, profile in zip(((1, 2), (0, 2), (0, 1)), profiles, strict=True):
        np.testing.assert_array_equal(profile, volume.array.sum(axis=away, dtype=np.float64))
    grids = Grid.fit(volume, (32, 16, 16)), Grid.fit(volume, (32, 16, 16), profiles)
    np.testing.assert_allclose(grids[0].grid_to_ras, grids[1].grid_to_ras)


# --- filters


def test_filters_are_those_of_scipy() -> None:
    maps = torch.rand(3, 12, 9, 15, generator=torch.Generator().manual_seed(0))
    axes = (0, 1.3, 1.3, 1.3)
    np.testing.assert_allclose(
        blurred(maps, 1.3), ndimage.gaussian_filter(maps.numpy(), axes, mode="constant"), atol=1e-6
    )
    for reach in (1, 2, 3, 5, 8):
        expected = ndimage.maximum_filter(maps.numpy(), (1, *(2 * reach + 1,) * 3), mode="constant")
        np.testing.assert_array_equal(highest_nearby(maps, reach), expected)
