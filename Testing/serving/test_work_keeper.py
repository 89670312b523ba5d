"""The open case of a work list: its work is saved before it is left, and is not left where that fails."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.locks import LockedError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.serving.open_case import OpenCase
from FetusMapV2Lib.serving.work_keeper import WorkKeeper
from FetusMapV2Lib.serving.work_list import WorkList


def test_work_is_saved_when_a_case_is_left_and_a_case_is_not_left_without(patients, tmp_path: Path) -> None:
    folder, results = tmp_path / "cases", tmp_path / "results"
    folder.mkdir()
    for patient in patients:
        shutil.copy(patient.volume_path, folder)
    said: list[str] = []
    keeper, other = (WorkKeeper(WorkList(folder, results), said.append) for _ in range(2))
    opened = OpenCase(patients[0].volume(), patients[0].volume_path, lambda: None, lambda name: None)

    async def work() -> None:
        keeper.take(0, opened, keeper.lock(0))
        with pytest.raises(LockedError):
            other.lock(0)
        opened.show(Estimate.given(Pose(patients[0].pose().positions, np.full(22, 0.8)), "a model"))
        keeper.note_change()
        shutil.rmtree(results)
        results.write_text("a file in place of the folder")
        with pytest.raises(OutputError):
            keeper.leave()
        keeper.save()
        assert keeper.number == 0 and said[-1]
        results.unlink()
        keeper.leave()
        assert keeper.number is None and (results / "case-0000.mrk.json").exists()
        assert [item.state for item in keeper.items()] == ["estimated", "open"]
        other.lock(0).close()

    try:
        asyncio.run(work())
    finally:
        opened.close()
