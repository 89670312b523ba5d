"""A synthetic volume and stand-in engines, so that the module's self-test runs without PyTorch and without files."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel, Stages
from FetusMapV2Lib.estimation.detection import MODELS_RULE, PresenceRule
from FetusMapV2Lib.estimation.estimate import Estimate, RefineMode
from FetusMapV2Lib.estimation.requests import LocalEngine
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene.volume_nodes import add_volume_node
from FetusMapV2Panel.parameters import EngineSettings

if TYPE_CHECKING:
    from FetusMapV2Panel.estimation import Outcome
    from FetusMapV2Panel.nodes import BrowserNode, VolumeNode

#: A plain body lying along S, face to A, fetal left towards -R, in mm, in the order of the landmark schema.
_HEAD = [(0, 0, 30), (0, 9, 24), (0, 11, 18), (0, 10, 20), (0, 9, 12), (0, -8, 14)]
_TRUNK = [(0, -7, 6), (0, 10, -10), (0, -8, -18), (0, -4, -30)]
_ARMS = [(-9, -2, 7), (-14, 4, 1), (-10, 11, 5), (9, -2, 7), (14, 4, 1), (10, 11, 5)]
_LEGS = [(-6, -1, -24), (-9, 9, -18), (-6, 10, -28), (6, -1, -24), (9, 9, -18), (6, 10, -28)]
BODY = (*_HEAD, *_TRUNK, *_ARMS, *_LEGS)


def addVolume(scene: slicer.vtkMRMLScene) -> VolumeNode:
    """Add a small volume node with a bright body in it."""
    k, j, i = np.mgrid[:48, :40, :40].astype(float)
    body = np.exp(-((((k - 24) / 16) ** 2 + ((j - 20) / 8) ** 2 + ((i - 20) / 7) ** 2) ** 2))
    grain = np.random.default_rng(0).rayleigh(1.0, body.shape)
    array = np.clip(20 + 110 * body * grain, 0, 255).astype(np.uint8)
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = (-40, -40, -48)
    return add_volume_node(scene, Volume(array=array, ijk_to_ras=matrix, name="synthetic volume", source=""))


def writeVolumes(path: Path, count: int) -> None:
    """Write such a volume into a file, or a sequence of several."""
    from FetusMapV2Lib.imaging.writing import write_sequence, write_volume
    from FetusMapV2Lib.scene.volume_nodes import volume_from_node

    node = addVolume(slicer.mrmlScene)
    volume = volume_from_node(node)
    slicer.mrmlScene.RemoveNode(node)
    if count == 1:
        write_volume(path, volume)
    else:
        write_sequence(path, [volume] * count, times_s=[0.25 * number for number in range(count)])


def addSequence(scene: slicer.vtkMRMLScene, count: int = 6) -> BrowserNode:
    """Add a small sequence of such volumes, a quarter of a second apart.

    Returns:
        Its browser.
    """
    from FetusMapV2Lib.scene.volume_nodes import volume_from_node
    from FetusMapV2Lib.scene.volume_sequences import add_volume_sequence

    node = addVolume(scene)
    volume = volume_from_node(node)
    scene.RemoveNode(node)
    frames = [volume.with_(array=np.roll(volume.array, number, axis=1)) for number in range(count)]
    return add_volume_sequence(scene, frames, [0.25 * number for number in range(count)], "synthetic sequence")


class EngineStandIn(LocalEngine):
    """An engine that sees the same body in every volume.

    Args:
        settings: as an engine loader gets them.
        found: whether there is a fetus.
    """

    def __init__(self, settings: EngineSettings, found: bool = True) -> None:
        self._device, self._found = settings.device, found

    def estimate(
        self,
        volume: Volume,
        *,
        before: Estimate | None = None,
        refine: RefineMode = "off",
        presence: PresenceRule = MODELS_RULE,
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
    ) -> Estimate:
        """See `PoseEngine.estimate`."""
        return self._answer(volume, before, Stages(on_progress, should_cancel))

    def refine(
        self,
        volume: Volume,
        estimate: Estimate,
        pinned: Collection[int] = (),
        *,
        mode: RefineMode = "prior",
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
    ) -> Estimate:
        """Lower every landmark that is not pinned by 3 mm."""
        Stages(on_progress, should_cancel).reach(0.95, "refining")
        positions = np.array(estimate.pose.positions)
        free = [mark.row for mark in default_schema().landmarks if mark.number not in pinned]
        positions[free] -= (0.0, 0.0, 3.0)
        return replace(estimate, pose=estimate.pose.with_positions(positions))

    def resource_estimate(self, voxels: int, refine: RefineMode = "off") -> ResourceEstimate:
        """See `PoseEngine.resource_estimate`; the memory is unknown."""
        return ResourceEstimate(self._device, "chosen by the self-test", "stand-in", None, None, "")

    def _answer(self, volume: Volume, before: Estimate | None, stages: Stages) -> Estimate:
        """The estimate for a volume; what each stand-in does in its own way."""
        stages.reach(0.5, "searching the whole volume")
        return self._estimate(np.array(BODY, dtype=float), self._found)

    def _estimate(self, positions: NDArray[np.float64], found: bool) -> Estimate:
        """An estimate with these positions (22, 3), or without a fetus."""
        count = len(positions)
        seen = Pose(positions, confidence=np.linspace(0.5, 0.99, count), radius90_mm=np.full(count, 2.0))
        return replace(
            Estimate.given(seen if found else seen.with_positions(np.full((count, 3), np.nan)), "stand-in"),
            seen=None if found else seen,
            status="found" if found else "none",
            reason="" if found else "No fetus found.",
            device=self._device,
            device_reason="chosen by the self-test",
            timings={"network": 0.1},
        )


class MovingEngineStandIn(EngineStandIn):
    """An engine that sees a body whose left wrist moves forward by 3 mm from call to call.

    Args:
        settings: as an engine loader gets them.
        lost: numbers of the calls, from 0, that find no fetus.
    """

    def __init__(self, settings: EngineSettings, lost: Collection[int] = ()) -> None:
        super().__init__(settings)
        self._lost, self._calls = frozenset(lost), 0

    def _answer(self, volume: Volume, before: Estimate | None, stages: Stages) -> Estimate:
        stages.reach(0.5, "searching near the previous pose" if before else "searching the whole volume")
        positions = np.array(BODY, dtype=float)
        positions[default_schema().index("left_wrist"), 1] += 3.0 * self._calls
        self._calls += 1
        return self._estimate(positions, self._calls - 1 not in self._lost)


class ScenarioEngineStandIn(MovingEngineStandIn):
    """An engine that takes its time and can be cancelled meanwhile."""

    def _answer(self, volume: Volume, before: Estimate | None, stages: Stages) -> Estimate:
        for step in range(10):
            stages.reach(0.05 * (step + 1), "searching the whole volume")
            time.sleep(0.02)
        return super()._answer(volume, before, stages)


def writeReport(outcome: Outcome, folder: Path) -> list[Path]:
    """Write every kind of file of the report of an outcome with a fetus; returns their paths."""
    import qt

    from FetusMapV2Lib.exporting import REPORT_KINDS, ExportOptions, export
    from FetusMapV2Lib.reporting.pdf import print_pdf
    from FetusMapV2Panel import view_pictures

    fetus = outcome.poseScene
    assert fetus is not None
    options = ExportOptions(
        (*REPORT_KINDS, "csv", "landmarks"),
        stem="selftest",
        states=fetus.states(),
        pictures=view_pictures.openViews(outcome.inputVolume),
        print_pdf=lambda report, path: print_pdf(report, path, qt),
    )
    return list(export(Estimate.given(fetus.pose(), fetus.model), None, folder, options).values())
