"""Whatever a file does to the process that reads it, the others go on; nothing is left of a command that was ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from imaging.samples import sample

from FetusMapV2Lib.imaging.writing import write_sequence, write_volume

DEADLY = [sys.executable, str(Path(__file__).with_name("deadly.py")), "estimate"]
#: What becomes of a file of this name, in the words of its error.
FATES = {
    "segv": "ended by signal 11 (SIGSEGV",
    "abort": "ended by signal 6 (SIGABRT",
    "kill": "was killed, perhaps for lack of memory",
    "leave": "ended with code 3",
    "unforeseen": r"unexpected KeyError: '\x1b[2J\nred'",
    "deep": "unexpected RecursionError",
    "full": "(No space left on device)",
    "much": "does not fit into the memory",
}
posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture
def files(tmp_path: Path):
    """Makes volumes of these names, in a folder of their own."""
    folder = tmp_path / "Bänder"

    def make(*names: str) -> list[str]:
        for name in names:
            write_volume(folder / f"{name}.nrrd", sample((20, 20, 20)))
        return [str(folder / f"{name}.nrrd") for name in names]

    return make


def answers(folder: Path) -> set[str]:
    return {path.name.split(".")[0] for path in folder.glob("*.json")}


@posix
def test_files_that_end_the_process_are_named_and_the_others_done(files, tmp_path: Path) -> None:
    paths = files("a", *FATES, "b")
    paths += [
        paths[0],
        f"{Path(paths[0]).parent}/../Bänder/a.nrrd",
        str(tmp_path / "no*.nrrd"),
        "",
        str(tmp_path / "none\u202e.nrrd"),
    ]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    out = tmp_path / "out"
    done = subprocess.run([*DEADLY, *paths, "-o", str(out)], capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert answers(out) == {"a", "b"}
    assert "\x1b" not in done.stderr and r"none\u202e.nrrd" in done.stderr
    lines = done.stderr.splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    summary = lines[-1 - len(errors) :]
    assert summary[0] == f"4 of {len(paths)} files done: 2 with a fetus, 2 given twice; {len(errors)} refused:"
    assert sorted(line.strip() for line in summary[1:]) == sorted(line.removeprefix("Error: ") for line in errors)
    for name, words in FATES.items():
        (error,) = [line for line in errors if f"{name}.nrrd" in line]
        assert words in error
    assert any("no*.nrrd: no file matches" in line for line in errors)
    assert not [path for path in out.rglob("*") if "staging" in path.name or "writing" in path.name]


@posix
def test_a_file_at_which_nothing_moves_any_more_is_given_up(files, tmp_path: Path) -> None:
    environment = {**os.environ, "FETUSMAP_PATIENCE_S": "1"}
    command = [*DEADLY, *files("endless"), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    reason = "endless.nrrd: the process was ended, because there was no progress for"
    assert done.stderr.count("\n") == 1 and reason in done.stderr


@posix
def test_a_frame_that_ends_the_process_costs_itself_alone(tmp_path: Path, files) -> None:
    sequence = tmp_path / "segv.seq.nrrd"
    write_sequence(sequence, [sample((20, 20, 20), seed=seed) for seed in range(3)])
    out = tmp_path / "out"
    paths = [str(sequence), *files("a")]
    done = subprocess.run([*DEADLY, *paths, "-o", str(out)], capture_output=True, text=True)
    assert done.returncode == 2
    assert answers(out) == {"segv_0000", "segv_0002", "segv", "a"}
    assert "1 of 2 files done: 1 with a fetus; 1 refused:" in done.stderr
    assert "segv_0001: 1 of 3 frames cannot be used" in done.stderr
    frames = json.loads((out / "segv.movement.json").read_text(encoding="utf-8"))["frames"]
    assert "SIGSEGV" in frames[1]["reason"]


@posix
def test_a_process_that_cannot_start_is_not_tried_for_ever(tmp_path: Path, files) -> None:
    environment = {**os.environ, "DEADLY_START": "1"}
    command = [*DEADLY, *files("a", "b"), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "SIGABRT" in done.stderr and "while starting" in done.stderr


@posix
@pytest.mark.parametrize(
    ("fate", "number", "code"),
    [("wait", signal.SIGINT, 130), ("wait", signal.SIGTERM, 143), ("endless", signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_command_that_is_ended_says_so_and_leaves_no_process(files, tmp_path: Path, fate, number, code) -> None:
    called, out = tmp_path / "called", tmp_path / "out"
    command = [*DEADLY, *files("a", fate, "b"), "-o", str(out)]
    environment = {**os.environ, "DEADLY_CALLED": str(called)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 300
    while not called.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    error = process.communicate(timeout=300)[1]  # which waits for all that hold the other end
    assert process.returncode == code
    assert error.splitlines()[1:] == ([] if code < 0 else ["Stopped; what was finished is kept."])
    assert answers(out) == {"a"}


def test_without_a_process_above_it_is_the_same(files, tmp_path: Path) -> None:
    environment = {**os.environ, "FETUSMAP_SUPERVISOR": "0", "FETUSMAP_TRACEBACK": "1"}
    command = [*DEADLY, *files("unforeseen", "a"), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and answers(tmp_path / "out") == {"a"}
    assert "in _unforeseen" in done.stderr and "\x1b" not in done.stderr


@posix
def test_a_reader_that_goes_away_ends_it_quietly(files, tmp_path: Path) -> None:
    command = [*DEADLY, *files("a", "b", "c"), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 1


def test_output_that_cannot_be_is_said_before_any_work(fetusmap, files, tmp_path: Path, monkeypatch) -> None:
    (path,) = files("a")
    answer = fetusmap("estimate", path, "-o", "")
    assert answer.code == 2 and "--output: the name of the folder is empty" in answer.errors()[0]
    monkeypatch.setattr(os, "access", lambda *_: False)
    answer = fetusmap("estimate", path, "-o", tmp_path)
    assert answer.code == 2 and "no permission" in answer.err and answer.err.count("\n") == 1
