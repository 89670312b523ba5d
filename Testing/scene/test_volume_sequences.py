"""Sequences of volumes in a scene: read as the browser shows them, from memory and from files, with their times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_sequence
from FetusMapV2Lib.scene.scene_files import application_of
from FetusMapV2Lib.scene.volume_nodes import matrix_to_vtk, volume_from_node
from FetusMapV2Lib.scene.volume_sequences import VolumeFrames, add_volume_sequence, browsers_of_volumes, frame_times


@pytest.fixture
def frames(volume: Volume) -> list[Volume]:
    return [volume.with_(array=np.roll(volume.array, number, axis=1)) for number in range(4)]


def assert_same(one: Volume, other: Volume) -> None:
    np.testing.assert_array_equal(one.array, other.array)
    np.testing.assert_allclose(one.ijk_to_ras, other.ijk_to_ras, atol=1e-6)


def test_frames_come_back_in_any_order_and_the_browser_shows_them(scene: Any, frames: list[Volume]) -> None:
    browser = add_volume_sequence(scene, frames, [0.0, 0.25, 0.5, 1.0], "case")
    found = VolumeFrames(browser)
    assert len(found) == 4
    for number in (3, 0, 2, -1):
        assert_same(found[number], frames[number])
    assert len(found[1:3]) == 2
    with pytest.raises(IndexError):
        found[4]
    for number in (2, 0):
        browser.SetSelectedItemNumber(number)
        assert_same(volume_from_node(found.proxy_node), frames[number])
    assert found.proxy_node.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeGrey"
    assert frame_times(browser) == pytest.approx([0.0, 0.25, 0.5, 1.0])
    assert browsers_of_volumes(scene) == [browser]
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


@pytest.mark.parametrize("times", [None, [0.0, 0.1, 0.2, 0.3]])
def test_a_sequence_file_that_slicer_reads(scene: Any, frames: list[Volume], tmp_path: Path, times: Any) -> None:
    write_sequence(tmp_path / "Föt 1.seq.nrrd", frames, times_s=times)
    sequence = application_of(scene).modules["Sequences"].AddSequence(str(tmp_path / "Föt 1.seq.nrrd"))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    found = VolumeFrames(browser)
    assert_same(found[3], frames[3])
    assert (frame_times(browser) is None) == (times is None)
    assert times is None or frame_times(browser) == pytest.approx(times)


def test_the_transform_that_the_volume_is_under_moves_every_frame(
    scene: Any, frames: list[Volume], transform_matrix: np.ndarray
) -> None:
    browser = add_volume_sequence(scene, frames)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix_to_vtk(transform_matrix))
    found = VolumeFrames(browser)
    found.proxy_node.SetAndObserveTransformNodeID(transform.GetID())
    for number in (0, 3):
        np.testing.assert_allclose(found[number].ijk_to_ras, transform_matrix @ frames[number].ijk_to_ras, atol=1e-6)


def test_what_holds_no_volumes_is_refused(scene: Any, frames: list[Volume]) -> None:
    with pytest.raises(InputError, match="no volumes"):
        VolumeFrames(None)
    empty = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "empty")
    with pytest.raises(InputError, match=r"empty.*no volumes"):
        VolumeFrames(empty)
    models = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    models.SetDataNodeAtValue(slicer.vtkMRMLModelNode(), "0")
    empty.SetAndObserveMasterSequenceNodeID(models.GetID())
    assert browsers_of_volumes(scene) == []
    with pytest.raises(InputError, match="no frames"):
        add_volume_sequence(scene, [])


def test_an_unusable_frame_is_told_when_it_is_read(scene: Any, frames: list[Volume]) -> None:
    frames[2] = frames[2].with_(array=np.zeros_like(frames[2].array))
    found = VolumeFrames(add_volume_sequence(scene, frames))
    assert_same(found[1], frames[1])
    with pytest.raises(InputError):
        found[2]


@pytest.mark.parametrize("unit", ["", "frame", "mm"])
def test_an_index_that_is_no_time(scene: Any, frames: list[Volume], unit: str) -> None:
    browser = add_volume_sequence(scene, frames, [0, 1, 2, 3])
    browser.GetMasterSequenceNode().SetIndexUnit(unit)
    assert frame_times(browser) is None
