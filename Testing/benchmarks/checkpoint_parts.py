"""A large file as parts small enough to be carried away, and whole again; a part that is missing is noticed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError

#: Bytes of a part, less than 16 MiB.
PART_BYTES = 15 * 2**20
_LIST = "parts.json"


def split(file: Path, folder: Path, *, part_bytes: int = PART_BYTES) -> None:
    """Write the parts of a file; those of an earlier call are replaced, and until then they stay whole.

    Args:
        file: may be replaced meanwhile, as long as it is not written in place.
        folder: for the parts and their list; others in it are removed.
        part_bytes: greatest size of a part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names, digest = [], hashlib.sha256()
    content = file.read_bytes()
    digest.update(content)
    for number, start in enumerate(range(0, len(content), part_bytes)):
        names.append(f"{digest.hexdigest()[:12]}-{number:02d}.part")
        (folder / names[-1]).write_bytes(content[start : start + part_bytes])
    write_json(folder / _LIST, {"name": file.name, "sha256": digest.hexdigest(), "parts": names})
    for old in folder.glob("*.part"):
        if old.name not in names:
            old.unlink()


def join(folder: Path, target: Path) -> Path:
    """Put a file together again.

    Args:
        folder: of `split`.
        target: folder for the file.

    Returns:
        The file, under its old name.

    Raises:
        InputError: a part is missing or damaged.
    """
    listed = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    parts = [folder / name for name in listed["parts"]]
    missing = [part for part in parts if not part.is_file()]
    if missing:
        raise InputError("a part is missing", where=missing[0], remedy="Bring all files of the folder")
    target.mkdir(parents=True, exist_ok=True)
    whole = target / listed["name"]
    unfinished = whole.with_name(f"{whole.name}.unfinished")
    digest = hashlib.sha256()
    with unfinished.open("wb") as file:
        for part in parts:
            content = part.read_bytes()
            digest.update(content)
            file.write(content)
    if digest.hexdigest() != listed["sha256"]:
        unfinished.unlink()
        raise InputError("the parts are damaged", where=folder, remedy="Bring them again")
    shutil.move(unfinished, whole)
    return whole
