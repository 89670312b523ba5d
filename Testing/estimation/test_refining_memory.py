"""Refinement within a memory budget: the same steps by another plan, and what happens where no plan fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate, Refinement
from FetusMapV2Lib.estimation.network_tuning import Tuning
from FetusMapV2Lib.estimation.shape_prior import ShapePrior
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.memory.planner import plan_training
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.models.model_index import find_model
from FetusMapV2Lib.network.unet import UNet3d

CPU = torch.device("cpu")
SIZE = (32, 24, 24)
PINNED = 11  # row of the left elbow
BUDGET = 6 * 2**20


@pytest.fixture(scope="module")
def tuning() -> Tuning:
    torch.manual_seed(0)
    image = torch.rand(SIZE, generator=torch.Generator().manual_seed(0))
    grid = Grid.around(np.zeros(3), np.eye(3), 2.5, SIZE)
    return Tuning(
        network=UNet3d(widths=(8, 12, 16)),
        image=image,
        grid=grid,
        sigma=2.0,
        prior=ShapePrior(load_model(find_model(None)).poses, default_schema()),
        channels=range(22),
        pinned={PINNED: np.array([4.0, -3.0, 8.0])},
    )


def test_a_lean_plan_takes_the_same_steps(tuning):
    whole = plan_training(tuning.network, SIZE, budget_bytes=2**32)
    plan = plan_training(tuning.network, SIZE)
    assert plan.executor != "vanilla" and plan.prediction.peak_bytes < 0.6 * whole.prediction.peak_bytes
    before = [tensor.clone() for tensor in tuning.network.state_dict().values()]
    plain, lean = tuning.run(CPU), replace(tuning, plan=plan).run(CPU)
    assert plain is not None and lean is not None
    assert len(plain.losses) == 8 and len(plain.iterates) == 8 + 1
    np.testing.assert_allclose(lean.losses, plain.losses, rtol=1e-3)
    assert plain.losses[-1] < plain.losses[0]
    labels = tuning.prior.pseudo_labels(plain.iterates[0].positions, tuple(tuning.pinned))  # of the untuned network
    np.testing.assert_array_equal(plain.labels.positions, labels.positions)
    for tensor, old in zip(tuning.network.state_dict().values(), before, strict=True):
        assert torch.equal(tensor, old)
    assert all(np.array_equal(one.positions[PINNED], tuning.pinned[PINNED]) for one in plain.iterates)


def test_without_memory_for_tuning_the_library_is_used_alone():
    model = load_model(find_model(None))
    info = replace(model.info, input_size=SIZE)
    model = replace(model, network=UNet3d(widths=(8, 128)), info=info)
    engine = PoseEngine(model, CPU, "for a test", memory_budget=BUDGET)  # enough to estimate, not to tune
    radius = np.full(22, 1.0)
    radius[9] = 20.0
    positions = model.poses[0].copy()
    positions[9] += [0.0, 10.0, 0.0]
    volume = Volume(np.zeros(SIZE, np.uint8), np.diag([3.0, 3.0, 3.0, 1.0]))
    pose = Pose(positions, confidence=np.ones(22), radius90_mm=radius)
    seen = Estimate(pose, "found", 1.0, "", "cpu", "", {}, (), model.identity, ())
    refined = engine.refine(volume, seen, mode="full")
    assert refined.refinement.mode == "prior" and 10 in refined.refinement.moved
    assert "memory" in refined.warnings[0]
    assert np.linalg.norm(refined.pose.positions[9] - model.poses[0][9]) < 5.0
    assert engine.refine(volume, seen, mode="off").refinement == Refinement()
