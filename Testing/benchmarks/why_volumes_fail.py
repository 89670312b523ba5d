"""Why a model fails in a volume: what it sees in the whole, along each hypothesis, and in a view aimed at the truth.

A volume whose mean ED is more than 3 mm has one of these causes, the first that holds: head and trunk are right and
limbs are not (within 3.5 mm); a view aimed at the truth is hardly better, so the network does not see the body, with or
without fluid around it; the search did not come to what that view sees, along any hypothesis, or along one that it
did not choose.

    .venv/bin/python Testing/benchmarks/why_volumes_fail.py FOLDER... [--model NAME] [--cases N] [--each]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.body_search import MAXIMUM_CLOSE_VIEWS, MAXIMUM_HYPOTHESES, _followed
from FetusMapV2Lib.estimation.device_volume import DeviceVolume
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.evaluation.accuracy_table import decimal, markdown_table
from FetusMapV2Lib.imaging.case_search import find_cases
from FetusMapV2Lib.imaging.fill_values import without_fill
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_volume

#: mm up to which a volume counts as right, up to which its head and trunk do, and mm of a sac that leaves no fluid.
RIGHT_MM, TORSO_MM, NO_FLUID_MM = 3.0, 3.5, 3.5
#: A view is better than the estimate if it leaves at most this share of the error, and at most so many mm.
BETTER, BETTER_MM = 0.6, 5.0
RIGHT = "right"
TORSO = list(default_schema().rows("ht"))


@dataclass(frozen=True)
class Stages:
    """What the stages see of a volume: mean ED in mm, and how far the first look is off.

    Attributes:
        found: of the estimate.
        torso: of its head and trunk.
        aimed: of close views that begin at the truth.
        along: of the close views along each hypothesis.
        turned: degrees between the truth and the nearest hypothesis.
        sac_mm: mean distance of a sac that clings, infinite if it does not.
    """

    found: float
    torso: float
    aimed: float
    along: tuple[float, ...]
    turned: float
    sac_mm: float

    @property
    def cause(self) -> str:
        """See the module."""
        if self.found <= RIGHT_MM:
            return RIGHT
        if self.torso <= TORSO_MM:
            return "limbs"
        better = min(BETTER * self.found, BETTER_MM)
        if self.aimed > better:
            return "network, no fluid" if self.sac_mm <= NO_FLUID_MM else "network, with fluid"
        return "search, not chosen" if min(self.along, default=np.inf) <= better else "search, not met"


def stages_of(engine: PoseEngine, path: Path, truth: np.ndarray) -> Stages:
    """The stages of a volume with its landmarks (22, 3)."""
    volume = without_fill(read_volume(path))
    reader = engine._search._reader(DeviceVolume(volume, torch.device("cpu")))
    whole = reader.whole_with_hypotheses(MAXIMUM_HYPOTHESES)
    true_frame = body_frame(truth, None, engine.model.template, default_schema())
    assert true_frame is not None
    aimed, *along = [
        _error(views[-1].positions + engine.calibration.shift_mm(views[-1].frame), truth)
        for views in _followed(reader, [true_frame, *whole.hypotheses], MAXIMUM_CLOSE_VIEWS)
    ]
    estimate = engine.estimate(volume)
    seen = (estimate if estimate.has_pose else estimate.showing_what_was_seen()).pose.positions
    record = json.loads(path.with_name(f"{path.name.removesuffix('.nrrd')}.json").read_text())
    return Stages(
        found=_error(seen, truth),
        torso=_error(seen[TORSO], truth[TORSO]),
        aimed=aimed,
        along=tuple(along),
        turned=min((_degrees(one, true_frame) for one in whole.hypotheses), default=np.inf),
        sac_mm=record.get("sac_distance_mm", np.inf),
    )


def _error(positions: np.ndarray, truth: np.ndarray) -> float:
    return float(np.nanmean(np.linalg.norm(positions - truth, axis=1)))


def _degrees(one: BodyFrame, other: BodyFrame) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(one.axes.T @ other.axes) - 1) / 2, -1, 1))))


def measured(engine: PoseEngine, folder: Path, most: int) -> Iterator[tuple[str, Stages]]:
    """Name and stages of each case with all of head and trunk."""
    for case in find_cases(folder)[: most or None]:
        if case.landmarks_path is not None:
            truth = read_markups(case.landmarks_path).positions
            if np.isfinite(truth[TORSO]).all():
                yield case.volume_path.stem, stages_of(engine, case.volume_path, truth)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per volume if asked, then how often each cause was one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--model", default=None, help="name or file; the default model")
    parser.add_argument("--cases", type=int, default=0, help="of each folder; 0 = all")
    parser.add_argument("--each", action="store_true", help="a line per volume")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    engine = PoseEngine.load(given.model, device="cpu")
    counts: dict[str, Counter[str]] = {}
    for folder in given.folders:
        counts[folder.name] = Counter()
        for name, one in measured(engine, folder, given.cases):
            counts[folder.name][one.cause] += 1
            if given.each:
                along = ", ".join(decimal(error) for error in one.along)
                print(
                    f"{folder.name} {name}: {decimal(one.found)} mm (head and trunk {decimal(one.torso)}), aimed at "
                    f"the truth {decimal(one.aimed)}, along hypotheses {along}; nearest turned by {one.turned:.0f} "
                    f"degrees; sac {one.sac_mm:.1f} mm; {one.cause}",
                    flush=True,
                )
    causes = sorted({cause for count in counts.values() for cause in count}, key=lambda cause: (cause != RIGHT, cause))
    rows = [[cause, *(str(count[cause]) for count in counts.values())] for cause in causes]
    print(markdown_table(["volumes", *counts], rows))


if __name__ == "__main__":
    main()
