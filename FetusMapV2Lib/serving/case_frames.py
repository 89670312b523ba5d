"""`CaseFrames`: the frames of a 4D case, which one is shown, and their poses; `HeldFrames`: as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.movement import Movement
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.reading import Frames, read_sequence, volume_name
from FetusMapV2Lib.imaging.volume import Volume, VolumeSequence
from FetusMapV2Lib.scene.pose_sequence import PoseSequence
from FetusMapV2Lib.scene.volume_sequences import VolumeFrames, add_volume_sequence
from FetusMapV2Lib.serving.answer import KeptPose

#: Frames with a pose from which on there is a movement between them.
_LEAST_POSES = 2


class HeldFrames(VolumeSequence):
    """The volumes of a file, all read; one that cannot be read says so whenever it is asked for.

    Attributes:
        times_s: see `reading.Frames`.
        first: the first one that can be read.

    Args:
        frames: of the file.

    Raises:
        InputError: none can be read.
    """

    def __init__(self, frames: Frames) -> None:
        self.times_s = frames.times_s
        self._frames = [_read(frames, number) for number in range(len(frames))]
        usable = [one for one in self._frames if isinstance(one, Volume)]
        if not usable:
            raise next(one for one in self._frames if isinstance(one, InputError))
        self.first = usable[0]

    def __len__(self) -> int:
        return len(self._frames)

    def _read(self, number: int) -> Volume:
        found = self._frames[number]
        if isinstance(found, InputError):
            raise found
        return found


def read_frames(path: Path) -> HeldFrames:
    """All volumes of a file or folder; one of a static volume.

    Raises:
        InputError: see `read_sequence`.
    """
    return HeldFrames(read_sequence(path))


def _read(frames: Frames, number: int) -> Volume | InputError:
    try:
        return frames[number]
    except InputError as error:
        return error


class CaseFrames:
    """The frames of a sequence in the scene of a case, and the poses in them, once there is one.

    Attributes:
        name: of the case.
        browser: steps through volumes and landmarks.
        volumes: the volumes, each read from its node.
        times_s: of the frames, see `reading.Frames`.
        poses: the poses of all frames, all landmarks missing where there is none; None before the first.

    Args:
        scene: of the case.
        frames: the volumes.
        source: the file or folder that they were read from.
    """

    def __init__(self, scene: Any, frames: HeldFrames, source: Path) -> None:
        self.name, self._source = volume_name(source), str(source)
        self.browser = add_volume_sequence(scene, frames, frames.times_s, self.name)
        self.volumes, self.times_s = VolumeFrames(self.browser), frames.times_s
        self.poses: PoseSequence | None = None
        self._last: tuple[int, Volume] | None = None

    def __len__(self) -> int:
        return len(self.volumes)

    @property
    def shown(self) -> int:
        """The shown frame, from 0."""
        return int(self.browser.GetSelectedItemNumber())

    def show(self, frame: int) -> None:
        """Show the volume and the landmarks of a frame."""
        self.browser.SetSelectedItemNumber(int(np.clip(frame, 0, len(self) - 1)))

    def volume(self) -> Volume:
        """The volume of the shown frame.

        Raises:
            InputError: it could not be read.
        """
        if self._last is None or self._last[0] != self.shown:
            read = replace(self.volumes[self.shown], name=self.frame_name(self.shown), source=self._source)
            self._last = self.shown, read
        return self._last[1]

    def frame_name(self, frame: int) -> str:
        """The name of a frame, in files too."""
        return f"{self.name}_{frame:04d}"

    def start(self) -> PoseSequence:
        """The poses of all frames, none of them known where they did not exist before."""
        if self.poses is None:
            self.poses = PoseSequence.create(self.browser, [Pose.missing()] * len(self), name=f"{self.name} fetus")
        return self.poses

    def set_poses(self, poses: Sequence[Pose], model: str) -> None:
        """Replace the poses of all frames, and all that was done to them by hand."""
        self.start().set_poses(poses, model)

    def clear_shown(self) -> None:
        """Remove the pose of the shown frame."""
        if self.poses is not None:
            self.poses.pose_scene.set_pose(Pose.missing())

    def restore(self, landmarks: Mapping[int, Any]) -> None:
        """Show poses of frames that were read from files, as landmarks nodes of this scene, which leave it."""
        self.start().restore(landmarks)

    def kept(self) -> dict[int, KeptPose]:
        """The pose of each frame that has one, as it is now."""
        if self.poses is None:
            return {}
        found = zip(self.poses.snapshots(), self.poses.hand_measures(), strict=True)
        return {n: KeptPose(one, hand) for n, (one, hand) in enumerate(found) if one is not None and not one.is_empty}

    def movement(self) -> Movement | None:
        """The movement between the poses; None with fewer than two."""
        if self.poses is None or sum(pose.present.any() for pose in self.poses.poses()) < _LEAST_POSES:
            return None
        return self.poses.movement()

    def close(self) -> None:
        """Release the poses."""
        if self.poses is not None:
            self.poses.close()
        self.poses = None
