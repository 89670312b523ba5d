"""The messages between a pose engine in another process and its client: JSON, one message a line, versioned.

Both sides check whatever they receive before they use it. Requests and results inside the messages are `payloads`.
Needs neither torch nor Qt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.json_files import field, parse_json
from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, to_json

T = TypeVar("T")

#: Raised whenever a message changes its meaning; both sides refuse another version.
VERSION = 5
#: Longest message, bytes; an estimate takes some ten thousand.
LONGEST = 1 << 20
LARGEST_WHOLE = 1 << 60
_LONGEST_TEXT = 20_000
_LONGEST_SHOWN_TEXT = 2_000

FailureKind = Literal["user", "packages", "memory", "internal"]
Command = Literal["estimate", "refine", "resources", "install"]


class MessageError(UserError):
    """A line that is no message of this version, or has values that are not allowed."""


@dataclass(frozen=True)
class EngineSettings:
    """The engine that is to answer; it is loaded if another one is at present.

    Attributes:
        model: name or path, None = the default one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        memory_budget: bytes for the network, None = no limit.
        less_memory: take the next smaller memory plan.
    """

    model: str | None = None
    device: str = "auto"
    memory_budget: int | None = None
    less_memory: bool = False


@dataclass(frozen=True)
class Question:
    """A request to the engine.

    Attributes:
        id: number that the answers to it have.
        command: the kind of request.
        settings: the engine that is to answer.
        request: JSON values, see `payloads.request_from`.
    """

    id: int
    command: Command
    settings: EngineSettings
    request: Any


@dataclass(frozen=True)
class Ready:
    """The process has started."""

    pid: int
    software: str


@dataclass(frozen=True)
class Heartbeat:
    """The process lives and works."""


@dataclass(frozen=True)
class Progress:
    """How far the work on a request is: fraction 0-1 and name of the stage."""

    id: int
    fraction: float
    stage: str


@dataclass(frozen=True)
class Result:
    """The answer to a request as JSON values, see `payloads.result_from`."""

    id: int
    result: Any


@dataclass(frozen=True)
class Failure:
    """Why a request has no result; the fields are those of `UserError`. Without `id` the request was unreadable."""

    id: int | None
    kind: FailureKind
    problem: str
    where: str = ""
    remedy: str = ""
    option: str = ""


Answer = Ready | Heartbeat | Progress | Result | Failure
_EVENTS: Mapping[str, type[Answer]] = {
    "ready": Ready,
    "heartbeat": Heartbeat,
    "progress": Progress,
    "result": Result,
    "error": Failure,
}


def encoded(message: Question | Answer) -> str:
    """A message as one line, without its line end."""
    event = next((name for name, kind in _EVENTS.items() if isinstance(message, kind)), None)
    values = {"version": VERSION, **({"event": event} if event else {}), **to_json(message)}
    return json.dumps(values, allow_nan=False, separators=(",", ":"))


def question_from(line: str | bytes) -> Question:
    """The request in a line.

    Raises:
        MessageError: there is none.
    """
    values = _decoded(line)
    question = read(Question, values, "the request")
    budget = question.settings.memory_budget
    if budget is not None and budget < 1:
        raise MessageError("the memory budget is no number of bytes")
    return question


def answer_from(line: str | bytes) -> Answer:
    """The message of an engine in a line.

    Raises:
        MessageError: there is none.
    """
    values = _decoded(line)
    event = field(values, "event", str, error=MessageError)
    if event not in _EVENTS:
        raise MessageError(f"there is no event {event[:40]!r}")
    answer = read(_EVENTS[event], {key: value for key, value in values.items() if key != "event"}, "the answer")
    if isinstance(answer, Progress) and not 0 <= answer.fraction <= 1:
        raise MessageError("the fraction of a progress is not within 0-1")
    return answer


def id_in(line: str | bytes) -> int | None:
    """The number of a request that may be unreadable otherwise, None if it has none."""
    try:
        number = _decoded(line).get("id")
    except MessageError:
        return None
    return number if type(number) is int else None


def read(kind: type[T], values: Any, what: str, largest: float = LARGEST_WHOLE) -> T:
    """A dataclass from the JSON values of the other side, which may be anything.

    Args:
        kind: the dataclass.
        values: keys and values of its fields; null stands for NaN in them.
        what: how messages call it.
        largest: no number may be larger in size.

    Raises:
        MessageError: a key or a value is not allowed.
    """
    rules = ReadingRules(null_is_nan=True, largest=largest)
    try:
        return from_json(kind, values, what, error=MessageError, rules=rules)
    except ValueError as error:  # refused by the dataclass itself
        raise MessageError(f"{what} cannot be used ({error})") from error


def sendable(text: str) -> str:
    """A text for people, without what no message may hold: half characters of file names, zeros, endless length."""
    return text[:_LONGEST_SHOWN_TEXT].encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")


def _decoded(line: str | bytes) -> dict[str, Any]:
    """The keys and values of a message, without its version."""
    if len(line) > LONGEST:
        raise MessageError(f"a message is longer than {LONGEST} bytes")
    message = parse_json(line, f"the message {line[:60]!r}", error=MessageError)
    if not isinstance(message, dict) or message.pop("version", None) != VERSION:
        raise MessageError(f"not a message of version {VERSION}: {line[:60]!r}")
    _check_texts(message)
    return message


def _check_texts(value: Any) -> None:
    if isinstance(value, str) and (len(value) > _LONGEST_TEXT or "\0" in value):
        raise MessageError(f"a text is longer than {_LONGEST_TEXT} characters or holds a zero character")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for one in value:
            _check_texts(one)
