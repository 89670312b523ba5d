"""The picture of a case, and the layout that keeps its labels apart."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from FetusMapV2Lib.anatomy.fetal_slices import slice_poses
from FetusMapV2Lib.anatomy.planes import fetal_axes, midsagittal_plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import picture_layout
from FetusMapV2Lib.scene.drawing import Canvas, text_mask, text_width
from FetusMapV2Lib.scene.picture import check_rendering, write_picture
from FetusMapV2Lib.scene.viewpoints import best_viewpoint

SCHEMA = default_schema()


def read_png(path: Path) -> np.ndarray:
    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    width, height, _ = reader.GetOutput().GetDimensions()
    return vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars()).reshape(height, width, -1)[::-1]


def inside(image: np.ndarray, panel: picture_layout.Panel) -> np.ndarray:
    return image[panel.y : panel.y + panel.height, panel.x : panel.x + panel.width]


def has_colour(image: np.ndarray, colour: tuple[float, ...], tolerance: int = 12) -> bool:
    difference = np.abs(image.astype(int) - np.rint(255 * np.array(colour)).astype(int))
    return bool((difference.max(axis=2) <= tolerance).sum() > 20)


def test_picture_shows_slices_skeleton_and_table_and_follows_the_pose(
    volume: Volume, pose: Pose, tmp_path: Path
) -> None:
    path = tmp_path / "Bild é.png"
    write_picture(path, volume, pose)
    assert [found.name for found in tmp_path.iterdir()] == ["Bild é.png"]
    image = read_png(path)
    assert image.shape == (picture_layout.HEIGHT, picture_layout.WIDTH, 3)
    for panel in picture_layout.SLICES:
        assert inside(image, panel).std() > 15, "speckle is visible"
    skeleton = inside(image, picture_layout.SKELETON)
    for group in SCHEMA.groups:
        assert has_colour(skeleton, SCHEMA.landmarks[SCHEMA.rows(group)[0]].colour, 30), group
    assert has_colour(inside(image, picture_layout.TABLE), picture_layout.WHITE)
    assert has_colour(image[-60:], picture_layout.WARNING)
    moved = pose.positions.copy()
    moved[0] += [0, 0, 15]
    write_picture(path, volume, pose.with_positions(moved))
    other = read_png(path)
    for panel in (picture_layout.SKELETON, picture_layout.SLICES[0], picture_layout.TABLE):
        assert (inside(image, panel) != inside(other, panel)).any()


@pytest.mark.parametrize("present", [[0], [0, 9], list(range(10, 22))])
def test_picture_of_an_incomplete_pose(volume: Volume, pose: Pose, tmp_path: Path, present: list[int]) -> None:
    positions = np.full((22, 3), np.nan)
    positions[present] = pose.positions[present]
    write_picture(tmp_path / "few.png", volume, Pose(positions))
    assert inside(read_png(tmp_path / "few.png"), picture_layout.SKELETON).std() > 1


def test_bad_wishes_are_refused(volume: Volume, pose: Pose, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.png"):
        write_picture(tmp_path / "a.jpg", volume, pose)
    with pytest.raises(InputError, match="no landmark"):
        write_picture(tmp_path / "a.png", volume, Pose(np.full((22, 3), np.nan)))
    (tmp_path / "b.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        write_picture(tmp_path / "b.png", volume, pose, overwrite=False)
    assert (tmp_path / "b.png").read_bytes() == b"precious"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hides the graphics driver by Linux means")
@pytest.mark.skipif(bool(ctypes.util.find_library("OSMesa")), reason="this computer can always draw")
def test_a_computer_that_cannot_draw_says_so() -> None:
    """Without a driver VTK would end the process while drawing."""
    bare = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    bare["__EGL_VENDOR_LIBRARY_DIRS"] = str(Path("nowhere"))
    script = (
        "from FetusMapV2Lib.scene.picture import check_rendering\n"
        "from FetusMapV2Lib.core.errors import OutputError\n"
        "try:\n    check_rendering('a.png')\n"
        "except OutputError as error:\n    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], env=bare, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0
    assert "cannot draw" in ended.stdout
    assert "Mesa" in ended.stdout
    assert ended.stderr == ""


def test_a_computer_that_can_draw_is_let_through() -> None:
    check_rendering()


def test_slices_are_anatomical_and_not_mirrored(pose: Pose) -> None:
    plane = midsagittal_plane(pose.positions, SCHEMA)
    axes = fetal_axes(plane)
    sagittal, coronal, transverse = slice_poses(pose.positions, axes, plane, SCHEMA, 1.0)
    cranial = pose.positions[0] - pose.positions[9]
    nose = pose.positions[SCHEMA.index("nasal_tip")] - pose.positions[SCHEMA.index("hind_neck")]
    left = pose.positions[SCHEMA.index("left_shoulder")] - pose.positions[SCHEMA.index("right_shoulder")]
    assert sagittal.up @ cranial > 0 and sagittal.right @ nose > 0
    assert coronal.up @ cranial > 0 and coronal.right @ left > 0
    assert transverse.up @ nose > 0 and transverse.right @ left > 0
    for cut in (sagittal, coronal, transverse):
        assert abs(cut.right @ cut.up) < 1e-9


def test_viewpoint_leaves_room_for_labels(pose: Pose) -> None:
    size, margin = (800, 1000), 200
    view = best_viewpoint(pose.positions, fetal_axes(midsagittal_plane(pose.positions, SCHEMA)), size, margin)
    right = np.cross(view.towards, view.up)
    flat = (pose.positions - view.centre) @ np.stack([right, view.up]).T * size[1] / view.height_mm
    assert np.abs(flat[:, 0]).max() <= size[0] / 2 - margin
    assert np.abs(flat[:, 1]).max() <= size[1] / 2


@pytest.mark.parametrize(
    ("text", "drawn"), [("f\udcfct", "füt"), ("two\nlines", "two lines"), ("bell\x07", "bell"), ("100%\ud800", "100%")]
)
def test_any_name_can_be_drawn(text: str, drawn: str) -> None:
    np.testing.assert_array_equal(text_mask(text, 20), text_mask(drawn, 20))


def test_text_is_legible_and_of_one_height() -> None:
    heights = {text_mask(text, 20).shape[0] for text in ("nose", "Chin", "gap", "12w3d ± 5 d", "a | b")}
    assert len(heights) == 1
    assert text_width("$5 $6", 20) > text_width("5 6", 20), "no formula"
    assert text_width("Umbilical cord insertion", 20) > text_width("Chin", 20) > 20
    assert text_mask("Chin", 20).max() > 0.9


def test_text_is_drawn_where_it_was_asked_for() -> None:
    canvas = Canvas(200, 60, (0, 0, 0))
    canvas.text(190, 30, "Chin", (1, 1, 1), 20, align="right")
    _, columns = np.nonzero(canvas.pixels.max(axis=2))
    assert 188 <= columns.max() < 192
    assert columns.min() == pytest.approx(190 - text_width("Chin", 20), abs=3)
