"""The indexes of models: names, files, sizes and SHA-256 sums, each in a ``models.json`` beside its models.

``Resources/Models`` of the installation holds the bundled ones and is never written to; ``Models`` in the user's data
folder holds those that a user adds. Listing and finding models needs no torch, only checking a file does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from FetusMapV2Lib.core.atomic_files import atomic_write, safe_stem, write_json
from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.core.json_files import field, read_json_object
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.resources import resource_path
from FetusMapV2Lib.core.user_folders import user_data_folder

INDEX_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Seconds to wait for another process that enters a model; copying a large one over a network takes long.
_WAIT_S = 120.0


@dataclass(frozen=True)
class ModelEntry:
    """One model of the index; `path` need not exist.

    Attributes:
        name: what the user types.
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


def user_index() -> Path:
    """The index of the models that a user adds; it need not exist."""
    return user_data_folder() / "Models" / "models.json"


def list_models(index: str | os.PathLike[str] | None = None) -> tuple[ModelEntry, ...]:
    """The models of an index; if none is given, the bundled ones and the user's.

    The user's model hides a bundled one of the same name, and the user's default replaces the bundled default. A model
    file in the installation that its index does not name was added by an earlier version, and is listed too.

    Raises:
        ModelError: an index is missing or broken.
    """
    if index is not None:
        return _read(Path(index))
    installed = _bundled_index()
    bundled, own = _read(installed), _read(user_index()) if user_index().is_file() else ()
    bundled += _unlisted(installed.parent, bundled)
    names, replaced = {entry.name for entry in own}, any(entry.default for entry in own)
    kept = [replace(entry, default=entry.default and not replaced) for entry in bundled if entry.name not in names]
    return (*kept, *own)


def _bundled_index() -> Path:
    return resource_path("Models", "models.json")


def _unlisted(folder: Path, listed: tuple[ModelEntry, ...]) -> tuple[ModelEntry, ...]:
    """Model files of a folder that its index does not name."""
    files, names = {entry.path.name.casefold() for entry in listed}, {entry.name for entry in listed}
    return tuple(
        ModelEntry(path.stem, path, "", path.stat().st_size, "added by an earlier version")
        for path in sorted(folder.glob("*.safetensors"))
        if path.name.casefold() not in files and path.stem not in names and _NAME.fullmatch(path.stem)
    )


def _read(path: Path) -> tuple[ModelEntry, ...]:
    """The models of one index.

    Raises:
        ModelError: it is missing or broken.
    """
    data = read_json_object(path, _INDEX, error=ModelError, remedy=_REPAIR)
    version = field(data, "version", int, where=path, remedy=_REPAIR, error=ModelError)
    if version != INDEX_VERSION:
        raise ModelError(f"the model index has version {version}, this program reads {INDEX_VERSION}", where=path)
    listed = field(data, "models", list, where=path, remedy=_REPAIR, error=ModelError)
    entries = tuple(_entry(one, path) for one in listed)
    for what, values in (
        ("name", [entry.name for entry in entries]),
        ("file", [entry.path.name.casefold() for entry in entries]),
    ):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ModelError(f"the model index has the {what} {twice!r} twice", where=path, remedy=_REPAIR)
    if sum(entry.default for entry in entries) > 1:
        raise ModelError("the model index has more than one default model", where=path, remedy=_REPAIR)
    return entries


def find_model(name_or_path: str | os.PathLike[str] | None = None, index: str | os.PathLike[str] | None = None) -> Path:
    """The file of a model: by name (checked against its SHA-256), by path, or the default one.

    Raises:
        ModelError: unknown, missing, or with a wrong checksum.
    """
    if name_or_path is not None and _looks_like_a_path(name_or_path):
        return Path(name_or_path)
    entries = list_models(index)
    if name_or_path is None:
        chosen = next((one for one in entries if one.default), entries[0] if entries else None)
        if chosen is None:
            raise ModelError("no model is installed", remedy="Give the path of a model file")
    else:
        chosen = next((one for one in entries if one.name == os.fspath(name_or_path)), None)
        if chosen is None:
            names = ", ".join(one.name for one in entries) or "none"
            raise ModelError("there is no such model", where=name_or_path, remedy=f"Give a file or one of: {names}")
    problem = _problem(chosen)
    if problem:
        raise ModelError(problem, where=chosen.path, remedy="Install or add it again, or choose another model")
    return chosen.path


def whole_path(name_or_path: str | os.PathLike[str]) -> str:
    """A model's name as it is, its path by its full name: it means the same in another folder."""
    text = os.fspath(name_or_path)
    return str(Path(text).absolute()) if _looks_like_a_path(name_or_path) else text


def verify(
    name_or_path: str | os.PathLike[str] | None = None, index: str | os.PathLike[str] | None = None
) -> Iterator[str]:
    """Check a model, or every model of the index: there, unchanged, readable, of this landmark schema.

    Yields:
        One line for each model that is good.

    Raises:
        ModelError: after the last line, if a model is not good; the first problem.
    """
    from FetusMapV2Lib.models.model_file import load_model

    if name_or_path is None:
        names: list[str | os.PathLike[str]] = [entry.name for entry in list_models(index)]
    else:
        names = [name_or_path]
    problem: ModelError | None = None
    for name in names:
        try:
            path = find_model(name, index)
            model = load_model(path)
            if model.altered:
                raise ModelError(
                    "the model's description or calibration was changed after the file was written",
                    where=path,
                    remedy="Fetch or export the file again",
                )
            size = path.stat().st_size / 2**20
            yield f"{os.fspath(name)}: good ({size:.1f} MiB, {model.identity}, {path.name})"
        except ModelError as error:
            problem = problem or error
    if problem is not None:
        raise problem


def install_model(
    file: str | os.PathLike[str],
    name: str,
    *,
    description: str = "",
    default: bool = False,
    overwrite: bool = False,
    index: str | os.PathLike[str] | None = None,
) -> ModelEntry:
    """Copy a model file beside an index, the user's if none is given, as ``NAME.safetensors`` and enter it.

    Raises:
        ModelError: the file is no good model, or the name is no plain file name or that of a bundled model.
        OutputError: a model of that name is there and `overwrite` is false, or the folder cannot be written.
    """
    from FetusMapV2Lib.models.model_file import load_model

    _check_name(name)
    if index is None and name in {entry.name for entry in _read(_bundled_index())}:
        raise ModelError("a bundled model has this name", where=name, remedy="Choose another name")
    load_model(file)
    path = Path(index) if index is not None else user_index()
    target = path.parent / f"{name}.safetensors"
    with _one_at_a_time(path):
        if path.is_file():
            _read(path)  # a broken index is found before anything is copied
        with atomic_write(target, overwrite=overwrite) as temporary:
            shutil.copyfile(file, temporary)
        return _register(target, name, description, default, path)


def register_model(
    file: str | os.PathLike[str],
    name: str,
    *,
    description: str = "",
    default: bool = False,
    index: str | os.PathLike[str] | None = None,
) -> ModelEntry:
    """Enter a model file that lies beside an index, the user's if none is given; an entry of this name is replaced.

    Raises:
        ModelError: the file is not in that folder or is missing, or the name is no plain file name.
    """
    path = Path(index) if index is not None else user_index()
    model = Path(file)
    if model.resolve().parent != path.resolve().parent or not model.is_file():
        raise ModelError("a model of the index lies beside it", where=model, remedy=f"Put it into {path.parent}")
    _check_name(name)
    with _one_at_a_time(path):
        return _register(model, name, description, default, path)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or safe_stem(name) != name:
        raise ModelError("not a name for a model", where=name, remedy="Use letters, digits, '.', '_' and '-'")


def _one_at_a_time(index: Path) -> contextlib.AbstractContextManager[None]:
    """What is read, changed and written again loses nothing of what another process enters meanwhile."""
    lock = index.with_name(f".{index.name}.lock")
    return locked(lock, "the model index", wait_s=_WAIT_S, remedy="Try again when it is done")


def _register(model: Path, name: str, description: str, default: bool, index: Path) -> ModelEntry:
    entry = ModelEntry(name, model, file_sha256(model), model.stat().st_size, description, default)
    others = [one for one in _read(index) if one.name != name] if index.is_file() else []
    if default:
        others = [replace(one, default=False) for one in others]
    entries = sorted([*others, entry], key=lambda one: one.name)
    write_json(index, {"version": INDEX_VERSION, "models": [_plain(one) for one in entries]})
    return entry


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _looks_like_a_path(name: str | os.PathLike[str]) -> bool:
    text = os.fspath(name)
    return not isinstance(name, str) or os.path.isfile(text) or any(c in text for c in "/\\") or "." in text  # noqa: PTH113 - takes any text


def _problem(entry: ModelEntry) -> str:
    if not entry.path.is_file():
        return "the model file is missing"
    if not entry.sha256:
        return ""
    if entry.path.stat().st_size != entry.size_bytes:
        return f"the model file has {entry.path.stat().st_size} bytes, the index says {entry.size_bytes}"
    if file_sha256(entry.path) != entry.sha256:
        return "the model file does not match its SHA-256 in the index"
    return ""


_INDEX, _REPAIR = (
    "the model index",
    "Correct it, or install FetusMapV2 again (a bundled index) or delete it and add its models again (your own)",
)


def _entry(data: Any, index: Path) -> ModelEntry:
    if not isinstance(data, dict):
        raise ModelError("an entry of the model index is no JSON object", where=index, remedy=_REPAIR)
    known: dict[str, Any] = {"where": index, "remedy": _REPAIR, "error": ModelError}
    name, file, sha256 = (field(data, key, str, **known) for key in ("name", "file", "sha256"))
    size = field(data, "size", int, **known)
    rules = {
        f"{name!r} is no name for a model": _NAME.fullmatch(name),
        f"the file {file!r} does not lie beside the index": _is_plain(file),
        f"the SHA-256 of {name} is none": _SHA256.fullmatch(sha256),
        f"the size of {name} is negative": size >= 0,
    }
    for problem, holds in rules.items():
        if not holds:
            raise ModelError(f"the model index cannot be used: {problem}", where=index, remedy=_REPAIR)
    return ModelEntry(
        name,
        index.parent / file,
        sha256,
        size,
        field(data, "description", str, default="", **known),
        field(data, "default", bool, default=False, **known),
    )


def _is_plain(file: str) -> bool:
    """Whether this is the name of a file beside the index, on every operating system."""
    return bool(file) and file not in (".", "..") and not re.search(r'[/\\:*?"<>|\x00-\x1f]', file) and len(file) < 200


def _plain(entry: ModelEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "file": entry.path.name,
        "sha256": entry.sha256,
        "size": entry.size_bytes,
        "description": entry.description,
        "default": entry.default,
    }
