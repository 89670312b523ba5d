"""A warm engine of a batch on a Ray cluster: an actor that processes one case after the other.

`ray_pool` makes an actor of the class.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from FetusMapV2Lib.batch.case_work import BatchSettings, process_case
from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.core.process_messages import failure_message
from FetusMapV2Lib.core.serialisation import from_json
from FetusMapV2Lib.core.version import SOFTWARE


class RayEngine:
    """Loads its model once; plain values go in and out, so that nothing is kept in the cluster's object store.

    Args:
        settings: of the batch (`BatchSettings` as JSON).
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = from_json(BatchSettings, dict(settings))
        self._engine: Any = None

    def load(self) -> dict[str, Any]:
        """Load the model.

        Returns:
            Its process, its computer and its software, or why it failed.
        """
        from FetusMapV2Lib.batch.worker import loaded_engine

        try:
            self._settings.output.mkdir(parents=True, exist_ok=True)
            self._engine = loaded_engine(self._settings)
        except Exception as error:
            return failure_message(error)
        return {"ready": os.getpid(), "computer": computer_of_this_engine(), "software": SOFTWARE}

    def process(self, case: Mapping[str, Any], thumbnail: bool) -> dict[str, Any]:
        """Estimate a case, write its results, and return its record; see `case_work.process_case`."""
        found = from_json(BatchCase, dict(case))
        return process_case(found, self._settings, self._engine, _ignore, thumbnail=thumbnail)


def computer_of_this_engine() -> str:
    """What the cluster calls the computer that this runs on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _ignore(_fraction: float, _stage: str) -> None:
    """Stages are not sent through the cluster."""
