"""Sends DICOM files to an archive: each is stored, or named with the reason; the files themselves stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from FetusMapV2Lib.core.errors import Cancelled, OutputError
from FetusMapV2Lib.core.packages import require_package
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.sending.c_store import c_store
from FetusMapV2Lib.sending.destinations import Destination, Pacs
from FetusMapV2Lib.sending.objects import Belonging, DicomObject, Store, ensure_belonging, read_objects
from FetusMapV2Lib.sending.outcome import LostError, RefusedError
from FetusMapV2Lib.sending.stow import stow

_AGAIN = "Send again when that is mended: a file that is there already stays one"


@dataclass(frozen=True)
class Sent:
    """What was sent.

    Attributes:
        stored: files that the archive has confirmed.
        left: files that were not sent because it was cancelled.
    """

    stored: tuple[Path, ...]
    left: tuple[Path, ...] = ()


def require_sender(destination: Destination) -> None:
    """Refuse a destination whose package is missing.

    Raises:
        UserError: naming the package.
    """
    module = "pynetdicom" if isinstance(destination, Pacs) else "dicomweb_client"
    require_package(module, "Sending to an archive", "pacs")


def send(
    paths: Sequence[Path],
    destination: Destination,
    *,
    belonging: Belonging | None = None,
    nameless: bool = False,
    on_progress: OnProgress | None = None,
    should_cancel: ShouldCancel | None = None,
) -> Sent:
    """Send files of one patient, all in one connection.

    Args:
        paths: DICOM files.
        destination: where to.
        belonging: whose the files have to be; None = of any one patient.
        nameless: whether files may name no patient.
        on_progress: called with the share that is done and what is being done.
        should_cancel: asked before each file.

    Returns:
        What was stored; all of it, unless it was cancelled.

    Raises:
        UserError: nothing was sent, or not all of it; the message names each file that the archive does not have.
        Cancelled: before the first file.
    """
    require_sender(destination)
    objects = read_objects(paths, nameless=nameless)
    if belonging is not None:
        ensure_belonging(objects, belonging)
    report = on_progress or (lambda _fraction, _stage: None)
    report(0.0, f"connecting to {destination}")
    stored: list[Path] = []
    refused: dict[Path, str] = {}
    try:
        with _connection(destination, objects) as store:
            for number, one in enumerate(objects):
                if should_cancel is not None and should_cancel():
                    return _cancelled(stored, objects[number:])
                report(number / len(objects), f"sending {number + 1} of {len(objects)}")
                try:
                    store(one)
                except RefusedError as error:
                    refused[one.path] = str(error)
                else:
                    stored.append(one.path)
    except LostError as error:
        raise _not_sent(destination, objects, stored, refused, error) from error
    if refused:
        raise _not_sent(destination, objects, stored, refused, None)
    return Sent(tuple(stored))


def _connection(destination: Destination, objects: Sequence[DicomObject]) -> AbstractContextManager[Store]:
    return c_store(destination, objects) if isinstance(destination, Pacs) else stow(destination)


def _cancelled(stored: Sequence[Path], left: Sequence[DicomObject]) -> Sent:
    if not stored:
        raise Cancelled("cancelled before the first file")
    return Sent(tuple(stored), tuple(one.path for one in left))


def _not_sent(
    destination: Destination,
    objects: Sequence[DicomObject],
    stored: Sequence[Path],
    refused: dict[Path, str],
    lost: LostError | None,
) -> OutputError:
    """The one line about files that the archive does not have."""
    told = [f"{path.name}: {reason}" for path, reason in refused.items()]
    if lost is not None:
        told.append(str(lost))
    verb = "was" if len(stored) == 1 else "were"
    count = f"{len(stored)} of {len(objects)} files {verb} stored" if stored else "nothing was stored"
    left = [one.path.name for one in objects if one.path not in stored and one.path not in refused]
    missing = f"; not sent: {', '.join(left)}" if stored and left else ""
    remedy = lost.remedy if lost is not None and lost.remedy else _AGAIN
    return OutputError(f"{count}: {'; '.join(told)}{missing}", where=str(destination), remedy=remedy)
