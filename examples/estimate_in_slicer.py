"""Estimates volumes inside 3D Slicer without its main window; an interrupted run is continued.

    Slicer --no-main-window --python-script examples/estimate_in_slicer.py -- VOLUMES... --output FOLDER

VOLUMES are files that Slicer loads, or folders of such files. For each, the output folder gets NAME.mrb (volume,
landmarks, skeleton, lengths) and then NAME.csv (the table of the panel; one line if there is no fetus). A volume that
has its NAME.csv is done and skipped. One that fails costs one line and does not stop the others; one that ended Slicer
twice is not tried again. Exit code 0: all are done, 2: some failed, 130: interrupted. --help names the options.
The FetusMapV2 extension must be installed, and PyTorch with it (first-time setup in the module).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import slicer

_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz")


def volumes(paths: list[Path]) -> list[Path]:
    """Files as they are, and the volume files of folders in order of their names, without those that macOS adds."""
    found = []
    for path in paths:
        try:
            inside = list(path.iterdir()) if path.is_dir() else [path]
        except OSError:  # reported when it is loaded
            inside = [path]
        found += sorted(one for one in inside if one == path or _is_volume(one.name))
    return found


def _is_volume(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES) and not name.startswith("._")


def estimate(file: Path, output: Path, logic: Any, settings: Any) -> str:
    """Estimate one volume with a module logic.

    Returns:
        Why no fetus was found, or "done." and the warnings.

    Raises:
        UserError, RuntimeError: the volume cannot be loaded or used, or a result cannot be written.
    """
    from FetusMapV2Lib.anatomy.measurements import measurements
    from FetusMapV2Lib.imaging.reading import volume_name
    from FetusMapV2Lib.presenting.measurement_rows import measurement_rows
    from FetusMapV2Lib.scene.scene_files import save_scene

    name = volume_name(file)
    table = output / f"{name}.csv"
    if table.exists():
        return "done before"
    slicer.mrmlScene.Clear(0)
    with counted(output / f".{name}.attempts"):
        outcome = logic.process(slicer.util.loadVolume(str(file), {"name": name}), settings=settings).result()
        if outcome.poseScene is None:
            write_table(table, [(outcome.estimate.reason, "", "")])
            return outcome.estimate.reason
        save_scene(slicer.mrmlScene, output / f"{name}.mrb")
        rows = measurement_rows(measurements(outcome.poseScene.pose()))
        write_table(table, [row.cells() for row in rows])
    return " ".join(["done.", *outcome.estimate.warnings])


@contextlib.contextmanager
def counted(path: Path) -> Iterator[None]:
    """Count the attempts at a volume in a file, which is removed when an attempt ends, by an error too.

    Raises:
        RuntimeError: two attempts ended with Slicer itself.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat().st_size if path.exists() else 0
    if before >= 2:
        raise RuntimeError(f"Slicer ended twice while it worked on this volume; remove {path} to try again")
    path.write_text("x" * (before + 1), encoding="ascii")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def write_table(path: Path, cells: Iterable[Sequence[str]]) -> None:
    """Write the measurements, whole or not at all: this file marks a volume as done."""
    from FetusMapV2Lib.core.atomic_files import atomic_write

    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["measurement", "value", "remark"])
        writer.writerows(cells)


def estimate_all(files: list[Path], output: Path, logic: Any, settings: Any) -> dict[Path, str]:
    """Estimate volumes, one line for each; returns the files that failed, with the reason."""
    from FetusMapV2Lib.core.faults import as_user_error
    from FetusMapV2Lib.core.safe_text import printable_sentence
    from FetusMapV2Lib.imaging.reading import volume_name

    failed: dict[Path, str] = {}
    taken: dict[str, Path] = {}
    for number, file in enumerate(dict.fromkeys(files), start=1):
        label = printable_sentence(f"{number}/{len(files)} {file.name}:")
        name = volume_name(file).casefold()  # some file systems do not distinguish A and a
        try:
            if taken.setdefault(name, file) != file:
                raise RuntimeError(f"its results would have the names of those of {taken[name]}")
            print(label, printable_sentence(estimate(file, output, logic, settings)), flush=True)
        except Exception as error:  # whatever a file does, the others are still processed
            # slicer.util.loadVolume says by RuntimeError that a file cannot be loaded
            failed[file] = printable_sentence(error if type(error) is RuntimeError else as_user_error(error))
            print(label, "failed.", failed[file], file=sys.stderr, flush=True)
    return failed


def main(arguments: list[str], make_logic: Callable[[], Any] | None = None) -> int:
    """Run the command line after ``--``; returns the exit code."""
    from FetusMapV2Panel.parameters import Device, Refine, Settings

    from FetusMapV2Lib.core.safe_text import printable
    from FetusMapV2Lib.core.stop_signals import stop_signals

    parser = argparse.ArgumentParser(prog="estimate_in_slicer.py", description=__doc__.partition("\n")[0])
    parser.add_argument("volumes", nargs="+", type=Path, help="files or folders")
    parser.add_argument("--output", required=True, type=Path, help="folder for the results")
    parser.add_argument("--device", default="auto", choices=[device.value for device in Device])
    parser.add_argument("--memory-budget", default=0.0, type=float, help="GiB for the network; 0: as much as it takes")
    parser.add_argument("--refine", default="off", choices=[refine.value for refine in Refine])
    parser.add_argument("--mirrored", action="store_true", help="the device delivers mirrored volumes")
    parser.add_argument("--model", default="", help="name or path of a model")
    given = parser.parse_args(arguments)
    settings = Settings(Device(given.device), given.memory_budget, Refine(given.refine), given.mirrored, given.model)
    files = volumes(given.volumes)
    if make_logic is None:
        from FetusMapV2 import FetusMapV2Logic as make_logic  # noqa: N813
    logic = make_logic()
    try:
        with stop_signals():
            failed = estimate_all(files, given.output, logic, settings)
    except KeyboardInterrupt as stop:
        print("Stopped; what was finished is kept.", file=sys.stderr)
        return getattr(stop, "exit_code", 130)
    finally:
        logic.close()
    print(f"{len(files) - len(failed)} of {len(files)} done, {len(failed)} failed: {printable(given.output)}")
    for file, reason in failed.items():
        print(f"  {printable(file)}: {reason}", file=sys.stderr)
    print("Research use only; default weights were trained on simulated volumes.")
    return 2 if failed or not files else 0


if __name__ == "__main__":
    slicer.util.exit(main(sys.argv[1:]))
