"""Whose a pose is: the volume it was estimated in, and of a volume that steps through frames, the frame.

Nodes are told apart by reference, never by name: names are only for the eye.
"""

from __future__ import annotations

from typing import Any

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.scene import ownership, pose_nodes
from FetusMapV2Lib.scene.node_names import node_name
from FetusMapV2Lib.scene.pose_sequence import FRAME_ATTRIBUTE, browser_of
from FetusMapV2Lib.scene.volume_sequences import VolumeFrames, browsers_of_volumes
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

#: Attribute of a volume, or of the browser that steps through its frames, where the newest estimate found no fetus:
#: `_EVERYWHERE`, or the numbers of such frames.
_NO_FETUS = "FetusMapV2.NoFetus"
_EVERYWHERE = "all"


def browserOf(volume) -> Any:
    """The sequence browser that steps through the frames of a volume node; None for a volume that stands still."""
    if volume is None or volume.GetScene() is None:
        return None
    browsers = browsers_of_volumes(volume.GetScene())
    return next((browser for browser in browsers if volumeOfBrowser(browser) is volume), None)


def volumeOfBrowser(browser) -> Any:
    """The volume node in which a browser shows its frames; None if it has none."""
    try:
        return VolumeFrames(browser).proxy_node
    except InputError:
        return None


def frameOf(volume) -> int | None:
    """The frame that a volume node shows, from 0; None for a volume that stands still."""
    browser = browserOf(volume)
    return browser.GetSelectedItemNumber() if browser is not None else None


def keepFrame(landmarks, frame: int | None) -> None:
    """Say in which frame of its volume a pose was estimated."""
    if frame is not None:
        landmarks.SetAttribute(FRAME_ATTRIBUTE, str(frame))


def otherFrame(landmarks) -> int | None:
    """The frame that a pose was estimated in, where its volume now shows another one."""
    kept, shown = landmarks.GetAttribute(FRAME_ATTRIBUTE) or "", frameOf(ownership.volume_of(landmarks))
    if shown is None or not kept.isdecimal() or int(kept) == shown or browser_of(landmarks) is not None:
        return None  # landmarks in a sequence of their own go from frame to frame with the volume
    return int(kept)


def isOf(landmarks, volume) -> bool:
    """Whether a pose belongs to what a volume node shows now; with no volume, whether it belongs to none."""
    return ownership.volume_of(landmarks) is volume and otherFrame(landmarks) is None


def posesOf(volume) -> list[Any]:
    """Landmarks of the poses that belong to what a volume shows now, the oldest first."""
    poses = ownership.poses_of(volume.GetScene(), volume) if volume is not None else []
    return [landmarks for landmarks in poses if otherFrame(landmarks) is None]


def keepAnswer(volume, found: bool, frame: int | None = None) -> None:
    """Keep in the scene whether the newest estimate found a fetus in a volume, or in one of its frames."""
    keeper = browserOf(volume) or volume  # what is kept with a volume itself goes when another frame is shown
    without = set() if frame is None else set((keeper.GetAttribute(_NO_FETUS) or "").split())
    without.discard(_EVERYWHERE)
    key = _EVERYWHERE if frame is None else str(frame)
    without = without - {key} if found else without | {key}
    if without:
        keeper.SetAttribute(_NO_FETUS, " ".join(sorted(without)))
    else:
        keeper.RemoveAttribute(_NO_FETUS)


def foundNone(volume) -> bool:
    """Whether the newest estimate found no fetus in what a volume shows now."""
    keeper = browserOf(volume) or volume
    without = (keeper.GetAttribute(_NO_FETUS) or "").split() if keeper is not None else []
    return _EVERYWHERE in without or str(frameOf(volume)) in without


def label(volume) -> str:
    """A volume's name for the eye; with its number among the volumes of the same name."""
    name = node_name(volume)
    scene = volume.GetScene()
    volumes = pose_nodes.of_class(scene, "vtkMRMLScalarVolumeNode") if scene is not None else []
    same = [node for node in volumes if node_name(node) == name]
    return _("{0} ({1})").format(name, same.index(volume) + 1) if len(same) > 1 and volume in same else name
