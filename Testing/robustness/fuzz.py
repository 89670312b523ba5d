"""Damages whole files at random (seeded) and reads them: `python Testing/robustness/fuzz.py --count 20000`.

Counted as faults: a crash, a hang, an exception that is no one-line error, and voxels or geometry that changed without
a word though no independent reader reads the file so. `--keep DIR` keeps the files behind faults.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT)]

from robustness import mutations  # noqa: E402
from robustness.corpus import Specimen, corpus  # noqa: E402

FAULTS = ("crash", "hang", "exception", "silent change")
#: Seconds in which a file of a few kilobytes must be read or refused; generous, for busy machines.
PATIENCE_S = 30.0
_PLACE_MM = 1e-2
_NO_JSON = ("volume", "slices", "model", "scene", "checkpoint")


class ReadingProcess:
    """`reading_process.py` as a child that is started again whenever it is gone."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def ask(self, kind: str, path: Path) -> Any:
        """The answer; "crash" or "hang" where none comes."""
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"kind": kind, "path": str(path)}) + "\n")
            process.stdin.flush()
            line = self._lines.get(timeout=PATIENCE_S)
        except (OSError, queue.Empty):
            line = "" if process.poll() is not None else "hang"
        if line in ("", "hang"):
            self.close()
            return line or "crash"
        return json.loads(line)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT / "Testing"), str(ROOT)]),
                "OMP_NUM_THREADS": "1",
            }
            command = [sys.executable, str(Path(__file__).with_name("reading_process.py")), self._role]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment
            )
            self._lines = queue.Queue()
            threading.Thread(target=self._listen, args=(self._process, self._lines), daemon=True).start()
            if self._lines.get(timeout=120).strip() != "ready":
                raise RuntimeError(f"the {self._role} does not start")
        return self._process

    @staticmethod
    def _listen(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")


@dataclass
class Campaign:
    """Counts of a run, by name of the specimen.

    Attributes:
        counts: how often each outcome came out.
        faults: one line for each fault.
    """

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return sum(counter.total() for counter in self.counts.values())

    def note(self, name: str, outcome: str, line: str) -> None:
        self.counts.setdefault(name, Counter())[outcome] += 1
        if outcome in FAULTS:
            self.faults.append(line)


def run(count: int, seed: int, specimens: Sequence[Specimen], keep: Path | None = None) -> Campaign:
    """Read `count` damaged files, as many of each specimen.

    Args:
        keep: where the files behind faults are put.

    Raises:
        AssertionError: a whole file is not read.
    """
    campaign, product, witness = Campaign(), ReadingProcess("product"), ReadingProcess("witness")
    foreign = b"".join(content for one in specimens for content in one.files.values())
    try:
        with tempfile.TemporaryDirectory() as folder:
            wholes = {one.name: _ask_whole(product, one, Path(folder)) for one in specimens}
            for number in range(count):
                specimen = specimens[number % len(specimens)]
                generator = random.Random(f"{seed}-{number}")
                files, told = _damaged(generator, specimen, foreign[generator.randrange(len(foreign)) :][:8192])
                path = _put(specimen, Path(folder, str(number % 50)), files)
                outcome, line = _outcome(product, witness, specimen, path, wholes[specimen.name])
                campaign.note(specimen.name, outcome, f"{outcome}: {specimen.name}, input {number} ({told}): {line}")
                if keep is not None and outcome in FAULTS:
                    _write(keep / f"{number}-{outcome.replace(' ', '-')}", files)
    finally:
        product.close()
        witness.close()
    return campaign


def _ask_whole(product: ReadingProcess, specimen: Specimen, folder: Path) -> dict[str, Any]:
    answer: Any = product.ask(specimen.kind, _put(specimen, folder / "whole", specimen.files))
    assert isinstance(answer, dict) and answer["outcome"] == "read", f"{specimen.name}, undamaged: {answer}"
    assert not answer.get("warnings"), f"{specimen.name}, undamaged, gives warnings: {answer['warnings']}"
    return answer


def _put(specimen: Specimen, folder: Path, files: mutations.FileSet) -> Path:
    """Write files of a specimen, apart from those of others; gives what is to be opened."""
    first = _write(folder / specimen.name.replace(" ", "-"), files)
    return first.parent if specimen.kind == "slices" else first


def _damaged(generator: random.Random, specimen: Specimen, foreign: bytes) -> tuple[mutations.FileSet, str]:
    name = next(iter(specimen.files))
    content = specimen.files[name]
    shaped = generator.random() < 0.6
    if shaped and specimen.kind == "model":
        changed, told = mutations.damaged_safetensors(generator, content, "fetusmapv2-model")
        return {**specimen.files, name: changed}, told
    if shaped and specimen.kind not in _NO_JSON:
        changed, told = mutations.damaged_json(generator, content)
        return {**specimen.files, name: changed}, told
    return mutations.damaged(generator, specimen.files, specimen.text_bytes, foreign)


def _write(folder: Path, files: mutations.FileSet) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / next(iter(files))


def _outcome(
    product: ReadingProcess, witness: ReadingProcess, specimen: Specimen, path: Path, whole: dict[str, Any]
) -> tuple[str, str]:
    answer = product.ask(specimen.kind, path)
    if isinstance(answer, str):
        return answer, ""
    if answer["outcome"] != "read":
        return answer["outcome"], answer["line"]
    if specimen.kind not in ("volume", "slices"):
        return "read", ""
    if answer["warnings"]:
        return "read with a warning", ""
    witnessed = witness.ask(specimen.kind, path)
    others = witnessed if isinstance(witnessed, list) else []
    if any(_agree(answer, other) for other in others):
        return "read as others read it", ""
    if _agree(answer, whole):
        return "read as if whole", ""
    return "silent change", f"{_short(answer)}, whole {_short(whole)}, others {[_short(other) for other in others]}"


def _agree(answer: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two readings have the same voxels and places; a place that a reader does not know says nothing."""
    if (answer["count"], answer["frames"]) != (other["count"], other["frames"]):
        return False
    pairs = zip(answer["places"], other["places"], strict=True)
    return all(b is None or np.allclose(a, b, rtol=1e-5, atol=_PLACE_MM) for a, b in pairs)


def _short(answer: dict[str, Any]) -> str:
    return f"{answer['count']} x {answer['frames'][:1]} at {answer['places'][:1]}"


def table(campaign: Campaign) -> str:
    """The counts as a Markdown table."""
    outcomes = ["read as others read it", "read as if whole", "read", "read with a warning", "refused", *FAULTS]
    lines = ["| file | inputs | " + " | ".join(outcomes) + " |", "|---" * (len(outcomes) + 2) + "|"]
    total: Counter[str] = Counter()
    for name, counter in campaign.counts.items():
        total += counter
        lines.append(f"| {name} | {counter.total()} | " + " | ".join(str(counter[one]) for one in outcomes) + " |")
    lines.append(f"| **all** | {total.total()} | " + " | ".join(str(total[one]) for one in outcomes) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="how many damaged files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="specimens whose name contains this")
    parser.add_argument("--keep", type=Path, default=None, help="where the files behind faults are kept")
    options = parser.parse_args()
    specimens = [one for one in corpus() if options.only in one.name]
    campaign = run(options.count, options.seed, specimens, options.keep)
    print(table(campaign))
    print(f"\n{campaign.inputs:,} inputs, seed {options.seed}: {len(campaign.faults)} faults")
    for line in campaign.faults:
        print(line[:600])
    return 1 if campaign.faults else 0


if __name__ == "__main__":
    sys.exit(main())
