"""Further fetuses of a volume: each is a pose of its own, whose landmarks know their number."""

from __future__ import annotations

from FetusMapV2Lib.scene.node_names import other_fetus_name
from FetusMapV2Panel import pose_ownership
from FetusMapV2Panel.nodes import LandmarksNode, VolumeNode

#: Attribute of the landmarks of a further fetus: its number, from 2.
_NUMBER = "FetusMapV2.FetusNumber"


def nameOf(name: str, number: int) -> str:
    """The name of the nodes of a further fetus, from that of the first."""
    return other_fetus_name(name, number)


def recordNumber(landmarks: LandmarksNode, number: int) -> None:
    """Record which fetus of its volume a pose is of."""
    landmarks.SetAttribute(_NUMBER, str(number))


def isOther(landmarks: LandmarksNode) -> bool:
    """Whether a pose is of another fetus than the first of its volume."""
    return bool(landmarks.GetAttribute(_NUMBER))


def landmarksOf(volume: VolumeNode, number: int) -> LandmarksNode | None:
    """The newest landmarks of a further fetus in the frame of a volume that is shown; None without."""
    own = [one for one in pose_ownership.posesOfShownFrame(volume) if one.GetAttribute(_NUMBER) == str(number)]
    return own[-1] if own else None


def firstOf(volume: VolumeNode) -> LandmarksNode | None:
    """The newest landmarks of the first fetus in the frame of a volume that is shown; None without."""
    own = [one for one in pose_ownership.posesOfShownFrame(volume) if not isOther(one)]
    return own[-1] if own else None
