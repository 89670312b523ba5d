"""Synthetic patients for the self-test, and what can be seen of each of them in nodes, texts, views and files."""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.progress import Stages
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import ownership
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Panel import selftest
from FetusMapV2Panel.nodes import LandmarksNode, VolumeNode
from FetusMapV2Panel.parameters import EngineSettings

_SCHEMA = default_schema()
#: Ranges of hue: patients differ in the side that has limbs, and its colours are warm on the right, cold on the left.
_HUES = {"right": (0.03, 0.145), "left": (0.52, 0.62)}
_MIN_SATURATION, _MIN_VALUE, _MIN_PIXELS = 0.55, 0.25, 4


@dataclass
class SyntheticPatient:
    """A volume and the fetus that the stand-in engine sees in it.

    Attributes:
        number: the first voxel of the volume, by which the engine knows it.
        side: the side whose limbs the fetus shows.
        scale: its size, and so its lengths.
        node: the volume node.
        secrets: texts that belong to this patient alone.
    """

    number: int
    side: str
    scale: float
    node: VolumeNode
    secrets: tuple[str, ...] = ()

    def pose(self) -> Pose:
        """The pose; all have the middle of an upper arm in the same place, so that the same slices cut their limbs."""
        positions = self.scale * np.array(selftest.BODY, dtype=float)
        positions += meetingPoint() - _middleOfArm(positions, self.side)
        other = "left" if self.side == "right" else "right"
        positions[[mark.row for mark in _SCHEMA.landmarks if mark.key.startswith(other)]] = np.nan
        count = len(positions)
        return Pose(positions, confidence=np.full(count, 0.9), radius90_mm=np.full(count, 2.0))

    def crl(self) -> str:
        """The crown-rump length as texts show it."""
        head, rump = (self.pose().positions[row] for row in _SCHEMA.crl_rows)
        return f"{np.linalg.norm(head - rump):.1f}"


def meetingPoint() -> NDArray[np.float64]:
    """The place (3,) RAS mm where all patients have a limb."""
    return _middleOfArm(np.array(selftest.BODY, dtype=float), "right")


def _middleOfArm(positions: NDArray[np.float64], side: str) -> NDArray[np.float64]:
    return positions[[_SCHEMA.index(f"{side}_shoulder"), _SCHEMA.index(f"{side}_elbow")]].mean(axis=0)


def addPatient(scene: slicer.vtkMRMLScene, number: int, side: str, scale: float) -> SyntheticPatient:
    """Add a patient; the volume nodes of all patients have the same name."""
    patient = SyntheticPatient(number, side, scale, selftest.addVolume(scene))
    patient.node.SetName("3D volume")
    markVolume(patient.node, number)
    patient.secrets = (f"model {number}0{number}", f"device of {number}", f"warning of {number}", patient.crl())
    return patient


def markVolume(node: VolumeNode, number: int) -> None:
    """Write the number of a patient into the first voxel."""
    image = node.GetImageData()
    assert image is not None
    image.GetPointData().GetScalars().SetTuple1(0, number)
    image.Modified()


class PatientsEngine(selftest.EngineStandIn):
    """An engine that knows each patient by the first voxel of the volume, and is its own engine loader.

    Args:
        patients: all that there are.

    Attributes:
        answer: "found", "none" or "error", for the next estimates.
        meanwhile: called during each estimate.
    """

    def __init__(self, *patients: SyntheticPatient) -> None:
        super().__init__(EngineSettings())
        self._patients = {patient.number: patient for patient in patients}
        self.answer = "found"
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, settings: EngineSettings) -> PatientsEngine:
        """See `estimation.EngineLoader`."""
        return self

    def _answer(self, volume: Volume, before: Estimate | None, stages: Stages) -> Estimate:
        stages.reach(0.3, "searching the whole volume")
        self.meanwhile()
        stages.reach(0.6, "close view")
        if self.answer == "error":
            raise InputError("the device is gone")
        patient, found = self._patients[int(volume.array[0, 0, 0])], self.answer == "found"
        model, device, warning, _crl = patient.secrets
        pose = patient.pose()
        if not found:
            pose = Pose(np.full_like(pose.positions, np.nan))
        return replace(
            Estimate.given(pose, model),
            status="found" if found else "none",
            reason="" if found else "No fetus found.",
            device="cpu",
            device_reason=device,
            warnings=(warning,) if found else (),
        )


# --- nodes


def shownPoses() -> list[LandmarksNode]:
    """Landmarks of the poses of which a node is visible in a view."""
    poses = ownership.all_poses(slicer.mrmlScene)
    return [landmarks for landmarks in poses if any(_isShown(node) for node in ownership.nodes_of(landmarks))]


def _isShown(node: slicer.vtkMRMLDisplayableNode) -> bool:
    display = node.GetDisplayNode()
    return display is not None and bool(display.GetVisibility())


# --- texts


def shownTexts(ui: Any) -> str:
    """The texts about a pose in the panel, without the selectors and the line about the patient.

    Args:
        ui: the named widgets of the panel.
    """
    found = [ui.messageLabel.text, ui.detailsLabel.text, ui.summaryLabel.text, ui.frameLabel.text]
    for table in (ui.resultsTable, ui.movementTable):
        cells = ((row, column) for row in range(table.rowCount) for column in range(table.columnCount))
        found += [table.item(*cell).text() for cell in cells if table.item(*cell) is not None]
    for branch in range(ui.landmarksTree.topLevelItemCount):
        item = ui.landmarksTree.topLevelItem(branch)
        for child in range(item.childCount()):
            found += [item.child(child).text(1), item.child(child).text(2)]
    return "\n".join(filter(None, found))


# --- pixels


def sidesInViews() -> dict[str, set[str]]:
    """The sides whose colours are drawn in each open view, with the slices through the place where all limbs meet."""
    layout = slicer.app.layoutManager()
    assert layout is not None
    for node in nodes_by_class(slicer.mrmlScene, "vtkMRMLCrosshairNode"):
        node.SetCrosshairMode(node.NoCrosshair)
    for node in nodes_by_class(slicer.mrmlScene, "vtkMRMLSliceNode"):
        node.JumpSlice(*meetingPoint())
    slicer.util.resetThreeDViews()
    views = {name: layout.sliceWidget(name).sliceView() for name in layout.sliceViewNames()}
    views["3D"] = layout.threeDWidget(0).threeDView()
    return {name: sidesIn(_pixels(view)) for name, view in views.items()}


def _pixels(view: slicer.View) -> NDArray[np.uint8]:
    view.forceRender()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(view.renderWindow())
    grabber.ReadFrontBufferOff()
    grabber.ShouldRerenderOff()
    grabber.Update()
    return vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars())[:, :3]


def sidesIn(pixels: NDArray[np.uint8]) -> set[str]:
    """The sides whose limb colours are among (N, 3) RGB values."""
    colours = pixels[np.ptp(pixels, axis=1) > 255 * _MIN_SATURATION * _MIN_VALUE].astype(float) / 255
    if not len(colours):
        return set()
    high, low = colours.max(axis=1), colours.min(axis=1)
    red, green, blue = colours.T
    span = high - low
    hue = np.select(
        [high == red, high == green], [(green - blue) / span % 6, (blue - red) / span + 2], (red - green) / span + 4
    )
    strong = (span / high >= _MIN_SATURATION) & (high >= _MIN_VALUE)
    counts = {side: np.sum(strong & (hue / 6 > least) & (hue / 6 < most)) for side, (least, most) in _HUES.items()}
    return {side for side, count in counts.items() if count >= _MIN_PIXELS}


# --- files


def fileTexts(folder: Path) -> dict[str, str]:
    """The content of each file of a folder as text; other bytes are replaced."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes().decode("utf-8", "replace") for path in files}


def sidesInPage(html: str) -> set[str]:
    """The sides whose colours are in the pictures of a page."""
    found: set[str] = set()
    for picture in re.findall(r"data:image/png;base64,([^\"]+)", html):
        found |= sidesIn(_decoded(base64.b64decode(picture)))
    return found


def _decoded(png: bytes) -> NDArray[np.uint8]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        path.write_bytes(png)
        reader = vtk.vtkPNGReader()
        reader.SetFileName(str(path))
        reader.Update()
    return vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars())[:, :3]
