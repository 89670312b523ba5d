"""Sequences of volumes in a scene: what a sequence browser shows, as `Volume`s with times, and the way back.

A sequence browser shows one frame of all its sequences at a time, in proxy nodes that views and modules use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.vtkCommonCore import vtkCollection

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.source import SECONDS, increasing_times
from FetusMapV2Lib.imaging.volume import Volume, VolumeSequence
from FetusMapV2Lib.imaging.volume_checks import checked
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.node_names import node_name, safe_name
from FetusMapV2Lib.scene.volume_nodes import add_volume_node, parent_to_world, set_voxels, show_grey, volume_from_node

_REMEDY = "Load a 4D ultrasound volume"


def browsers_of_volumes(scene: slicer.vtkMRMLScene) -> list[Any]:
    """The sequence browsers of a scene that show volumes."""
    browsers = nodes_by_class(scene, "vtkMRMLSequenceBrowserNode")
    return [browser for browser in browsers if _volume_sequence(browser) is not None]


def add_volume_sequence(
    scene: slicer.vtkMRMLScene,
    frames: Sequence[Volume],
    times_s: Sequence[float] | NDArray[np.float64] | None = None,
    name: str = "Volume",
) -> Any:
    """Add volumes as a sequence with its browser; the first frame is shown.

    Args:
        scene: the MRML scene.
        frames: asked for in order; one that cannot be read becomes black.
        times_s: seconds of the frames, increasing; None = frames are counted.
        name: of the sequence and the beginning of the names of its nodes; made safe and unique.

    Returns:
        The vtkMRMLSequenceBrowserNode.

    Raises:
        InputError: no frame can be read.
    """
    first, name = _first_usable(frames, name), safe_name(name)
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", scene.GenerateUniqueName(name))
    sequence.SetIndexName("frame" if times_s is None else "time")
    sequence.SetIndexUnit("" if times_s is None else "s")
    node = add_volume_node(scene, first)
    for number in range(len(frames)):
        try:
            set_voxels(node, frames[number])
        except InputError:
            set_voxels(node, first.with_(array=np.zeros_like(first.array)))
        sequence.SetDataNodeAtValue(node, f"{number if times_s is None else times_s[number]:.9g}")
    scene.RemoveNode(node)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", scene.GenerateUniqueName(f"{name} browser"))
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetOverwriteProxyName(sequence, False)
    show_grey(browser.GetProxyNode(sequence), first)
    return browser


def _first_usable(frames: Sequence[Volume], name: str) -> Volume:
    problem = InputError("the sequence has no frames", where=name, remedy=_REMEDY)
    for number in range(len(frames)):
        try:
            return frames[number]
        except InputError as error:
            problem = error
    raise problem


class VolumeFrames(VolumeSequence):
    """The volumes that a browser steps through, in world coordinates, read one at a time.

    Attributes:
        proxy_node: the volume node in which they are shown.
        mirrored: give their mirror images (`Volume.mirrored`).
        spacing_given: the user gave their voxel size, see `checked`.
        handedness_given: the user said that they are mirrored, see `checked`.
        on_read: called with the number of a frame before it is read.

    Raises:
        InputError: the browser shows no volumes.
    """

    def __init__(self, browser: Any, *, mirrored: bool = False, spacing_given: bool = False) -> None:
        self.mirrored, self.spacing_given, self.handedness_given = mirrored, spacing_given, mirrored
        self.on_read: Callable[[int], None] = lambda number: None
        sequence = _volume_sequence(browser) if browser is not None else None
        if sequence is None:
            where = node_name(browser) if browser is not None else None
            raise InputError("this sequence holds no volumes", where=where, remedy=_REMEDY)
        self._sequence = sequence
        self._master = browser.GetMasterSequenceNode()
        self.proxy_node = browser.GetProxyNode(sequence)

    def __len__(self) -> int:
        return int(self._master.GetNumberOfDataNodes())

    def _read(self, number: int) -> Volume:
        self.on_read(number)
        node = self._sequence.GetDataNodeAtValue(self._master.GetNthIndexValue(number), False)
        if node is None:
            raise InputError(f"frame {number + 1} is missing", where=node_name(self._sequence), remedy=_REMEDY)
        volume = volume_from_node(node)
        if self.proxy_node is not None:  # a frame has no parent transform of its own
            volume = volume.with_(ijk_to_ras=parent_to_world(self.proxy_node) @ volume.ijk_to_ras)
        volume = checked(volume, spacing_given=self.spacing_given, handedness_given=self.handedness_given)
        return volume.mirrored() if self.mirrored else volume


def frame_nodes(browser: Any) -> list[Any]:
    """The volume nodes in which a browser keeps its frames; changes of the proxy node do not reach them."""
    sequence = _volume_sequence(browser)
    return [] if sequence is None else [sequence.GetNthDataNode(n) for n in range(sequence.GetNumberOfDataNodes())]


def frame_times(browser: Any) -> NDArray[np.float64] | None:
    """(T,) seconds of the frames that a browser steps through; None if its index is not a time."""
    master = browser.GetMasterSequenceNode()
    count = master.GetNumberOfDataNodes()
    unit_s = SECONDS.get((master.GetIndexUnit() or "").strip().lower())
    try:
        values = [float(master.GetNthIndexValue(number)) for number in range(count)]
    except ValueError:
        return None
    times = None if unit_s is None else increasing_times((value * unit_s for value in values), count)
    return None if times is None else np.array(times)


def _volume_sequence(browser: Any) -> Any:
    """The sequence of volumes of a browser, its master if that is one; None if it has none."""
    found = [browser.GetMasterSequenceNode(), *synchronised_sequences(browser)]
    return next((one for one in found if one is not None and _holds_volumes(one)), None)


def synchronised_sequences(browser: Any) -> list[Any]:
    """The sequences that a browser steps through together with its master."""
    found = vtkCollection()
    browser.GetSynchronizedSequenceNodes(found)
    return [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]


def _holds_volumes(sequence: Any) -> bool:
    first = sequence.GetNthDataNode(0) if sequence.GetNumberOfDataNodes() else None
    return first is not None and first.IsA("vtkMRMLScalarVolumeNode") and not first.IsA("vtkMRMLLabelMapVolumeNode")
