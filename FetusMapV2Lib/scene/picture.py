"""One picture of a case for the record: skeleton, three slices along the fetal axes, and the measurements.

Drawn off-screen by Slicer's own views; names are set beside them so that none hides another.
"""

from __future__ import annotations

import ctypes.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.vtkCommonCore import vtkLogger
from vtkmodules.vtkRenderingCore import vtkRenderWindow

from FetusMapV2Lib.anatomy.fetal_slices import SlicePose, slice_poses
from FetusMapV2Lib.anatomy.planes import fetal_axes
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.atomic_files import atomic_write, ensure_absent
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import appearance, picture_layout
from FetusMapV2Lib.scene.drawing import Canvas, Image
from FetusMapV2Lib.scene.offscreen_views import SliceView, ThreeDView
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.scene_files import open_scene
from FetusMapV2Lib.scene.triton_first import load_triton
from FetusMapV2Lib.scene.viewpoints import Viewpoint, best_viewpoint
from FetusMapV2Lib.scene.volume_nodes import add_volume_node

Array = NDArray[np.float64]


#: Views are drawn this much larger and averaged, as software renderers have no smooth edges.
_OVERSAMPLING = 2
#: The skeleton on a picture of its own: as wide for its height as a slice, its names as legible when shown as small.
_SKELETON_SIZE = (660, 686)
#: Landmarks within this distance of a slice are named in it.
_NEAR_MM = 3.0


def write_picture(
    path: str | os.PathLike[str],
    volume: Volume,
    pose: Pose,
    *,
    title: str = "",
    footer: str = RESEARCH_USE,
    overwrite: bool = True,
) -> None:
    """Write a PNG picture (1920 x 1200) of a pose in its volume; whole or not at all.

    Args:
        path: the file, its name ends in .png.
        volume: the ultrasound volume.
        pose: positions (N, 3) in RAS mm.
        title: in the head line; the name of the volume if not given.
        footer: the line at the foot.
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: the pose has no landmarks.
        OutputError: the file cannot be written, or this computer cannot draw without a screen.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise OutputError("a picture file ends in .png", where=target, remedy="Choose a name that ends in .png")
    ensure_absent(target, overwrite)
    if not pose.present.any():
        raise InputError("there is no landmark to draw", where=title or volume.name, remedy="Estimate the pose first")
    check_rendering(target)
    canvas = draw_picture(volume, pose, title or volume.name, footer)
    with atomic_write(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(canvas.png())


def check_rendering(where: Path | str = "") -> None:
    """Raise `OutputError` if there is no way to draw off-screen.

    Without a graphics driver VTK falls back to OSMesa, and ends the whole process if that library is not there.
    """
    load_triton()
    with _quiet():
        kind = vtkRenderWindow().GetClassName()
    if "OSOpenGL" in kind and not any(ctypes.util.find_library(name) for name in ("OSMesa", "osmesa")):
        raise OutputError(
            "this computer cannot draw pictures: no graphics driver was found",
            where=where,
            remedy="Install Mesa (Debian: libegl1 libgl1-mesa-dri), or leave the picture out",
        )


def draw_picture(volume: Volume, pose: Pose, title: str, footer: str) -> Canvas:
    """The picture itself; see `write_picture`."""
    canvas = picture_layout.new_sheet(title, footer)
    panels = iter((picture_layout.SKELETON, *picture_layout.SLICES))
    _draw_views(volume, pose, picture_layout.SKELETON.size, lambda title, size: (canvas, next(panels)))
    picture_layout.add_table(canvas, pose)
    picture_layout.add_doubt(canvas, pose.doubt)
    return canvas


def view_pictures(volume: Volume, pose: Pose) -> list[tuple[str, bytes]]:
    """The skeleton and three slices along the fetal axes, each on its own: (title, PNG).

    Raises:
        InputError: the pose has no landmarks.
        OutputError: this computer cannot draw without a screen.
    """
    if not pose.present.any():
        raise InputError("there is no landmark to draw", where=volume.name, remedy="Estimate the pose first")
    check_rendering(volume.name)
    drawn: list[tuple[str, Canvas]] = []

    def place(title: str, size: tuple[int, int]) -> tuple[Canvas, picture_layout.Panel]:
        drawn.append((title, Canvas(*size, picture_layout.BACKGROUND)))
        return drawn[-1][1], picture_layout.Panel(0, 0, *size)

    _draw_views(volume, pose, _SKELETON_SIZE, place)
    return [(title, canvas.png()) for title, canvas in drawn]


#: Gives the canvas and the panel on it for a view of this title and size.
_Place = Callable[[str, tuple[int, int]], tuple[Canvas, picture_layout.Panel]]


def _draw_views(volume: Volume, pose: Pose, skeleton_size: tuple[int, int], place: _Place) -> None:
    """The skeleton, then midsagittal, coronal and transverse slice, each where `place` wants it."""
    schema = pose.schema
    plane = pose.midsagittal_plane
    axes = fetal_axes(plane)
    doubtful = pose.doubtful
    viewpoint = best_viewpoint(pose.positions, axes, skeleton_size, picture_layout.SKELETON_MARGIN)
    slices = slice_poses(pose.positions, axes, plane, schema, picture_layout.SLICES[0].aspect)
    with open_scene() as scene, _quiet():
        volume_node = add_volume_node(scene, volume)
        fetus = PoseScene.create(scene, pose, volume_node=volume_node)
        fetus.calliper_node.GetDisplayNode().SetPropertiesLabelVisibility(False)
        fetus.trace_node.GetDisplayNode().SetSliceIntersectionThickness(_OVERSAMPLING)
        image, pixels = _skeleton(scene, viewpoint, skeleton_size, pose.positions)
        canvas, panel = place(viewpoint.title, skeleton_size)
        picture_layout.add_skeleton(canvas, panel, image, pixels, viewpoint.title, doubtful, schema)
        # Slices across the plane show it as a line; in the plane itself there is nothing to see of it.
        for cut in slices:
            canvas, panel = place(cut.title, picture_layout.SLICES[0].size)
            fetus.trace_node.GetDisplayNode().SetVisibility(cut is not slices[0])
            fetus.calliper_node.GetDisplayNode().SetVisibility(cut is slices[0])
            image, pixels = _slice(fetus, volume_node, cut, panel.size)
            near = np.abs((pose.positions - cut.centre) @ np.cross(cut.right, cut.up)) <= _NEAR_MM
            pixels[~near] = np.nan
            picture_layout.add_slice(canvas, panel, image, pixels, cut, doubtful, schema)
        fetus.close()


def _skeleton(
    scene: slicer.vtkMRMLScene, viewpoint: Viewpoint, size: tuple[int, int], positions: Array
) -> tuple[Image, Array]:
    width, height = size
    view = ThreeDView(scene, (width * _OVERSAMPLING, height * _OVERSAMPLING), picture_layout.PANEL_COLOUR)
    try:
        view.look_at(viewpoint.centre, viewpoint.towards, viewpoint.up, viewpoint.height_mm)
        return _averaged(view.image()), view.to_pixels(positions) / _OVERSAMPLING
    finally:
        view.close()


def _slice(fetus: PoseScene, volume_node: Any, cut: SlicePose, size: tuple[int, int]) -> tuple[Image, Array]:
    view = SliceView(fetus.scene, cut.title, (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING))
    for display in appearance.displays(fetus.slice_skeleton_nodes):
        display.SetSliceIntersectionThickness(appearance.SLICE_LINE_PIXELS * _OVERSAMPLING)
    try:
        view.look_at(volume_node, cut)
        return _averaged(view.image()), view.to_pixels(fetus.snapshot.world) / _OVERSAMPLING
    finally:
        view.close()


def _averaged(image: Image) -> Image:
    height, width, channels = (size // _OVERSAMPLING for size in (*image.shape[:2], image.shape[2] * _OVERSAMPLING))
    blocks = image.reshape(height, _OVERSAMPLING, width, _OVERSAMPLING, channels)
    return np.asarray(blocks.mean(axis=(1, 3)).round(), dtype=np.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep VTK's search for a display out of the command line; what goes wrong is raised as an error."""
    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(before)
