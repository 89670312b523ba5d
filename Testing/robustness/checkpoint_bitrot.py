"""Flips one bit of a checkpoint and resumes, many times: `python Testing/robustness/checkpoint_bitrot.py --count 400`.

Every resumption must be refused with one line; none may train on the damaged state or end with a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT)]

from training.tiny_run import PRESET, CutError, fit_on_cpu  # noqa: E402
from training.toy_cases import write_toy_cases  # noqa: E402

from FetusMapV2Lib.core.errors import UserError  # noqa: E402


def campaign(count: int, seed: int, folder: Path) -> Counter[str]:
    """What became of `count` resumptions from a checkpoint with one flipped bit."""
    warnings.simplefilter("ignore")
    cases, begun = folder / "cases", folder / "begun"
    write_toy_cases(cases, 2)

    def cut(fraction: float, _: str) -> None:
        if fraction == 0.75:
            raise CutError

    with contextlib.suppress(CutError):
        fit_on_cpu(PRESET, cases, begun, on_progress=cut)
    content, generator, outcomes = (begun / "last.ckpt").read_bytes(), random.Random(seed), Counter[str]()
    for _ in range(count):
        run = folder / "run"
        shutil.copytree(begun, run)
        damaged = bytearray(content)
        damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        (run / "last.ckpt").write_bytes(damaged)
        try:
            fit_on_cpu(PRESET, cases, run, resume=True)
            outcomes["trained on"] += 1
        except UserError as error:
            outcomes["refused" if error.line().isprintable() else "unprintable"] += 1
        except Exception as error:
            outcomes[f"traceback of {type(error).__name__}"] += 1
        shutil.rmtree(run)
    return outcomes


def main() -> int:
    """Print one row of a table; 1 if a damaged checkpoint was not refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = campaign(asked.count, asked.seed, Path(folder))
    others = {name: number for name, number in outcomes.items() if name not in ("refused", "trained on")}
    print(
        f"| bit flips in a checkpoint | {asked.count} | refused {outcomes['refused']}, "
        f"trained on {outcomes['trained on']}, else {others or 0} |"
    )
    return int(outcomes["refused"] != asked.count)


if __name__ == "__main__":
    sys.exit(main())
