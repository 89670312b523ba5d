"""A worker process whose engine follows a script: it starts without torch, and dies or hangs as it is told.

The script is a folder with files. `kill at STAGE`, `stop at STAGE`, `starve at STAGE` or `wait at STAGE` makes the
engine do this when it reaches that stage, as often as the file says.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.progress import Stages
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.requests import LocalEngine
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.imaging.volume import Volume

STAGES = ("loading the model", "searching the whole volume", "measuring")
_ROOT = Path(__file__).resolve().parents[2]
_NO_END_S = 3600.0


class ScriptedEngine(LocalEngine):
    """Answers with an estimate without a fetus, or with the pose as it is."""

    def __init__(self, script: Path, device: str) -> None:
        self._script, self._device, self._memory_plan = script, device, ""
        self._act(self._words_at(STAGES[0]))

    @classmethod
    def load(cls, model: str | None, device: str, memory_budget: int | None) -> ScriptedEngine:
        """See `PoseEngine.load`; the model is the folder of the script."""
        assert model is not None
        return cls(Path(model), device)

    def reduce_memory(self) -> bool:
        """See `PoseEngine.reduce_memory`."""
        self._memory_plan = "lean"
        return True

    def estimate(self, volume: Volume, *, on_progress: Any = None, should_cancel: Any = None, **_: Any) -> Estimate:
        """See `PoseEngine.estimate`."""
        self._go_through(STAGES[1:], Stages(on_progress, should_cancel))
        nothing = Estimate.given(Pose(np.full((22, 3), np.nan)), "script")
        return replace(
            nothing, status="none", reason="No fetus found.", device=self._device, memory_plan=self._memory_plan
        )

    def refine(
        self,
        volume: Volume,
        estimate: Estimate,
        pinned: Collection[int] = (),
        *,
        on_progress: Any = None,
        should_cancel: Any = None,
        **_: Any,
    ) -> Estimate:
        """See `PoseEngine.refine`."""
        self._go_through(("refining",), Stages(on_progress, should_cancel))
        return estimate

    def resource_estimate(self, voxels: int, refine: str = "off") -> ResourceEstimate:
        """See `PoseEngine.resource_estimate`."""
        return ResourceEstimate(self._device, "a script", "script", voxels, None, self._memory_plan)

    def _go_through(self, stages: Collection[str], progress: Stages) -> None:
        for number, stage in enumerate(stages):
            words = self._words_at(stage)  # whoever hears of the stage may end this process before the next line
            progress.reach(number / len(stages), stage)
            self._act(words)

    def _words_at(self, stage: str) -> list[str]:
        """What the script says of a stage; each word is counted as done."""
        words = []
        for path in sorted(self._script.glob(f"* at {stage}")):
            times = int(path.read_text() or 1)
            path.unlink() if times == 1 else path.write_text(str(times - 1))
            words.append(path.name.partition(" ")[0])
        return words

    def _act(self, words: Collection[str]) -> None:
        for word in words:
            if word == "starve":
                raise MemoryError
            if word == "wait":
                time.sleep(_NO_END_S)
            else:
                os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[word])


#: Code of a program that takes the place of Python, and whose engine follows scripts.
PYTHON = f"""
import sys
sys.path[:0] = [{str(_ROOT)!r}, {str(_ROOT / "Testing")!r}]
from remote import scripted_engine
scripted_engine.main()
"""


def main() -> None:
    """As `worker.main`."""
    module = ModuleType("FetusMapV2Lib.estimation.engine")
    module.PoseEngine = ScriptedEngine  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    from FetusMapV2Lib.remote.worker import main as worker

    worker()
