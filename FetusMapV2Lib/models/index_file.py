"""One index of models: a ``models.json`` with names, files, sizes and SHA-256 sums of the models beside it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from FetusMapV2Lib.core.atomic_files import safe_stem, write_json
from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.core.json_files import read_json_object
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, to_json

INDEX_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_FILE_NAME = 199
#: Seconds to wait for another process that registers a model; copying a large one over a network takes long.
_WAIT_S = 120.0
_INDEX = "the model index"
_REPAIR = "Correct it, or install FetusMapV2 again (a bundled index) or delete it and add its models again (your own)"


@dataclass(frozen=True)
class ModelEntry:
    """One model of an index; its file may be missing.

    Attributes:
        name: by which users choose it.
        path: the model file, in the folder of the index.
        sha256: of the whole file; empty for a file that its index does not name.
        size_bytes: of the file.
        description: one line.
        default: the model used when none is named.
    """

    name: str
    path: Path
    sha256: str
    size_bytes: int
    description: str = ""
    default: bool = False


@dataclass(frozen=True)
class _ListedModel:
    """An entry as the file holds it."""

    name: str
    file: str
    sha256: str
    size: int
    description: str = ""
    default: bool = False


@dataclass(frozen=True)
class _IndexDocument:
    version: int
    models: tuple[_ListedModel, ...]


def read_index(path: Path) -> tuple[ModelEntry, ...]:
    """The models of an index.

    Raises:
        ModelError: it is missing or broken.
    """
    data = read_json_object(path, _INDEX, error=ModelError, remedy=_REPAIR)
    if data.get("version", INDEX_VERSION) != INDEX_VERSION:
        problem = f"the model index has version {data['version']!r:.20}, this program reads {INDEX_VERSION}"
        raise ModelError(problem, where=path)
    rules = ReadingRules(unknown_keys=True, largest=2.0**53)
    document = from_json(_IndexDocument, data, _INDEX, where=path, remedy=_REPAIR, error=ModelError, rules=rules)
    entries = tuple(_entry(one, path) for one in document.models)
    _check_unique("name", [entry.name for entry in entries], path)
    _check_unique("file", [entry.path.name.casefold() for entry in entries], path)
    if sum(entry.default for entry in entries) > 1:
        raise ModelError("the model index has more than one default model", where=path, remedy=_REPAIR)
    return entries


def write_entry(index: Path, entry: ModelEntry) -> None:
    """Add an entry to an index, which `lock_index` holds, in place of one of the same name.

    A default entry replaces the default of the index.

    Raises:
        ModelError: the index is broken.
        OutputError: it cannot be written.
    """
    others = [one for one in read_index(index) if one.name != entry.name] if index.is_file() else []
    if entry.default:
        others = [replace(one, default=False) for one in others]
    entries = sorted([*others, entry], key=lambda one: one.name)
    listed = tuple(
        _ListedModel(one.name, one.path.name, one.sha256, one.size_bytes, one.description, one.default)
        for one in entries
    )
    write_json(index, to_json(_IndexDocument(INDEX_VERSION, listed)))


def lock_index(index: Path) -> contextlib.AbstractContextManager[None]:
    """Lock an index while it is read, changed and written, so that no change by another process is lost."""
    lock = index.with_name(f".{index.name}.lock")
    return locked(lock, _INDEX, wait_s=_WAIT_S, remedy="Try again when it is done")


def is_model_name(name: str) -> bool:
    """Whether a text may be the name of a model: a plain file name on every operating system."""
    return bool(_NAME.fullmatch(name)) and safe_stem(name) == name


def unlisted_models(folder: Path, listed: tuple[ModelEntry, ...]) -> tuple[ModelEntry, ...]:
    """Model files of an index's folder that it does not name."""
    files, names = {entry.path.name.casefold() for entry in listed}, {entry.name for entry in listed}
    return tuple(
        ModelEntry(path.stem, path, "", path.stat().st_size, "added by an earlier version")
        for path in sorted(folder.glob("*.safetensors"))
        if path.name.casefold() not in files and path.stem not in names and _NAME.fullmatch(path.stem)
    )


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _entry(listed: _ListedModel, index: Path) -> ModelEntry:
    rules = {
        f"{listed.name!r} is no name for a model": _NAME.fullmatch(listed.name),
        f"the file {listed.file!r} does not lie beside the index": _is_plain(listed.file),
        f"the SHA-256 of {listed.name} is none": _SHA256.fullmatch(listed.sha256),
        f"the size of {listed.name} is negative": listed.size >= 0,
    }
    for problem, holds in rules.items():
        if not holds:
            raise ModelError(f"the model index cannot be used: {problem}", where=index, remedy=_REPAIR)
    path = index.parent / listed.file
    return ModelEntry(listed.name, path, listed.sha256, listed.size, listed.description, listed.default)


def _check_unique(what: str, values: list[str], index: Path) -> None:
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ModelError(f"the model index has the {what} {twice!r} twice", where=index, remedy=_REPAIR)


def _is_plain(file: str) -> bool:
    """Whether this is the name of a file beside the index, on every operating system."""
    reserved = re.search(r'[/\\:*?"<>|\x00-\x1f]', file)
    return file not in ("", ".", "..") and reserved is None and len(file) <= _LONGEST_FILE_NAME
