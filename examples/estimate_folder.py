"""Estimates every volume of a folder with the command line, in PythonSlicer or any Python that has the package.

    PythonSlicer examples/estimate_folder.py FOLDER OUTPUT_FOLDER [--device cpu]

Whatever happens to a file, the others are still processed. Exit code 0: all are done, 2: some were refused. The same as
`PythonSlicer -m FetusMapV2Lib.cli estimate FILES... --output OUTPUT_FOLDER`. In Slicer's Python the command line needs
two more packages: `PythonSlicer -m pip install typer rich`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: Windows takes 32,767 characters in one command line.
_MOST_CHARACTERS = 24_000
_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz", ".dcm", ".vol")


def volumes(folder: Path) -> list[Path]:
    """The volume files of a folder, in order of their names; those that macOS puts beside files of its own are none."""
    names = sorted(path for path in folder.iterdir() if not path.name.startswith("._"))
    return [path for path in names if path.name.lower().endswith(_SUFFIXES)]


def portions(files: list[Path]) -> list[list[str]]:
    """The files in portions that fit into a command line."""
    found: list[list[str]] = [[]]
    for file in map(str, files):
        if found[-1] and sum(map(len, found[-1])) + 3 * len(found[-1]) + len(file) > _MOST_CHARACTERS:
            found.append([])
        found[-1].append(file)
    return found


def main(arguments: list[str]) -> int:
    """Run the command line on all volumes; its exit code is 2 if one of them failed."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        files = volumes(Path(arguments[0]))
    except OSError as error:
        print(f"{arguments[0]!r}: {error.strerror or error}", file=sys.stderr)
        return 2
    if not files:
        print(f"{arguments[0]!r}: no volumes here", file=sys.stderr)
        return 2
    code = 0
    for portion in portions(files):
        command = [sys.executable, "-m", "FetusMapV2Lib.cli", "estimate", *portion, "--output", *arguments[1:]]
        ended = subprocess.run(command).returncode
        code = ended or code
        if ended not in (0, 2):  # stopped, or something worse
            return ended
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
