"""The changes that the parts of the panel notify each other of."""

from __future__ import annotations

import enum


class Change(enum.Enum):
    """What has changed; listeners of `PanelState` get one of these."""

    VOLUME_SELECTED = "another volume, or none, is selected"
    SHOWN_POSE_CHANGED = "another pose, or none, is shown"
    POSE_EDITED = "landmarks of the shown pose moved or changed their state"
    LANDMARK_SELECTED = "another landmark is the current one"
    LANDMARK_SOUGHT = "the user goes to the current landmark"
    PARAMETERS_CHANGED = "a setting changed, or the parameter node was replaced"
    RUNNING_CHANGED = "a job started or ended"
    PROGRESS_CHANGED = "the job made progress"
    MESSAGE_CHANGED = "the message of the panel changed"
    COLOURS_CHANGED = "the application has another palette, such as a dark one"
    SOFTWARE_INSTALLED = "Python packages or models were installed"
