"""An engine of a Ray cluster that does what the names of its cases say, as `scripted_worker` does."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batch.scripted_worker import act

from FetusMapV2Lib.batch.ray_engine import computer_of_this_engine
from FetusMapV2Lib.core.version import SOFTWARE


class ScriptedEngine:
    """Counts the tries of each case in files of the folder of results; "wait" waits until a file "go" is there."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        if settings["model"] == "broken":
            raise ModuleNotFoundError("No module named 'FetusMapV2Lib'")

    def load(self) -> dict[str, Any]:
        """As `RayEngine.load`."""
        if self._settings["model"] == "missing":
            return {"failed": "no such model", "where": "missing", "remedy": "Name another"}
        software = "FetusMapV2 0.0.1" if self._settings["model"] == "old" else SOFTWARE
        return {"ready": os.getpid(), "computer": computer_of_this_engine(), "software": software}

    def process(self, case: Mapping[str, Any], _thumbnail: bool) -> dict[str, Any]:
        """As `RayEngine.process`."""
        name, folder = case["name"], Path(self._settings["output"])
        with (folder / f"{name}.tries").open("a") as tries:
            tries.write(f"{os.getpid()} {computer_of_this_engine()}\n")
        act(name, folder)
        while "wait" in name and not (folder / "go").exists():
            time.sleep(0.05)
        outcome = "refused" if "bad" in name else "found"
        return {"case": name, "outcome": outcome, "row": {"seconds": 0.0, "reason": str(os.getpid())}}
