"""What the parts of the panel tell each other."""

from __future__ import annotations

import enum


class Change(enum.Enum):
    """What listeners are told."""

    VOLUME_CHOSEN = "another volume, or none, is chosen"
    POSE_SHOWN = "another pose, or none, is on show"
    POSE_MOVED = "landmarks of the pose moved or changed their state"
    PARAMETERS = "a setting changed, or the parameter node was replaced"
    RUNNING = "a job started or ended"
    PROGRESS = "the job got on"
    MESSAGE = "the panel has something to say"
    INSTALLED = "Python packages or models were installed"
