"""Messages to and from the engine's process: the same on both sides, and whatever is none of them is one line."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from robustness.mutations import damaged, damaged_json
from training.toy_cases import BODY

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.estimation.detection import PresenceRule
from FetusMapV2Lib.estimation.estimate import Estimate, Refinement, Region, Status, TwoRegions
from FetusMapV2Lib.estimation.requests import (
    EstimateRequest,
    InstallRequest,
    LocalEngine,
    RefineRequest,
    Request,
    ResourceRequest,
)
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.remote import messages, payloads, worker
from FetusMapV2Lib.remote.messages import EngineSettings, Failure, Heartbeat, MessageError, Progress, Question, Ready

COUNT = 300
RESOURCES = ResourceEstimate("cpu", "asked for", "toy", 5, None, "")
REGION = Region(np.array([1.0, 2.0, 3.0]), 0.7, 4.0)


@pytest.fixture(scope="module")
def estimate() -> Estimate:
    pose = Pose(BODY, np.full(22, 0.9), np.full(22, 2.0), Laterality(0.9, 0.8, False, True, None))
    refinement = Refinement("prior", (1, 2), (3,), 0, 2.5, 1.5)
    return replace(
        Estimate.given(pose, "toy (12ab)"),
        detection_score=0.9,
        mean_peak_mass=0.8,
        device="cpu",
        device_reason="asked for",
        timings={"network": 1.0},
        warnings=("a warning",),
        refinement=refinement,
        two_regions=(TwoRegions(12, REGION, replace(REGION, mass=0.2)),),
    )


@pytest.fixture(scope="module")
def volume() -> Volume:
    return Volume(np.zeros((4, 5, 6), np.uint8), np.diag([1.0, 1.0, 2.0, 1.0]), "übung \udcff", "a\0b", ("w",))


def received(result: Any) -> Any:
    """The values of a result after a message."""
    answer = messages.answer_from(messages.encoded(messages.Result(3, payloads.result_values(result))).encode())
    assert isinstance(answer, messages.Result) and answer.id == 3
    return answer.result


def question(request: Request[Any], folder: Path) -> Question:
    values = payloads.request_values(request, folder / "volume.npy")
    return Question(5, payloads.command_of(request), EngineSettings(device="cpu"), values)


def asked(request: Any, folder: Path) -> Any:
    """A request after a message."""
    message = messages.question_from(messages.encoded(question(request, folder)).encode())
    return payloads.request_from(message.command, message.request)


# ---- what is sent arrives


def test_results_arrive_as_they_were_sent(estimate: Estimate) -> None:
    again = payloads.result_from(ResourceRequest(1), received(RESOURCES))
    assert again == RESOURCES
    arrived = payloads.estimate_from(received(estimate))
    assert payloads.result_values(arrived) == payloads.result_values(estimate)
    assert (arrived.refinement, arrived.pose.laterality) == (estimate.refinement, estimate.pose.laterality)
    np.testing.assert_array_equal(arrived.pose.positions, estimate.pose.positions)
    assert payloads.result_from(InstallRequest("a", "b"), received(None)) is None
    for status in get_args(Status):
        assert payloads.estimate_from(received(replace(estimate, status=status))).status == status


def test_what_was_seen_without_a_fetus_arrives(estimate: Estimate) -> None:
    none = replace(estimate, status="none", reason="No fetus found.", seen=estimate.pose)
    shown = payloads.estimate_from(received(none)).showing_what_was_seen()
    np.testing.assert_array_equal(shown.pose.positions, estimate.pose.positions)
    again = payloads.estimate_from(received(shown))
    assert again.pose.doubt == shown.reason == "Shown on request. No fetus found."


def test_missing_numbers_arrive_as_missing(estimate: Estimate) -> None:
    positions = BODY.copy()
    positions[4] = np.nan
    pose = Pose(positions, radius90_mm=np.where(np.arange(22) == 4, np.nan, 2.0))
    arrived = payloads.estimate_from(received(replace(estimate, pose=pose, detection_score=math.nan)))
    assert math.isnan(arrived.detection_score)
    np.testing.assert_array_equal(arrived.pose.positions, positions)
    np.testing.assert_array_equal(arrived.pose.radius90_mm, pose.radius90_mm)
    assert arrived.pose.confidence is None


def test_requests_arrive_as_they_were_sent(estimate: Estimate, volume: Volume, tmp_path: Path) -> None:
    rule = PresenceRule(0.6, accept_doubtful=True)
    arrived = asked(EstimateRequest(volume, estimate, "prior", rule), tmp_path)
    assert (arrived.refine, arrived.presence) == ("prior", rule)
    assert asked(EstimateRequest(volume), tmp_path).presence == PresenceRule()
    assert payloads.result_values(arrived.before) == payloads.result_values(estimate)
    grey = arrived.volume
    assert (grey.shape, grey.name, grey.source, grey.warnings) == ((4, 5, 6), "übung \\udcff", "a\\0b", ("w",))
    np.testing.assert_array_equal(grey.ijk_to_ras, volume.ijk_to_ras)
    assert asked(EstimateRequest(volume), tmp_path).before is None
    refine = asked(RefineRequest(volume, estimate, (10, 1), "full"), tmp_path)
    assert (refine.pinned, refine.mode) == ((1, 10), "full")
    assert asked(ResourceRequest(7, "full"), tmp_path) == ResourceRequest(7, "full")
    install = InstallRequest(str(tmp_path / "a"), "name")
    assert asked(install, tmp_path) == install


def test_a_relative_path_means_the_folder_of_the_sender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert asked(InstallRequest("a.safetensors", "name"), tmp_path).file == str(tmp_path / "a.safetensors")


# ---- what is damaged is refused in one line


def lines(generator: random.Random, message: Any) -> list[bytes]:
    """A message damaged in many ways, by bytes and by values."""
    whole = messages.encoded(message).encode()
    by_values = [damaged_json(generator, whole)[0].replace(b"\n", b" ") for _ in range(COUNT // 2)]
    by_bytes = [damaged(generator, {"m": whole}, len(whole), b"{}" * 2000)[0]["m"] for _ in range(COUNT // 2)]
    return by_values + by_bytes


def test_an_answer_however_damaged_is_understood_or_one_line(estimate: Estimate) -> None:
    generator, refused = random.Random(7), 0
    for result, take in ((estimate, payloads.estimate_from), (RESOURCES, payloads.resource_estimate_from)):
        for line in lines(generator, messages.Result(3, payloads.result_values(result))):
            try:
                answer = messages.answer_from(line)
                if isinstance(answer, messages.Result):
                    take(answer.result)
            except MessageError as error:
                refused += 1
                assert error.line().isprintable()
    assert refused > COUNT


@pytest.mark.parametrize(
    "message", [Progress(1, 0.5, "looking"), Failure(1, "user", "p", "w", "r"), Ready(4, "0.1"), Heartbeat()]
)
def test_other_messages_however_damaged_are_understood_or_one_line(message: messages.Answer) -> None:
    assert messages.answer_from(messages.encoded(message)) == message
    for line in lines(random.Random(8), message):
        try:
            messages.answer_from(line)
        except MessageError as error:
            assert error.line().isprintable()


def _changed(estimate: Estimate, **changes: Any) -> Estimate:
    return replace(estimate, pose=replace(estimate.pose, **changes))


def _second(estimate: Estimate, **changes: Any) -> Estimate:
    return replace(estimate, two_regions=(TwoRegions(12, REGION, replace(REGION, **changes)),))


IMPOSSIBLE = {
    "an unknown status": lambda one: replace(one, status="lost"),  # type: ignore[arg-type]
    "a place too far away": lambda one: _changed(one, positions=BODY * 1e7),
    "a confidence of 2": lambda one: _changed(one, confidence=np.full(22, 2.0)),
    "a negative radius": lambda one: _changed(one, radius90_mm=np.full(22, -1.0)),
    "a side that is more than certain": lambda one: _changed(one, laterality=Laterality(1.5, 1.0, False, False, None)),
    "a side of unknown certainty": lambda one: _changed(one, laterality=Laterality(math.nan, 1.0, False, False, None)),
    "a negative duration": lambda one: replace(one, timings={"network": -1.0}),
    "an unknown duration": lambda one: replace(one, timings={"network": math.nan}),
    "landmark 0": lambda one: replace(one, refinement=Refinement(moved=(0,))),
    "landmark 23": lambda one: replace(one, refinement=Refinement(pinned=(23,))),
    "an unknown refinement": lambda one: replace(one, refinement=Refinement("twice")),  # type: ignore[arg-type]
    "fewer than no iterations": lambda one: replace(one, refinement=Refinement(iterations=-1)),
    "a negative residual": lambda one: replace(one, refinement=Refinement(residual_after_mm=-1.0)),
    "a region of landmark 23": lambda one: replace(one, two_regions=(TwoRegions(22, REGION, REGION),)),
    "a region nowhere": lambda one: _second(one, position=np.full(3, math.nan)),
    "a region in the plane": lambda one: _second(one, position=np.zeros(2)),
    "a mass above one": lambda one: _second(one, mass=1.5),
    "an unknown radius of a region": lambda one: _second(one, radius90_mm=math.nan),
    "an endless text": lambda one: replace(one, reason="x" * 20_001),
    "a zero character": lambda one: replace(one, warnings=("a\0b",)),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_an_estimate_that_cannot_be_is_refused(estimate: Estimate, what: str) -> None:
    with pytest.raises(MessageError):
        payloads.estimate_from(received(IMPOSSIBLE[what](estimate)))


@pytest.mark.parametrize("key", ["positions", "confidence", "radius90_mm"])
def test_a_pose_of_21_landmarks_is_refused(estimate: Estimate, key: str) -> None:
    values = received(estimate)
    values["pose"][key].pop()
    with pytest.raises(MessageError):
        payloads.estimate_from(values)


@pytest.mark.parametrize("resources", [replace(RESOURCES, memory_bytes=-1), replace(RESOURCES, device_bytes=2**62)])
def test_an_amount_of_memory_that_cannot_be_is_refused(resources: ResourceEstimate) -> None:
    with pytest.raises(MessageError):
        payloads.result_from(ResourceRequest(1), received(resources))


class Engine(LocalEngine):
    """Takes whatever the real one takes, and does nothing."""

    def __init__(self, answer: Estimate) -> None:
        self.answer = answer

    def estimate(self, volume: Volume, *, refine: str = "off", before: Any = None, **_: Any) -> Estimate:
        assert isinstance(volume, Volume) and isinstance(refine, str) and isinstance(before, Estimate | None)
        return self.answer

    def refine(self, volume: Volume, estimate: Estimate, pinned: Collection[int] = (), **options: Any) -> Estimate:
        assert isinstance(volume, Volume) and isinstance(estimate, Estimate) and isinstance(options["mode"], str)
        return self.answer

    def resource_estimate(self, voxels: int, refine: str = "off") -> ResourceEstimate:
        assert isinstance(voxels, int) and isinstance(refine, str)
        return RESOURCES


def test_a_request_however_damaged_is_answered_once(
    estimate: Estimate, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    serving = worker.Worker(out)
    monkeypatch.setattr(serving, "_engine_for", lambda settings: Engine(estimate))

    def answers(line: bytes) -> list[messages.Answer]:
        out.seek(0)
        out.truncate()
        serving.serve(line)
        return [messages.answer_from(text) for text in out.getvalue().splitlines()]

    requests: list[Request[Any]] = [
        ResourceRequest(7),
        EstimateRequest(volume, estimate, "prior"),
        RefineRequest(volume, estimate, (1, 3), "full"),
    ]
    for request in requests:
        whole = question(request, tmp_path)
        line = messages.encoded(whole).encode()
        for other in [line, *lines(random.Random(9), whole), b"\xff\xfe", b"", b"[" * 10**5, b"1" * 2_000_000]:
            if b'"install"' in other:
                continue
            *before, last = [one for one in answers(other) if not isinstance(one, Progress)]
            assert not before and isinstance(last, messages.Result | Failure)
            assert isinstance(last, messages.Result) or last.kind == "user", (other, last)  # else it is a traceback
        assert isinstance(answers(line)[-1], messages.Result)  # it goes on


def test_an_allocation_that_torch_cannot_make_is_a_lack_of_memory(
    volume: Volume, estimate: Estimate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Greedy(Engine):
        def estimate(self, volume: Volume, **options: Any) -> Estimate:
            torch.empty(2**50, dtype=torch.uint8)
            return self.answer

    out = io.StringIO()
    serving = worker.Worker(out)
    monkeypatch.setattr(serving, "_engine_for", lambda settings: Greedy(estimate))
    serving.serve(messages.encoded(question(EstimateRequest(volume), tmp_path)).encode())
    answer = messages.answer_from(out.getvalue().splitlines()[-1])
    assert isinstance(answer, Failure) and (answer.id, answer.kind) == (5, "memory")


@pytest.mark.parametrize("content", [b"", b"no numbers", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'shape': (99,)}"])
def test_voxels_that_are_none_are_one_line(volume: Volume, tmp_path: Path, content: bytes) -> None:
    written = payloads.VolumeFile.write(volume, tmp_path / "v.npy")
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(MessageError, match="voxels cannot be read"):
        written.volume()
    with pytest.raises(MessageError, match="voxels cannot be read"):
        replace(written, file=str(tmp_path / "none.npy")).volume()


@pytest.mark.parametrize("array", [np.zeros((2, 2)), np.zeros((2, 2, 2), complex), np.zeros((0, 2, 2)), np.float64(1)])
def test_an_array_that_is_no_volume_is_one_line(volume: Volume, tmp_path: Path, array: np.ndarray) -> None:
    written = payloads.VolumeFile.write(volume, tmp_path / "v.npy")
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(MessageError, match="no voxels of a volume"):
        written.volume()


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3), np.diag([1e7, 1, 1, 1])])
def test_a_matrix_that_is_none_of_a_volume_is_one_line(volume: Volume, tmp_path: Path, matrix: np.ndarray) -> None:
    with pytest.raises(MessageError, match="no place in the world"):
        replace(payloads.VolumeFile.write(volume, tmp_path / "v.npy"), ijk_to_ras=matrix).volume()


@pytest.mark.parametrize(
    "line", ["", "hello", "[1]", '{"version": 99}', '{"event": "ready"}', '{"version": 1, "event": "alive"}']
)
def test_what_is_no_message_is_refused(line: str) -> None:
    for take in (messages.answer_from, messages.question_from):
        with pytest.raises(MessageError):
            take(line)


def test_an_unknown_option_is_refused(volume: Volume, tmp_path: Path) -> None:
    values = payloads.request_values(EstimateRequest(volume), tmp_path / "v.npy")
    with pytest.raises(MessageError, match="speed"):
        payloads.request_from("estimate", {**values, "speed": "high"})
    with pytest.raises(MessageError, match="refine"):
        payloads.request_from("estimate", {**values, "refine": "twice"})


def test_a_second_fetus_travels_and_is_checked(estimate: Estimate) -> None:
    both = replace(estimate, others=(replace(estimate, pose=Pose(BODY + 60.0), status="doubtful", reason="why"),))
    (other,) = payloads.estimate_from(payloads.result_values(both)).others
    assert np.allclose(other.pose.positions, BODY + 60.0) and (other.status, other.reason) == ("doubtful", "why")
    for wrong in (replace(estimate, others=(both,)), replace(estimate, others=(estimate,) * 5)):
        with pytest.raises(MessageError, match="others"):
            payloads.estimate_from(payloads.result_values(wrong))
    beyond = replace(estimate, others=(replace(estimate, pose=Pose(BODY, np.full(22, 1.5))),))
    with pytest.raises(MessageError, match="confidence"):
        payloads.estimate_from(payloads.result_values(beyond))
