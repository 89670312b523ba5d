"""Scene bundles (.mrb, a zip archive): unpacked with checks, as they may come from anywhere.

Slicer's own unpacker writes wherever the names in an archive point to, even outside of its folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.staging import owned_folder

#: The most that an archive may unpack to: so many times its own size, or this many bytes if that is more.
_MOST_TIMES, _ALWAYS_BYTES = 200, 2**30
_MOST_MEMBERS = 100_000
#: Sequences are bundles inside a bundle; these hold no further ones.
_DEEPEST = 1
_SUFFIX = ".mrb"
#: A drive letter of Windows.
_DRIVE = re.compile(r"[A-Za-z]:")
#: All that Python's reader raises for damaged archives, unknown methods and passwords.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError)


@contextlib.contextmanager
def plain_folder(*places: Path | None) -> Iterator[Path]:
    """A temporary folder, in the first of some places whose path C++ libraries can open.

    Args:
        places: folders, None = among the temporary files of the system; the first one if none is plain.

    Raises:
        OSError: it cannot be created.
    """
    named = [Path(tempfile.gettempdir()) if place is None else place for place in places]
    with owned_folder(next(filter(is_plain, named), named[0])) as folder:
        yield folder


def is_plain(path: Path) -> bool:
    """Whether C++ libraries can open a path: on Windows they know one code page, elsewhere VTK needs valid UTF-8."""
    name = str(path)
    return name.isascii() if os.name == "nt" else name.isascii() or not any("\ud800" <= one <= "\udfff" for one in name)


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The scene description (.mrml) of a bundle, unpacked into a temporary folder that is removed afterwards.

    Raises:
        InputError: this is no bundle, it is damaged, a name in it points out of its folder, or its declared size is
            implausible or exceeds the free disk space.
    """
    with plain_folder(None, path.parent) as folder:
        _unpack(path, folder, path, depth=0)
        found = sorted(folder.rglob("*.mrml"), key=lambda one: (len(one.parts), one))
        if not found:
            raise InputError("this is not a Slicer scene bundle", where=path, remedy="Choose an .mrb file")
        yield found[0]


def _unpack(archive: Path, folder: Path, where: Path, depth: int) -> None:
    """Unpack `archive` into `folder`; bundles in it are repacked from their checked content."""
    try:
        with zipfile.ZipFile(archive) as bundle:
            members = bundle.infolist()
            _check_size(archive, members, folder, where)
            for member in members:
                _write(bundle, member, folder / _path_of(member, where))
    except _DAMAGE as error:
        raise InputError("the scene file is damaged", where=where, remedy="Save it again from 3D Slicer") from error
    except OSError as error:
        raise InputError(f"the scene file cannot be unpacked ({error.strerror})", where=where) from error
    for inner in [one for one in folder.rglob("*") if one.suffix.lower() == _SUFFIX and one.is_file()]:
        if depth == _DEEPEST:
            raise InputError("the scene file holds bundles in bundles in bundles", where=where)
        with owned_folder() as place:
            _unpack(inner, place, where, depth + 1)
            _pack(place, inner)


def _check_size(archive: Path, members: list[zipfile.ZipInfo], folder: Path, where: Path) -> None:
    claimed = sum(member.file_size for member in members)
    most = max(_MOST_TIMES * archive.stat().st_size, _ALWAYS_BYTES)
    if claimed > most or len(members) > _MOST_MEMBERS:
        raise InputError(
            f"the scene file claims to hold {claimed / 2**30:.1f} GiB in {len(members)} files, more than can be in it",
            where=where,
            remedy="Save it again from 3D Slicer",
        )
    free = shutil.disk_usage(folder).free
    if claimed > free:
        raise InputError(
            f"the scene needs {claimed / 2**30:.1f} GiB to unpack, and {free / 2**30:.1f} GiB are free",
            where=where,
            remedy=f"Make room in {folder.parent}",
        )


def _path_of(member: zipfile.ZipInfo, where: Path) -> PurePosixPath:
    """Path of a member below the folder; a link, or a path that leaves the folder on any system, is refused."""
    name = member.orig_filename
    place = PurePosixPath(name)
    kind = stat.S_IFMT(member.external_attr >> 16)
    foreign = "\\" in name or _DRIVE.match(name) or place.is_absolute() or ".." in place.parts
    if foreign or not place.parts or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(
            f"the scene file holds {name!r}, which is no name for a file of a scene",
            where=where,
            remedy="Open scene files from sources that you trust alone",
        )
    return place


def _write(bundle: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with bundle.open(member) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file)


def _pack(folder: Path, archive: Path) -> None:
    """Write a bundle of all files below a folder."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
        for file in sorted(folder.rglob("*")):
            bundle.write(file, file.relative_to(folder).as_posix())
