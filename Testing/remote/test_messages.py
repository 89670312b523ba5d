"""Messages to and from the engine's process: the same on both sides, and whatever is none of them is one line."""

from __future__ import annotations

import io
import json
import math
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from cli.synthetic_balls import ball_engine, ball_volume
from robustness.mutations import damaged, damaged_json
from training.toy_cases import BODY

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.estimation.estimate import Estimate, Refinement, Status
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.remote import messages, worker
from FetusMapV2Lib.remote.messages import MessageError

COUNT = 300


@pytest.fixture(scope="module")
def estimate() -> Estimate:
    pose = Pose(BODY, np.full(22, 0.9), np.full(22, 2.0), Laterality(0.9, 0.8, False, True, None))
    refinement = Refinement("prior", (1, 2), (3,), 0, 2.5, 1.5)
    return Estimate(
        pose,
        "found",
        0.9,
        "",
        "cpu",
        "asked for",
        {"network": 1.0},
        ("a warning",),
        "toy (12ab)",
        (),
        "",
        refinement,
        0.8,
    )


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    grey = Volume(np.zeros((4, 5, 6), np.uint8), np.diag([1.0, 1.0, 2.0, 1.0]), "übung \udcff", "a\0b", ("w",))
    return messages.volume_message(grey, tmp_path_factory.mktemp("voxels") / "volume.npy")


def sent(message: dict[str, Any]) -> dict[str, Any]:
    return messages.decoded(messages.encoded(message).encode())


def test_an_estimate_a_volume_and_an_outlook_arrive_as_they_were_sent(
    estimate: Estimate, volume: dict[str, Any]
) -> None:
    again = messages.estimate_from(sent(messages.estimate_message(estimate)))
    assert messages.estimate_message(again) == messages.estimate_message(estimate)
    assert (again.refinement, again.pose.laterality) == (estimate.refinement, estimate.pose.laterality)
    unknown = replace(
        estimate, detection_score=math.nan, mean_peak_mass=math.nan, pose=Pose(np.full_like(BODY, np.nan))
    )
    assert math.isnan(messages.estimate_from(sent(messages.estimate_message(unknown))).detection_score)
    for status in get_args(Status):
        arrived = messages.estimate_from(sent(messages.estimate_message(replace(estimate, status=status))))
        assert arrived.status == status
    with pytest.raises(MessageError, match="there is no status 'lost'"):
        messages.estimate_from(sent({**messages.estimate_message(estimate), "status": "lost"}))
    grey = messages.volume_from(sent(volume))
    assert (grey.shape, grey.name, grey.source, grey.warnings) == ((4, 5, 6), "übung \\udcff", "a\\0b", ("w",))
    resource_estimate = ResourceEstimate("cpu", "asked for", "toy", 5, None, "")
    assert messages.resource_estimate_from(sent(asdict(resource_estimate))) == resource_estimate


def lines(generator: random.Random, message: dict[str, Any]) -> list[bytes]:
    """A message damaged in many ways, by bytes and by values."""
    whole = messages.encoded(message).encode()
    by_values = [damaged_json(generator, whole)[0].replace(b"\n", b" ") for _ in range(COUNT // 2)]
    by_bytes = [damaged(generator, {"m": whole}, len(whole), b"{}" * 2000)[0]["m"] for _ in range(COUNT // 2)]
    return by_values + by_bytes


def test_an_answer_however_damaged_is_understood_or_one_line(estimate: Estimate, volume: dict[str, Any]) -> None:
    generator = random.Random(7)
    resource_estimate = asdict(ResourceEstimate("cpu", "asked for", "toy", 5, None, ""))
    answers = {"estimate": messages.estimate_message(estimate), "outlook": resource_estimate, "volume": volume}
    takes = {
        "estimate": messages.estimate_from,
        "outlook": messages.resource_estimate_from,
        "volume": messages.volume_from,
    }
    refused = 0
    for key, part in answers.items():
        for line in lines(generator, {"id": 3, "event": "result", **part}):
            try:
                takes[key](messages.checked_answer(messages.decoded(line)))  # type: ignore[operator]
            except MessageError as error:
                refused += 1
                assert error.line().isprintable()
    assert refused > COUNT


@pytest.mark.parametrize(
    "message",
    [
        {"id": 1, "event": "progress", "fraction": 0.5, "stage": "looking"},
        {"id": 1, "event": "error", "kind": "user", "problem": "p", "where": "w", "remedy": "r"},
        {"event": "ready", "pid": 4, "software": "0.1"},
    ],
)
def test_other_messages_however_damaged_are_understood_or_one_line(message: dict[str, Any]) -> None:
    messages.checked_answer(sent(message))
    for line in lines(random.Random(8), message):
        try:
            messages.checked_answer(messages.decoded(line))
        except MessageError as error:
            assert error.line().isprintable()


class Engine:
    """Takes whatever the real one takes, and does nothing."""

    def __init__(self, answer: Estimate) -> None:
        self.answer = answer
        self.model = type("Model", (), {"identity": "toy"})

    def estimate(self, volume: Volume, *, on_progress: Any, refine: str = "off", before: Any = None) -> Estimate:
        assert isinstance(volume, Volume) and isinstance(refine, str) and isinstance(before, Estimate | None)
        return self.answer

    def refine(self, volume: Volume, known: Estimate, pinned: tuple[int, ...], *, on_progress: Any, mode: str = "off"):
        assert isinstance(volume, Volume) and isinstance(known, Estimate) and isinstance(mode, str)
        return self.answer

    def resource_estimate(self, voxels: int, refine: str) -> ResourceEstimate:
        assert isinstance(voxels, int) and isinstance(refine, str)
        return ResourceEstimate("cpu", "asked for", "toy", 5, None, "")


def test_a_request_however_damaged_is_answered_once(
    estimate: Estimate, volume: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    serving = worker._Worker(out)
    monkeypatch.setattr(serving, "_engine_for", lambda request: Engine(estimate))
    known = messages.estimate_message(estimate)
    settings: dict[str, Any] = {"id": 5, "model": None, "device": "cpu", "memory_budget": None}
    requests = [
        {"command": "load"},
        {"command": "outlook", "voxels": 7, "refine": "off"},
        {"command": "estimate", "options": {"refine": "prior"}, "before": known, "volume": volume},
        {"command": "refine", "options": {"mode": "full"}, "estimate": known, "pinned": [1, 3], "volume": volume},
    ]
    for request in requests:
        whole = {**settings, **request}
        damages = lines(random.Random(9), whole)
        for line in [messages.encoded(whole).encode(), *damages, b"\xff\xfe", b"", b"[" * 10**5, b"1" * 2_000_000]:
            if b'"install"' in line:
                continue
            out.seek(0)
            out.truncate()
            serving.serve(line)
            said = [messages.checked_answer(messages.decoded(text)) for text in out.getvalue().splitlines()]
            *before, last = [one for one in said if one["event"] != "progress"]
            assert not before and last["event"] in ("result", "error")
            assert last.get("kind", "user") == "user", (line, last)  # a traceback would be "internal"
        out.seek(0)
        out.truncate()
        serving.serve(messages.encoded(whole).encode())  # it serves on
        assert json.loads(out.getvalue().splitlines()[-1])["event"] == "result"


@pytest.mark.parametrize("content", [b"", b"no numbers", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'shape': (99,)}"])
def test_voxels_that_are_none_are_one_line(volume: dict[str, Any], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(MessageError, match="voxels cannot be read"):
        messages.volume_from({**volume, "file": str(tmp_path / "v.npy")})
    with pytest.raises(MessageError, match="voxels cannot be read"):
        messages.volume_from({**volume, "file": str(tmp_path / "none.npy")})


@pytest.mark.parametrize("array", [np.zeros((2, 2)), np.zeros((2, 2, 2), complex), np.zeros((0, 2, 2)), np.float64(1)])
def test_an_array_that_is_no_volume_is_one_line(volume: dict[str, Any], tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(MessageError, match="no voxels of a volume"):
        messages.volume_from({**volume, "file": str(tmp_path / "v.npy")})


def test_an_estimate_survives_the_wire():
    here = ball_engine().estimate(ball_volume()[0])
    assert here.found
    there = messages.estimate_from(messages.decoded(messages.encoded(messages.estimate_message(here))))
    np.testing.assert_array_equal(there.pose.positions, here.pose.positions)
    assert there.pose.laterality == here.pose.laterality
    assert there.mean_peak_mass == here.mean_peak_mass
    assert (there.found, there.reason, there.model, there.warnings) == (
        here.found,
        here.reason,
        here.model,
        here.warnings,
    )


def test_missing_landmarks_survive_the_wire():
    positions, radii = np.arange(66.0).reshape(22, 3), np.full(22, 2.0)
    positions[1], radii[1] = np.nan, np.nan
    pose = Pose(positions, radius90_mm=radii)
    again = messages.pose_from(messages.decoded(messages.encoded(messages.pose_message(pose))))
    np.testing.assert_array_equal(again.positions, pose.positions)
    np.testing.assert_array_equal(again.radius90_mm, pose.radius90_mm)
    assert again.confidence is None


@pytest.mark.parametrize("line", ["", "hello", "[1]", '{"version": 99}', '{"event": "ready"}'])
def test_what_is_no_message_is_refused(line):
    with pytest.raises(messages.MessageError):
        messages.decoded(line)
