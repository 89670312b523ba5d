"""Manifests: which files belong to a published case, and whether they all came."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from FetusMapV2Lib.core.atomic_files import flush_file, flush_folder, move
from FetusMapV2Lib.core.errors import InputError, UserError
from FetusMapV2Lib.core.json_files import field, read_json_object
from FetusMapV2Lib.core.staging import STAGING

#: Folder of the manifests, beside the files.
MANIFESTS = ".fetusmap"
#: Bytes at either end of a file that its fingerprint covers.
_END = 2**16


@dataclass(frozen=True)
class Fact:
    """Size and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What was published of a case.

    Attributes:
        files: of the case, by name.
        asked: names of all that it may have; what there was nothing to write for is not in `files`.
        staging: name of the folder from which the files are moving; empty once they have come.
        removed: names of earlier files that go while they move.
        origin: what tells the source of the case from another one of the same name; empty = unknown.
    """

    files: Mapping[str, Fact]
    asked: tuple[str, ...] = ()
    staging: str = ""
    removed: tuple[str, ...] = ()
    origin: str = ""

    def moving(self, removed: tuple[str, ...]) -> Manifest:
        """The manifest while the files move and others go."""
        return replace(self, removed=removed)

    def completed(self) -> Manifest:
        """The manifest once all is done."""
        return replace(self, staging="", removed=())

    def is_complete(self, folder: Path) -> bool:
        """Whether the files have come, and are there; their content may have been changed since."""
        return not self.staging and all(_has_content(folder / name, fact) for name, fact in self.files.items())


def manifest_path(folder: Path, name: str) -> Path:
    """Where the manifest of a case lies."""
    return folder / MANIFESTS / f"{name}.json"


def fact_of(path: Path) -> Fact:
    """Size and checksum of a file.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
    return Fact(size, digest.hexdigest())


def source_fingerprint(path: Path) -> str:
    """What distinguishes a file, or a folder of files, from another one of the same name: sizes and both ends.

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
    """Whether a file is as the manifest's publication wrote it, or empty, so that nobody's work is lost with it."""
    fact = manifest.files.get(path.name)
    try:
        size = path.stat().st_size
        return size == 0 or (fact is not None and size == fact.size and fact_of(path) == fact)
    except OSError:
        return False


def read_manifest(folder: Path, name: str) -> Manifest | None:
    """The manifest of a case; None if it has none, or one that cannot be used."""
    path = manifest_path(folder, name)
    try:
        data = read_json_object(path)
        files = {key: _fact(value) for key, value in field(data, "files", dict).items()}
        manifest = Manifest(
            files,
            tuple(field(data, "asked", list, default=[])),
            field(data, "staging", str, default=""),
            tuple(field(data, "removed", list, default=[])),
            field(data, "origin", str, default=""),
        )
    except UserError:
        return None
    names = (*manifest.files, *manifest.asked, *manifest.removed)
    staged = not manifest.staging or (_is_plain(manifest.staging) and manifest.staging.startswith(STAGING))
    return manifest if manifest.files and staged and all(map(_is_plain, names)) else None


def write_manifest(folder: Path, name: str, manifest: Manifest, staging: Path) -> None:
    """Write the manifest of a case, whole and onto the disk.

    Args:
        staging: a folder on the same disk, in which it is written first.

    Raises:
        OSError: it cannot be written.
    """
    data = {key: value for key, value in asdict(manifest).items() if value or key == "files"}
    temporary, path = staging / "manifest.json", manifest_path(folder, name)
    temporary.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    flush_file(temporary)
    move(temporary, path)
    flush_folder(path.parent)


def _fact(value: Any) -> Fact:
    if not isinstance(value, dict):
        raise InputError("a file's facts are no object")
    return Fact(field(value, "size", int), field(value, "sha256", str))


def _is_plain(name: Any) -> bool:
    """Whether it names something in the folder itself: a manifest that anybody may have written moves nothing else."""
    if not isinstance(name, str) or name in ("", ".", ".."):
        return False
    return name == PurePath(name).name and not {"/", "\\", "\0"} & {*name}


def _has_content(path: Path, fact: Fact) -> bool:
    try:
        return path.is_file() and (path.stat().st_size > 0 or fact.size == 0)
    except OSError:
        return False
