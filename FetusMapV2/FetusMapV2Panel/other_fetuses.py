"""Further fetuses of a volume: each is a pose of its own, whose landmarks know their number."""

from __future__ import annotations

from FetusMapV2Lib.scene.node_names import other_fetus_name
from FetusMapV2Panel import pose_ownership
from FetusMapV2Panel.nodes import LandmarksNode, VolumeNode

#: Attribute of the landmarks of a further fetus: its number, from 2.
_NUMBER = "FetusMapV2.FetusNumber"
#: Attribute of the landmarks of the first one: how many there are.
_COUNT = "FetusMapV2.FetusCount"


def nameOf(name: str, number: int) -> str:
    """The name of the nodes of a further fetus, from that of the first."""
    return other_fetus_name(name, number)


def recordNumber(landmarks: LandmarksNode, number: int) -> None:
    """Record which fetus of its volume a pose is of."""
    landmarks.SetAttribute(_NUMBER, str(number))


def isOther(landmarks: LandmarksNode) -> bool:
    """Whether a pose is of another fetus than the first of its volume."""
    return bool(landmarks.GetAttribute(_NUMBER))


def numberOf(landmarks: LandmarksNode) -> int:
    """Which fetus of its volume a pose is of, from 1."""
    return int(landmarks.GetAttribute(_NUMBER) or 1)


def recordCount(landmarks: LandmarksNode, count: int) -> None:
    """Record how many fetuses the estimate saw that gave the first pose of a volume."""
    landmarks.SetAttribute(_COUNT, str(count))


def allOf(landmarks: LandmarksNode, volume: VolumeNode | None) -> list[LandmarksNode]:
    """The landmarks of all fetuses of a volume in their order, these among them.

    These alone if others are missing, or were not seen by the estimate that the first one comes from: a second fetus of
    an earlier estimate is none of its twins.
    """
    if volume is None:
        return [landmarks]
    first = firstOf(volume) if isOther(landmarks) else landmarks
    count = int(first.GetAttribute(_COUNT) or 1) if first is not None else 1
    others = [landmarksOf(volume, number) for number in range(2, count + 1)]
    found = [first, *(landmarks if numberOf(landmarks) == n else one for n, one in enumerate(others, start=2))]
    known = [one for one in found if one is not None]
    return known if len(known) == count and landmarks in known else [landmarks]


def landmarksOf(volume: VolumeNode, number: int) -> LandmarksNode | None:
    """The newest landmarks of a further fetus in the frame of a volume that is shown; None without."""
    own = [one for one in pose_ownership.posesOfShownFrame(volume) if one.GetAttribute(_NUMBER) == str(number)]
    return own[-1] if own else None


def firstOf(volume: VolumeNode) -> LandmarksNode | None:
    """The newest landmarks of the first fetus in the frame of a volume that is shown; None without."""
    own = [one for one in pose_ownership.posesOfShownFrame(volume) if not isOther(one)]
    return own[-1] if own else None
