"""Which volume, and which frame of a sequence, a pose belongs to.

Nodes are compared by reference, never by name: names are for display only.
"""

from __future__ import annotations

from slicer import vtkMRMLNode

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.scene import ownership
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.node_names import node_name
from FetusMapV2Lib.scene.pose_nodes import FRAME_ATTRIBUTE
from FetusMapV2Lib.scene.sequence_storage import browser_of
from FetusMapV2Lib.scene.volume_sequences import VolumeFrames, browsers_of_volumes
from FetusMapV2Panel.nodes import BrowserNode, LandmarksNode, VolumeNode
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

#: Attribute of a volume, or of the browser of its sequence, whose newest estimate found no fetus: `_ALL_FRAMES`, or
#: the numbers of the frames without one.
_NO_FETUS = "FetusMapV2.NoFetus"
_ALL_FRAMES = "all"


def browserOf(volume: VolumeNode | None) -> BrowserNode | None:
    """The sequence browser that shows its frames in a volume node; None for a static volume."""
    scene = volume.GetScene() if volume is not None else None
    browsers = browsers_of_volumes(scene) if scene is not None else []
    return next((browser for browser in browsers if volumeOf(browser) is volume), None)


def volumeOf(browser: BrowserNode | None) -> VolumeNode | None:
    """The volume node in which a sequence browser shows its frames; None without one."""
    try:
        return VolumeFrames(browser).proxy_node
    except InputError:
        return None


def shownFrame(volume: VolumeNode | None) -> int | None:
    """The frame that a volume node shows, from 0; None for a static volume."""
    browser = browserOf(volume)
    return browser.GetSelectedItemNumber() if browser is not None else None


def recordFrame(landmarks: LandmarksNode, frame: int | None) -> None:
    """Store in which frame of its volume a pose was estimated; nothing for a static volume."""
    if frame is not None:
        landmarks.SetAttribute(FRAME_ATTRIBUTE, str(frame))


def hiddenFrame(landmarks: LandmarksNode) -> int | None:
    """The frame in which a pose was estimated, if its volume shows another one now."""
    recorded, shown = landmarks.GetAttribute(FRAME_ATTRIBUTE) or "", shownFrame(ownership.volume_of(landmarks))
    if shown is None or not recorded.isdecimal() or int(recorded) == shown or browser_of(landmarks) is not None:
        return None  # landmarks in a sequence of their own change with the frame
    return int(recorded)


def belongsTo(landmarks: LandmarksNode, volume: VolumeNode | None) -> bool:
    """Whether a pose belongs to the shown frame of a volume node; for None, whether it belongs to no volume."""
    return ownership.volume_of(landmarks) is volume and hiddenFrame(landmarks) is None


def posesOfShownFrame(volume: VolumeNode | None) -> list[LandmarksNode]:
    """Landmarks of the poses that belong to the shown frame of a volume, the oldest first."""
    scene = volume.GetScene() if volume is not None else None
    poses = ownership.poses_of(scene, volume) if scene is not None else []
    return [landmarks for landmarks in poses if hiddenFrame(landmarks) is None]


def recordFetusFound(volume: VolumeNode, found: bool, frame: int | None = None) -> None:
    """Store in the scene whether the newest estimate found a fetus in a volume, or in one of its frames."""
    node = browserOf(volume) or volume  # attributes of the volume itself are lost when another frame is shown
    empty = set() if frame is None else set((node.GetAttribute(_NO_FETUS) or "").split())
    empty.discard(_ALL_FRAMES)
    key = _ALL_FRAMES if frame is None else str(frame)
    empty = empty - {key} if found else empty | {key}
    if empty:
        node.SetAttribute(_NO_FETUS, " ".join(sorted(empty)))
    else:
        node.RemoveAttribute(_NO_FETUS)


def noFetusFound(volume: VolumeNode | None) -> bool:
    """Whether the newest estimate found no fetus in the shown frame of a volume."""
    node = browserOf(volume) or volume
    empty = (node.GetAttribute(_NO_FETUS) or "").split() if node is not None else []
    return _ALL_FRAMES in empty or str(shownFrame(volume)) in empty


def displayName(node: vtkMRMLNode) -> str:
    """The name of a node for display; for volumes of the same name, with a number."""
    name, scene = node_name(node), node.GetScene()
    volumes = nodes_by_class(scene, "vtkMRMLScalarVolumeNode") if scene is not None else []
    same = [volume for volume in volumes if node_name(volume) == name]
    return _("{0} ({1})").format(name, same.index(node) + 1) if len(same) > 1 and node in same else name
