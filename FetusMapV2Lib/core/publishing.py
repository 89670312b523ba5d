"""The files of a case as one transaction: a reader finds all old files, all new ones, or a manifest that says neither.

New files are written to a staging folder and flushed to the disk. Then a manifest, ``.fetusmap/NAME.json`` beside the
files, says that they are being moved; they are moved; then it says that they are complete, with size and SHA-256 of
each. If the process ends in between, the next one that writes into the folder moves the rest. A manifest holds names
and checksums only, nothing of a patient beyond what the names themselves say.
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
    file_checksum,
    is_unchanged,
    manifest_path,
    read_manifest,
    write_manifest,
)
from FetusMapV2Lib.core.staging import STAGING, is_staged, make_folder, owned_folder, retain

_NEW, _OLD = "new", "old"
#: Moving the files of a case takes milliseconds; a longer wait has another cause.
_WAIT_S = 60.0

#: Folders that this process has checked, with the cases whose interrupted publication it finished.
_finished: dict[Path, set[str]] = {}


@contextlib.contextmanager
def published(
    folder: Path,
    name: str,
    *,
    expected: Collection[str] | None = None,
    overwrite: bool = False,
    private: bool = True,
    source: str = "",
) -> Iterator[Path]:
    """Publish the files of a case: all of them are moved into `folder` at the end of the block, or none.

    Files of an earlier publication of this case are deleted, except those that somebody has changed since.

    Args:
        folder: for the files; it is created if it does not exist.
        name: of the case in this folder.
        expected: names of all files that the case may have; existing ones that are not written now are deleted.
            None = the files written.
        overwrite: whether the files of a complete case may be replaced. Those of an incomplete one always may.
        private: only this user may read the files and enter folders created for them (not on Windows, where the
            permissions of the folder apply).
        source: fingerprint of the source of the case (`manifests.source_fingerprint`).

    Yields:
        An empty folder to write the files to.

    Raises:
        OutputError: the folder cannot be written, the disk is full, or a file exists that may not be replaced; nothing
            is changed then.
    """
    usable_folder(folder, private=private)
    ensure_replaceable(folder, name, expected or (), overwrite=overwrite)
    try:
        with owned_folder(folder, STAGING) as staging:
            new = staging / _NEW
            new.mkdir()
            yield new
            written = sorted(path.name for path in new.iterdir() if path.is_file())
            checksums = {}
            for one in written:
                flush_file(new / one, private=private)
                checksums[one] = file_checksum(new / one)
            flush_folder(new)
            every = tuple(sorted({*written, *(expected or ())}))
            manifest = Manifest(checksums, every, staging=staging.name, source=source)
            if is_staged(folder):  # part of a larger publication
                _move_all(folder, staging, manifest, ())
                return
            with _folder_lock(folder):
                ensure_replaceable(folder, name, manifest.expected, overwrite=overwrite)
                _publish(folder, name, staging, manifest)
    except OutputError as error:
        # the user knows the file by its final path
        where = folder / Path(error.where).name if STAGING in error.where else error.where or folder
        raise OutputError(error.problem, where=where, remedy=error.remedy, option=error.option) from error
    except OSError as error:
        raise output_error(error, folder) from error


def ensure_replaceable(folder: Path, name: str, files: Collection[str], *, overwrite: bool) -> None:
    """Refuse to replace the files of a complete case, or files of no case; those of an incomplete case may be replaced.

    Args:
        folder: of the files.
        name: of the case.
        files: names of the files that would be written.
        overwrite: whether files of a complete case may be replaced too.

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
            problem = _refusal(path, manifest, name in _finished.get(folder, ()))
            if problem:
                raise OutputError(problem, where=path, remedy=REPLACE, option="--overwrite")


def _refusal(path: Path, manifest: Manifest | None, finished: bool) -> str:
    """Why a file may not be replaced without `overwrite`; empty if it may.

    Args:
        path: the file.
        manifest: of its case, if there is one.
        finished: this process finished the interrupted publication that the manifest describes.
    """
    if manifest is None or (not finished and manifest.is_complete(path.parent)):
        return "the output exists already"
    if (finished or manifest.staging) and path.name in {*manifest.files, *manifest.expected, *manifest.removed}:
        return ""
    if not is_unchanged(path, manifest):
        return "other files of this case are missing, but this one was changed since it was written"
    return ""


def is_complete(folder: Path, name: str, files: Collection[str]) -> bool:
    """Whether a case was published completely, still has its files, and was published with at least these expected.

    A file for which there was nothing to write, such as the landmarks of no fetus, does not count as missing.
    """
    finish_interrupted(folder)
    manifest = read_manifest(folder, name)
    return manifest is not None and manifest.is_complete(folder) and set(files) <= set(manifest.expected)


def finish_interrupted(folder: Path) -> frozenset[str]:
    """Finish publications that other processes were interrupted at, and delete their leftovers; once per process.

    Returns:
        The cases whose publication was finished.

    Raises:
        OutputError: the folder cannot be written, though there is something to finish.
    """
    if folder not in _finished and folder.is_dir():
        finished = _finished[folder] = set()
        try:
            if any(manifest.staging for _, manifest in _manifests(folder)):
                with _folder_lock(folder):
                    finished |= {name for name, manifest in _manifests(folder) if _finish(folder, name, manifest)}
            remove_abandoned_once(folder)
        except OSError as error:
            raise output_error(error, folder) from error
    return frozenset(_finished.get(folder, ()))


def next_name(folder: Path, beginning: str, *, first: int = 1) -> str:
    """The next free numbered name, such as ``report-0001``; it does not identify the patient.

    Raises:
        OutputError: the folder is a file, or cannot be created.
    """
    finish_interrupted(usable_folder(folder, private=True))  # an interrupted case has its name
    paths = (*folder.glob(f"{beginning}-*"), *(folder / MANIFESTS).glob(f"{beginning}-*"))
    ends = [path.name.split(".")[0][len(beginning) + 1 :] for path in paths]
    numbers = [int(end) for end in ends if end.isdecimal() and len(end) < 10]
    return f"{beginning}-{max(numbers, default=first - 1) + 1:04d}"


def _manifests(folder: Path) -> list[tuple[str, Manifest]]:
    names = sorted(path.name.removesuffix(".json") for path in (folder / MANIFESTS).glob("*.json"))
    found = ((name, read_manifest(folder, name)) for name in names)
    return [(name, manifest) for name, manifest in found if manifest is not None]


@contextlib.contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, without which no file is moved: a publication found unfinished has lost its process."""
    manifests = folder / MANIFESTS
    if not manifests.is_dir():
        with contextlib.suppress(FileExistsError):
            make_folder(manifests, private=False)
        if os.name != "nt":
            with contextlib.suppress(OSError):  # as readable as the folder of the files
                manifests.chmod(folder.stat().st_mode & 0o777)
    with (
        _thread_lock,
        locked(manifests / ".lock", "this folder", wait_s=_WAIT_S, remedy="Wait for its end and try again"),
    ):
        yield


_thread_lock = threading.Lock()


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
    """Files to delete: those expected but not written now, and those of the earlier publication.

    A file of the earlier publication that is not expected now and was changed since is somebody's own work.
    """
    gone = {name for name in manifest.expected if name not in manifest.files}
    if known is not None:
        earlier = {*known.files, *known.removed} - {*manifest.expected}
        gone |= {name for name in earlier if known.staging or is_unchanged(folder / name, known)}
    return tuple(sorted(name for name in gone if (folder / name).is_file()))


def _move_all(folder: Path, staging: Path, manifest: Manifest, gone: Collection[str]) -> None:
    """Move old files out and new ones in; a failure undoes all moves."""
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
        retain(staging)  # if undoing fails, the files stay there until the next process finishes the publication
        for source, target in reversed(done):
            move(target, source)
        retain(staging, False)
        raise


def _finish(folder: Path, name: str, manifest: Manifest) -> bool:
    """Move what an interrupted publication left in its staging folder.

    Returns:
        Whether all files are in place now; false if the staging folder is gone.

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
