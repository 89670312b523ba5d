"""The benchmark of volumes without a fetus: there are enough of them, each what it says, and a cut run goes on."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from benchmarks import negatives

from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.phantom.simulated_case import simulated_volume


def thing(folder: Path) -> Path:
    """A file with a volume of grains, which stands for a real one."""
    grains = np.random.default_rng(5).uniform(20, 200, (40, 30, 24)).astype(np.uint8)
    folder.mkdir(exist_ok=True)
    write_volume(folder / "thing.nrrd", simulated_volume(grains, 2.0, "thing"))
    return folder / "thing.nrrd"


def test_more_than_two_hundred_volumes_of_every_kind(tmp_path: Path) -> None:
    listed = list(negatives.negatives(negatives.Sizes(), [thing(tmp_path)]))
    assert len(listed) >= 200 and len({negatives._stem(one) for one in listed}) == len(listed)
    worlds = Counter(one.world for one in listed)
    assert set(worlds) == {*negatives.WORLDS, "noise and shapes", "real: thing"} and min(worlds.values()) >= 20


def test_later_numbers_are_other_volumes(tmp_path: Path) -> None:
    first, later = (
        [negatives._stem(one) for one in negatives.negatives(sizes, [thing(tmp_path)])]
        for sizes in (negatives.Sizes(), negatives.Sizes(first=20))
    )
    assert len(first) == len(later) and not set(first) & set(later)


@pytest.mark.parametrize("world", [*negatives.WORLDS, "noise and shapes", "real: thing"])
def test_a_volume_has_greys_and_the_size_of_a_scan(world: str, tmp_path: Path) -> None:
    small = negatives.Sizes(scenes=1, noises=1, pieces=2, spacing_mm=5.0)
    listed = [one for one in negatives.negatives(small, [thing(tmp_path)]) if one.world == world]
    first, again = (listed[-1].make() for _ in range(2))
    assert np.array_equal(first.array, again.array) and len(np.unique(first.array)) > 20
    assert first.array.dtype == np.uint8 and 60 < max(first.extent_mm) < 200


def test_a_run_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = thing(tmp_path / "real").parent
    given = ["--quick", "--only", "real: thing", "--real", str(real), "--output", str(tmp_path / "out")]
    negatives.main([*given, "--threads", "1", "--device", "cpu"])
    shown = capsys.readouterr().out
    assert re.search(r"\| all \| 1 \| 0 \| 0.0 %-97.5 % \| [0-2] \|", shown)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    negatives.main([*given, "--threads", "1", "--device", "cpu"])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")} == written
    assert capsys.readouterr().out.splitlines()[-1] == shown.splitlines()[-1]
