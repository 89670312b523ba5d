"""The files of a case as one transaction: whoever reads finds all of the old ones, all of the new ones, or is told.

New files are written in a staging folder and brought to the disk. Then a manifest, ``.fetusmap/NAME.json`` beside the
files, says that they are moving; they move; then it says that they are complete, with size and SHA-256 of each.
Whatever ends the process on the way, the next one that writes into the folder moves the rest. A manifest holds names
and checksums only, nothing of a patient that the names themselves do not tell.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from FetusMapV2Lib.core.atomic_files import (
    REPLACE,
    flush_file,
    flush_folder,
    move,
    output_error,
    remove_abandoned_once,
    usable_folder,
)
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.manifests import (
    MANIFESTS,
    Manifest,
    fact_of,
    is_unchanged,
    manifest_path,
    read_manifest,
    write_manifest,
)
from FetusMapV2Lib.core.staging import STAGING, is_staged, make_folder, owned_folder, retain

_NEW, _OLD = "new", "old"
#: Moving the files of a case takes milliseconds; one who waits longer than this waits for something else.
_WAIT_S = 60.0

#: Folders that were looked after by this process, with the cases whose cut publication it finished.
_finished: dict[Path, set[str]] = {}


@contextlib.contextmanager
def published(
    folder: Path,
    name: str,
    *,
    asked: Collection[str] | None = None,
    overwrite: bool = False,
    private: bool = True,
    origin: str = "",
) -> Iterator[Path]:
    """Give an empty folder to write the files of a case to; on success they move into `folder`, all of them or none.

    Of an earlier publication of this case nothing stays beside the new files, but what was changed since by somebody.

    Args:
        folder: made if need be.
        name: of the case in this folder.
        asked: names of all files that the case may have; those not written now go; None = the files written.
        overwrite: whether the files of a complete case may be replaced. Those of a partial one may.
        private: only this user may read the files and enter folders that are made for them (not on Windows, where the
            rights of the folder rule).
        origin: what tells the source of the case from another one (`manifests.Manifest.origin`).

    Raises:
        OutputError: the folder cannot be written, the disk is full, or a file exists that may not be replaced; then
            nothing is changed.
    """
    usable_folder(folder, private=private)
    ensure_replaceable(folder, name, asked or (), overwrite=overwrite)
    try:
        with owned_folder(folder, STAGING) as staging:
            new = staging / _NEW
            new.mkdir()
            yield new
            written = sorted(path.name for path in new.iterdir() if path.is_file())
            facts = {}
            for one in written:
                flush_file(new / one, private=private)
                facts[one] = fact_of(new / one)
            flush_folder(new)
            manifest = Manifest(facts, tuple(sorted({*written, *(asked or ())})), staging=staging.name, origin=origin)
            if is_staged(folder):  # part of a larger publication
                _move_all(folder, staging, manifest, ())
                return
            with _alone(folder):
                ensure_replaceable(folder, name, manifest.asked, overwrite=overwrite)
                _publish(folder, name, staging, manifest)
    except OutputError as error:
        # The user knows the file by its final place.
        where = folder / Path(error.where).name if STAGING in error.where else error.where or folder
        raise OutputError(error.problem, where=where, remedy=error.remedy, option=error.option) from error
    except OSError as error:
        raise output_error(error, folder) from error


def ensure_replaceable(folder: Path, name: str, files: Collection[str], *, overwrite: bool) -> None:
    """Refuse to replace files of a complete case, or of none; those of a case that was cut off may be replaced.

    Args:
        files: names of the files that would be written.

    Raises:
        OutputError: one of them exists and `overwrite` is false, or is a folder.
    """
    if is_staged(folder):
        return
    finish_interrupted(folder)
    for file in files:
        if (folder / file).is_dir():
            raise OutputError("this is a folder, not a file", where=folder / file, remedy="Choose another output")
    manifest = read_manifest(folder, name)
    for file in files if not overwrite else ():
        path = folder / file
        if path.exists():
            problem = _objection(path, manifest, name in _finished.get(folder, ()))
            if problem:
                raise OutputError(problem, where=path, remedy=REPLACE, option="--overwrite")


def _objection(path: Path, manifest: Manifest | None, finished: bool) -> str:
    """Why a file may not be replaced unasked; empty if it may.

    Args:
        finished: this process finished the publication that the manifest tells of.
    """
    if manifest is None or (not finished and manifest.is_complete(path.parent)):
        return "the output exists already"
    if (finished or manifest.staging) and path.name in {*manifest.files, *manifest.asked, *manifest.removed}:
        return ""
    if not is_unchanged(path, manifest):
        return "other files of this case are missing, but this one was changed since it was written"
    return ""


def is_complete(folder: Path, name: str, files: Collection[str]) -> bool:
    """Whether a case was published to its end, has its files, and was asked for at least these.

    A file that was not written because there was nothing to write, such as the landmarks of no fetus, is not missed.
    """
    finish_interrupted(folder)
    manifest = read_manifest(folder, name)
    return manifest is not None and manifest.is_complete(folder) and set(files) <= set(manifest.asked)


def finish_interrupted(folder: Path) -> frozenset[str]:
    """Finish what other processes were cut off from publishing here, and sweep what they left; once in this process.

    Returns:
        the cases whose publication was finished.

    Raises:
        OutputError: the folder cannot be written, though there is something to finish.
    """
    if folder not in _finished and folder.is_dir():
        finished = _finished[folder] = set()
        try:
            if any(manifest.staging for _, manifest in _manifests(folder)):
                with _alone(folder):
                    finished |= {name for name, manifest in _manifests(folder) if _finish(folder, name, manifest)}
            remove_abandoned_once(folder)
        except OSError as error:
            raise output_error(error, folder) from error
    return frozenset(_finished.get(folder, ()))


def next_name(folder: Path, beginning: str, *, first: int = 1) -> str:
    """A numbered name, such as ``report-0001``, above those in the folder; it says nothing of the patient.

    Raises:
        OutputError: the folder is a file, or cannot be made.
    """
    finish_interrupted(usable_folder(folder, private=True))  # a case whose writing was cut off has its name
    paths = (*folder.glob(f"{beginning}-*"), *(folder / MANIFESTS).glob(f"{beginning}-*"))
    ends = [path.name.split(".")[0][len(beginning) + 1 :] for path in paths]
    numbers = [int(end) for end in ends if end.isdecimal() and len(end) < 10]
    return f"{beginning}-{max(numbers, default=first - 1) + 1:04d}"


def _manifests(folder: Path) -> list[tuple[str, Manifest]]:
    names = sorted(path.name.removesuffix(".json") for path in (folder / MANIFESTS).glob("*.json"))
    found = ((name, read_manifest(folder, name)) for name in names)
    return [(name, manifest) for name, manifest in found if manifest is not None]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; only who holds it moves files. So a publication found under way has lost its process."""
    manifests = folder / MANIFESTS
    if not manifests.is_dir():
        with contextlib.suppress(FileExistsError):
            make_folder(manifests, private=False)
        if os.name != "nt":
            with contextlib.suppress(OSError):  # as readable as the names beside it
                manifests.chmod(folder.stat().st_mode & 0o777)
    with _turn, locked(manifests / ".lock", "this folder", wait_s=_WAIT_S, remedy="Wait for its end and try again"):
        yield


_turn = threading.Lock()


def _publish(folder: Path, name: str, staging: Path, manifest: Manifest) -> None:
    before = read_manifest(folder, name)
    gone = _outdated(folder, before, manifest)
    write_manifest(folder, name, manifest.moving(gone), staging)
    try:
        _move_all(folder, staging, manifest, gone)
    except BaseException:
        if before is None:
            manifest_path(folder, name).unlink(missing_ok=True)
        else:
            write_manifest(folder, name, before, staging)
        raise
    write_manifest(folder, name, manifest.completed(), staging)
    _finished.setdefault(folder, set()).discard(name)


def _outdated(folder: Path, known: Manifest | None, manifest: Manifest) -> tuple[str, ...]:
    """Files that the case does not have any more: those asked for and not written, and those written before.

    A file of the earlier publication that was not asked for and was changed since is somebody's own.
    """
    gone = {name for name in manifest.asked if name not in manifest.files}
    if known is not None:
        earlier = {*known.files, *known.removed} - {*manifest.asked}
        gone |= {name for name in earlier if known.staging or is_unchanged(folder / name, known)}
    return tuple(sorted(name for name in gone if (folder / name).is_file()))


def _move_all(folder: Path, staging: Path, manifest: Manifest, gone: Collection[str]) -> None:
    """Move old files out and new ones in; whatever fails is undone."""
    new, old = staging / _NEW, staging / _OLD
    old.mkdir(exist_ok=True)
    done: list[tuple[Path, Path]] = []
    try:
        for name in (*gone, *manifest.files):
            steps = [(folder / name, old / name)] if (folder / name).exists() else []
            steps += [(new / name, folder / name)] if name in manifest.files else []
            for source, target in steps:
                move(source, target)
                done.append((source, target))
        flush_folder(folder)
    except BaseException:
        retain(staging)  # should undoing fail, the files lie there until the next process finishes the publication
        for source, target in reversed(done):
            move(target, source)
        retain(staging, False)
        raise


def _finish(folder: Path, name: str, manifest: Manifest) -> bool:
    """Move what a publication that was cut off left in its staging folder; false if that is gone.

    Raises:
        OSError: a file cannot be moved.
    """
    if not manifest.staging:
        return False
    new = folder / manifest.staging / _NEW
    for file in manifest.files:
        if (new / file).is_file():
            move(new / file, folder / file)
    if not all((folder / file).is_file() for file in manifest.files):
        return False
    for file in manifest.removed:
        (folder / file).unlink(missing_ok=True)
    flush_folder(folder)
    with owned_folder(folder, STAGING) as staging:
        write_manifest(folder, name, manifest.completed(), staging)
    return True
