"""The trainings of a cross-validation on a Ray cluster, one task for each: a preset without one part of the cases.

A task whose process or computer is lost is started again by Ray and goes on from its last checkpoint, in the folder
that all computers share. Only plain values go through the cluster.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.locks import LockedError
from FetusMapV2Lib.core.process_messages import failure_in, failure_message
from FetusMapV2Lib.core.progress import OnProgress
from FetusMapV2Lib.core.ray_cluster import HeadWatch, gpus_for, ray_cluster, telling_line
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.evaluation.case_set import case_set
from FetusMapV2Lib.evaluation.paper.protocol import Protocol, Say, run_training
from FetusMapV2Lib.evaluation.paper.sharing import settled_trainings
from FetusMapV2Lib.imaging.training_cases import find_cases
from FetusMapV2Lib.training.preset import Preset

#: Times that a training is started again after its process or computer was lost.
_MOST_LOSSES = 5
#: Seconds between two looks at the cluster, and until the lock of a lost computer can be taken over.
_TICK_S, _LOCK_S, _RETRY_S = 0.5, 900.0, 15.0


def train_on_cluster(
    protocol: Protocol, address: str, cpus: int, *, on_progress: OnProgress | None = None, say: Say | None = None
) -> None:
    """Run every training of a protocol, and the estimates of its part; `run_protocol` then finds them done.

    Args:
        protocol: its folders are seen by all computers.
        address: of the cluster, see `ray_cluster`.
        cpus: cores of each training; a GPU is added where the cluster has some and the protocol does not say the CPU.
        on_progress: called with the share of trainings that are done.
        say: called with a line for each.

    Raises:
        UserError: no cluster, or trainings that failed, after all others are done.
    """
    requests = _requests(protocol)
    failed: list[UserError] = []
    with ray_cluster(address) as ray:
        options = {"num_cpus": cpus, "num_gpus": gpus_for(ray, protocol.device), "max_retries": _MOST_LOSSES}
        task = ray.remote(run_request).options(**options)
        head = HeadWatch(ray)
        running = {task.remote(request): name for name, request in requests.items()}
        if say is not None and not _has_room(ray, cpus):
            say(f"No computer of the cluster has {cpus} cores for a training; waiting for one that does")
        try:
            while running:
                head.look()
                done, _ = ray.wait(list(running), timeout=_TICK_S)
                for answer in done:
                    name = running.pop(answer)
                    error = _failure(ray, answer, name)
                    if error is not None:
                        failed.append(error)
                    if say is not None:
                        say(f"{name} is done" if error is None else error.line())
                if on_progress is not None:
                    on_progress(1 - len(running) / len(requests), f"{len(running)} trainings on the cluster")
        finally:
            if head.answers():
                with contextlib.suppress(Exception):  # a cluster that is gone runs nothing either
                    for answer in running:
                        ray.cancel(answer, force=True)
    if failed:
        others = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
        raise UserError(f"{failed[0].problem}{others}", where=failed[0].where or None, remedy=failed[0].remedy)


def run_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run one training on a computer of the cluster; how it ended, as plain values."""
    if request["software"] != SOFTWARE:
        problem = f"a computer of the cluster has {SOFTWARE}, this one {request['software']}"
        return {"failed": problem, "where": "", "remedy": "Install the same version on all of them"}
    try:
        data = Path(request["data"])
        parts = tuple(tuple(part) for part in request["parts"])
        protocol = Protocol(data, Path(request["output"]), (), case_set(find_cases(data)), parts, **request["how"])
        presets = [Preset.from_dict(preset) for preset in request["presets"]]
        _run_unlocked(protocol, Preset.from_dict(request["trained"]), presets, request["number"])
    except Exception as error:
        return failure_message(error)
    return {}


def _run_unlocked(protocol: Protocol, trained: Preset, presets: list[Preset], number: int) -> None:
    """Run a training as soon as its folder is free: a computer that was lost cannot remove its lock."""
    deadline = time.monotonic() + _LOCK_S
    while True:
        try:
            run_training(protocol, trained, presets, number)
        except LockedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _requests(protocol: Protocol) -> dict[str, dict[str, Any]]:
    """What each task is asked to do, by the name of the training."""
    trained = settled_trainings(protocol.runs, protocol.presets)
    sharing: dict[str, list[Preset]] = {}
    for preset in protocol.presets:
        sharing.setdefault(trained[preset.name].name, []).append(preset)
    common = {
        "software": SOFTWARE,
        "data": str(protocol.data.absolute()),
        "output": str(protocol.output.absolute()),
        "parts": [list(part) for part in protocol.parts],
        "how": {
            "seed": protocol.seed,
            "device": protocol.device,
            "threads": protocol.threads,
            "workers": protocol.workers,
            "prepare_on": protocol.prepare_on,
        },
    }
    return {
        f"{name}, fold {number + 1}": {
            **common,
            "trained": trained[presets[0].name].to_dict(),
            "presets": [preset.to_dict() for preset in presets],
            "number": number,
        }
        for number in range(len(protocol.parts))
        for name, presets in sharing.items()
    }


def _has_room(ray: Any, cpus: int) -> bool:
    """Whether a computer of the cluster as it is now could run a training."""
    return any(node["Alive"] and node["Resources"].get("CPU", 0) >= cpus for node in ray.nodes())


def _failure(ray: Any, answer: Any, name: str) -> UserError | None:
    """Why a training failed; None if it did not."""
    try:
        found = ray.get(answer)
    except ray.exceptions.RayError as error:
        remedy = "The same command goes on from its last checkpoint"
        return UserError(f"{name}: {telling_line(str(error))}", remedy=remedy)
    return failure_in(found, name)
