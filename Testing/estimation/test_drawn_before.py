"""Estimating in a process that has drawn: a viewer without a graphics card, with the engine in the same process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("vtk", reason="VTK is not installed")

# Mesa draws; from then on loading Triton, whose LLVM is another one, would end the process.
_DRAWS = """
import sys
from dataclasses import replace

import numpy as np
import torch
import vtk

window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.AddRenderer(vtk.vtkRenderer())
window.Render()
"""
_ESTIMATES = """
from cli.synthetic_balls import ball_volume, model_of
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.models.model_file import Model, save_model
from FetusMapV2Lib.network.unet import UNet3d

file, size = sys.argv[1], (32, 24, 24)
torch.manual_seed(0)
network = UNet3d(widths=(4, 8, 8))
stub = model_of(network, input_size=size)
info = replace(stub.info, network=dict(network.config))
shown = replace(stub.calibration, detection_threshold=0.0)
save_model(file, Model(network, stub.poses, stub.template, info, shown))
volume, _ = ball_volume()
plain = PoseEngine.load(file, "cpu")
peak = plain._runner.expected_bytes(training=False)
for engine in (plain, PoseEngine.load(file, "cpu", memory_budget=int(0.9 * peak))):
    estimate = engine.estimate(volume, refine="full")
    assert estimate.refinement is not None and np.isfinite(estimate.pose.positions).all()
assert "instead of" in engine.memory_plan
assert "torch._dynamo" in sys.modules and sys.modules.get("triton") is None
"""
_LOADS_A_TRAINING = """
import FetusMapV2Lib

FetusMapV2Lib.train

assert "lightning" in sys.modules and sys.modules.get("triton") is None
"""


@pytest.mark.parametrize("script", [_ESTIMATES, _LOADS_A_TRAINING], ids=["estimates", "a training"])
def test_nothing_loads_triton_on_a_cpu(tmp_path: Path, script: str):
    """Estimates plain, within a memory budget, and with the network tuned to the volume; the library of trainings."""
    if script is _LOADS_A_TRAINING:
        pytest.importorskip("lightning", reason="Lightning is not installed")
    here = Path(__file__).parents[1]
    paths = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", f"{_DRAWS}{script}print('done')", str(tmp_path / "model.safetensors")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stdout.split()[-1:]) == (0, ["done"]), run.stderr
