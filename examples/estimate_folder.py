"""Estimates every volume of a folder with the command line, in PythonSlicer or any Python that has the package.

    PythonSlicer examples/estimate_folder.py FOLDER OUTPUT_FOLDER [--device cpu]

The same as `PythonSlicer -m FetusMapV2Lib.cli estimate FILES... --output OUTPUT_FOLDER`. In Slicer's Python the
command line needs two more packages: `PythonSlicer -m pip install typer rich`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz", ".dcm", ".vol")


def volumes(folder: Path) -> list[Path]:
    """The volume files of a folder, in order of their names."""
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(_SUFFIXES))


def main(arguments: list[str]) -> int:
    """Run the command line on all volumes; its exit code is 2 if one of them failed."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    files = volumes(Path(arguments[0]))
    if not files:
        print(f"{arguments[0]}: no volumes here", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "FetusMapV2Lib.cli", "estimate", *map(str, files)]
    return subprocess.run([*command, "--output", *arguments[1:]]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
