"""Lists, finds, checks and adds models by name.

``Resources/Models`` of the installation holds the bundled models and is never written to; ``Models`` in the user's data
folder holds those that a user adds. Listing and finding models needs no torch, only checking a file does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.core.resources import resource_path
from FetusMapV2Lib.core.user_folders import user_data_folder
from FetusMapV2Lib.models.index_file import (
    ModelEntry,
    file_sha256,
    is_model_name,
    lock_index,
    read_index,
    unlisted_models,
    write_entry,
)


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
        return read_index(Path(index))
    installed = _bundled_index()
    bundled, own = read_index(installed), read_index(user_index()) if user_index().is_file() else ()
    bundled += unlisted_models(installed.parent, bundled)
    names, replaced = {entry.name for entry in own}, any(entry.default for entry in own)
    kept = [replace(entry, default=entry.default and not replaced) for entry in bundled if entry.name not in names]
    return (*kept, *own)


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


def absolute_model(name_or_path: str | os.PathLike[str]) -> str:
    """A model's name unchanged, its path made absolute, so that it is the same model in another working folder."""
    text = os.fspath(name_or_path)
    return str(Path(text).absolute()) if _looks_like_a_path(name_or_path) else text


def verify(
    name_or_path: str | os.PathLike[str] | None = None, index: str | os.PathLike[str] | None = None
) -> Iterator[str]:
    """Check that a model, or every model of the index, is there, unaltered, readable and of this landmark schema.

    Yields:
        One line for each model that passes.

    Raises:
        ModelError: after the last line, the first problem.
    """
    if name_or_path is None:
        names: list[str | os.PathLike[str]] = [entry.name for entry in list_models(index)]
    else:
        names = [name_or_path]
    problems: list[ModelError] = []
    for name in names:
        yield from _check(name, index, problems)
    if problems:
        raise problems[0]


def _check(
    name: str | os.PathLike[str], index: str | os.PathLike[str] | None, problems: list[ModelError]
) -> Iterator[str]:
    """The line of a model that passes; otherwise its problem is appended."""
    from FetusMapV2Lib.models.model_file import load_model
    from FetusMapV2Lib.models.model_info import FETCH_AGAIN

    try:
        path = find_model(name, index)
        model = load_model(path)
        if model.altered:
            raise ModelError(
                "the model's description or calibration was changed after the file was written",
                where=path,
                remedy=FETCH_AGAIN,
            )
        size = path.stat().st_size / 2**20
        yield f"{os.fspath(name)}: good ({size:.1f} MiB, {model.identity}, {path.name})"
    except ModelError as error:
        problems.append(error)


def install_model(
    file: str | os.PathLike[str],
    name: str,
    *,
    description: str = "",
    default: bool = False,
    overwrite: bool = False,
    index: str | os.PathLike[str] | None = None,
) -> ModelEntry:
    """Copy a model file beside an index, the user's if none is given, as ``NAME.safetensors`` and register it.

    Results call the copy by this name, too. Only a model that was changed after its file was written is copied as it
    is: written anew, it would no longer warn of that.

    Raises:
        ModelError: the model cannot be loaded, or the name is no plain file name or that of a bundled model.
        OutputError: a model of that name exists and `overwrite` is false, or the folder cannot be written.
    """
    from FetusMapV2Lib.models.model_file import load_model, save_model

    _check_name(name)
    if index is None and name in {entry.name for entry in read_index(_bundled_index())}:
        raise ModelError("a bundled model has this name", where=name, remedy="Choose another name")
    model = load_model(file)
    path = Path(index) if index is not None else user_index()
    target = path.parent / f"{name}.safetensors"
    with lock_index(path):
        if path.is_file():
            read_index(path)  # fails for a broken index before anything is copied
        if model.altered or model.info.name == name:
            with atomic_write(target, overwrite=overwrite) as temporary:
                shutil.copyfile(file, temporary)
        else:
            save_model(target, model.with_info(name=name), overwrite=overwrite)
        return _registered(target, name, description, default, path)


def register_model(
    file: str | os.PathLike[str],
    name: str,
    *,
    description: str = "",
    default: bool = False,
    index: str | os.PathLike[str] | None = None,
) -> ModelEntry:
    """Register a model file that lies beside an index, the user's if none is given; a model of this name is replaced.

    Raises:
        ModelError: the file is not in that folder or is missing, or the name is no plain file name.
    """
    path = Path(index) if index is not None else user_index()
    model = Path(file)
    if model.resolve().parent != path.resolve().parent or not model.is_file():
        raise ModelError("a model of the index lies beside it", where=model, remedy=f"Put it into {path.parent}")
    _check_name(name)
    with lock_index(path):
        return _registered(model, name, description, default, path)


def _bundled_index() -> Path:
    return resource_path("Models", "models.json")


def _check_name(name: str) -> None:
    if not is_model_name(name):
        raise ModelError("not a name for a model", where=name, remedy="Use letters, digits, '.', '_' and '-'")


def _registered(model: Path, name: str, description: str, default: bool, index: Path) -> ModelEntry:
    entry = ModelEntry(name, model, file_sha256(model), model.stat().st_size, description, default)
    write_entry(index, entry)
    return entry


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
