"""What may come of sending a file: stored, refused alone, or the end of the connection."""

from __future__ import annotations


class RefusedError(Exception):
    """The archive does not take this file; others may follow. The text is a clause that says why."""


class LostError(Exception):
    """There is no connection, or none any more; the text is a clause that says why.

    Args:
        reason: why.
        remedy: what a user can do about it, one sentence without a full stop.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy
