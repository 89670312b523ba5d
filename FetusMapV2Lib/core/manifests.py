"""Manifests: which files belong to a published case, and whether all of them were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from FetusMapV2Lib.core.atomic_files import flush_file, flush_folder, move
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.json_files import read_json_object
from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, json_name, to_json
from FetusMapV2Lib.core.staging import STAGING

#: Folder of the manifests, beside the files.
MANIFESTS = ".fetusmap"
#: Bytes at either end of a file that its fingerprint covers.
_END = 2**16


@dataclass(frozen=True)
class FileChecksum:
    """Size and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What was published of a case.

    Attributes:
        files: checksums of the case's files, by name.
        expected: names of all files that it may have; those for which there was nothing to write are not in `files`.
        staging: name of the folder from which the files are being moved; empty once they are in place.
        removed: names of earlier files that are deleted during the move.
        source: fingerprint of the source of the case (`source_fingerprint`); empty = unknown.
    """

    files: Mapping[str, FileChecksum]
    expected: tuple[str, ...] = field(default=(), metadata=json_name("asked"))
    staging: str = ""
    removed: tuple[str, ...] = ()
    source: str = field(default="", metadata=json_name("origin"))

    def moving(self, removed: tuple[str, ...]) -> Manifest:
        """The manifest while the files are moved and earlier ones are deleted."""
        return replace(self, removed=removed)

    def completed(self) -> Manifest:
        """The manifest once all files are in place."""
        return replace(self, staging="", removed=())

    def is_complete(self, folder: Path) -> bool:
        """Whether all files were published and still exist; their content may have been changed since."""
        return not self.staging and all(_has_content(folder / name, one) for name, one in self.files.items())


def manifest_path(folder: Path, name: str) -> Path:
    """Where the manifest of a case lies."""
    return folder / MANIFESTS / f"{name}.json"


def file_checksum(path: Path) -> FileChecksum:
    """Size and checksum of a file.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
    return FileChecksum(size, digest.hexdigest())


def source_fingerprint(path: Path) -> str:
    """A fingerprint of a file, or of a folder of files: SHA-256 of their sizes and of the bytes at both ends.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for one in sorted(path.iterdir()) if path.is_dir() else [path]:
        if one.is_file():
            size = one.stat().st_size
            digest.update(f"{size} ".encode())
            with one.open("rb") as stream:
                digest.update(stream.read(_END))
                stream.seek(max(size - _END, 0))
                digest.update(stream.read(_END))
    return digest.hexdigest()


def is_unchanged(path: Path, manifest: Manifest) -> bool:
    """Whether a file is as it was published, or empty, so that replacing it loses nobody's work."""
    published = manifest.files.get(path.name)
    try:
        size = path.stat().st_size
        return size == 0 or (published is not None and size == published.size and file_checksum(path) == published)
    except OSError:
        return False


def read_manifest(folder: Path, name: str) -> Manifest | None:
    """The manifest of a case; None if it has none, or one that cannot be used."""
    try:
        data = read_json_object(manifest_path(folder, name))
        manifest = from_json(Manifest, data, rules=ReadingRules(unknown_keys=True))
    except InputError:
        return None
    names = (*manifest.files, *manifest.expected, *manifest.removed)
    staged = not manifest.staging or (_is_plain(manifest.staging) and manifest.staging.startswith(STAGING))
    return manifest if manifest.files and staged and all(map(_is_plain, names)) else None


def write_manifest(folder: Path, name: str, manifest: Manifest, staging: Path) -> None:
    """Write the manifest of a case atomically, flushed to the disk.

    Args:
        folder: of the case's files.
        name: of the case.
        manifest: its manifest.
        staging: a folder on the same disk, in which it is written first.

    Raises:
        OSError: it cannot be written.
    """
    data = {key: value for key, value in to_json(manifest).items() if value or key == "files"}
    temporary, path = staging / "manifest.json", manifest_path(folder, name)
    temporary.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    flush_file(temporary)
    move(temporary, path)
    flush_folder(path.parent)


def _is_plain(name: str) -> bool:
    """Whether it names a file in the folder itself: a manifest, which anybody may have written, moves no other one."""
    return name not in ("", ".", "..") and name == PurePath(name).name and not {"/", "\\", "\0"} & {*name}


def _has_content(path: Path, published: FileChecksum) -> bool:
    try:
        return path.is_file() and (path.stat().st_size > 0 or published.size == 0)
    except OSError:
        return False
