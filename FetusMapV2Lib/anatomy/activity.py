"""Rest and activity of a fetus over a sequence, and which kind each movement is: arm, leg, trunk, jump.

The kinds are those that Hata describes for the late first trimester in 4D ultrasound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.registration import MINIMUM_POINTS, register
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.anatomy.trajectories import runs

Array = NDArray[np.float64]
Kind = Literal["arm", "leg", "trunk", "jump", "other"]

#: The kinds of movement and their names. "other": arms and legs together, or the head alone.
KINDS: dict[Kind, str] = {
    "arm": "Isolated arm movement",
    "leg": "Isolated leg movement",
    "trunk": "Trunk movement",
    "jump": "Jump",
    "other": "Other movement",
}
SOURCE = (
    "kinds after Hata (4D ultrasound of the late first trimester); their limits are our own, set on simulated poses"
)
#: Movements that are separated by no more frames than this are one.
_LONGEST_PAUSE = 1
#: A trunk moves if it bends or turns by so many degrees, and a body jumps if its trunk is displaced by such a share of
#: its own length (upper thoracic to lumbosacral spine), each at least so many standard deviations of its noise.
_BENDS_DEG, _TURNS_DEG, _JUMPS_SHARE, _LEAST_NOISES = 10.0, 12.0, 0.20, 4.0
#: Frames before and after in which a trunk has to move to be active; single frames turn by about this much too much.
_WINDOW, _GRAIN_DEG = 2, 1.0
#: Limbs that reach less than this share of the most moving one only go along.
_GOES_ALONG = 0.5


@dataclass(frozen=True)
class Event:
    """A movement of the fetus between two rests.

    Attributes:
        kind: one of `KINDS`.
        first, last: frames, from 0, both included.
        start, end: their times.
        parts: keys of the parts that moved.
    """

    kind: Kind
    first: int
    last: int
    start: float
    end: float
    parts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Activity:
    """Rest and activity over T frames.

    Attributes:
        events: in the order of time.
        active: (T,) bool.
        known: (T,) bool: whether a fetus was seen well enough to tell.
        longest_rest: longest run of known frames without a movement, in units of time; NaN if there is none.
    """

    events: tuple[Event, ...]
    active: NDArray[np.bool_]
    known: NDArray[np.bool_]
    longest_rest: float

    @property
    def counts(self) -> dict[Kind, int]:
        """How many movements of each kind, all kinds."""
        return {kind: sum(event.kind == kind for event in self.events) for kind in KINDS}

    @property
    def active_share(self) -> float:
        """Share of the known frames with a movement, 0-1; NaN without known frames."""
        return float(self.active[self.known].mean()) if self.known.any() else math.nan


def classify(
    positions: Array, aligned: Array, turns: Array, times: Array, moving: dict[str, NDArray[np.bool_]],
    known: NDArray[np.bool_], schema: Schema,
) -> Activity:  # fmt: skip
    """Events of a sequence and their kinds.

    An event is a run of frames in which a limb, the head or the trunk moves. It is a jump if the trunk as a whole is
    displaced far; else a movement of the trunk if that bends or turns; else of arms or of legs if only these reach far.

    Args:
        positions: (T, N, 3) RAS mm.
        aligned: (T, N, 3) the same in the frame of the trunk.
        turns: (T, 3, 3) the rotations into that frame.
        times: (T,) of the frames.
        moving: (T,) whether each part moves, by its key.
        known: (T,) whether the frame can be judged.
        schema: of the landmarks.
    """
    paths = _Paths.of(positions, aligned, turns, schema)
    # a body that drifts with the probe is at rest: the trunk must move clearly within a second or so
    seen_from_the_trunk = [flags for key, flags in moving.items() if key != "body"]
    active = np.any([*seen_from_the_trunk, paths.trunk_moves()], axis=0)
    events = []
    for first, last in _joined(active):
        parts = tuple(key for key, flags in moving.items() if flags[first : last + 1].any())
        kind = paths.kind(max(first - 1, 0), min(last + 1, len(times) - 1), parts)
        events.append(Event(kind, first, last, float(times[first]), float(times[last]), parts))
    for event in events:
        active[event.first : event.last + 1] = True
    return Activity(tuple(events), active & known, known, _longest_rest(active, known, times))


@dataclass(frozen=True, eq=False)
class _Paths:
    """What tells the kinds apart: paths over T frames, NaN = unknown.

    Attributes:
        middle: (T, 3) mm, of the middle of the trunk in the world, in lengths of the trunk.
        turn: (T, 3, 3) of the trunk in the world.
        bend: (T, 3) rotation vector between shoulders and hips, degrees.
        reach: by part, (T, R, 3) mm: its landmarks in the frame of the trunk.
    """

    middle: Array
    turn: Array
    bend: Array
    reach: dict[str, Array]

    @classmethod
    def of(cls, positions: Array, aligned: Array, turns: Array, schema: Schema) -> _Paths:
        upper, _, lower = schema.trunk_frame_rows
        groups = {"left_arm": "la", "right_arm": "ra", "left_leg": "ll", "right_leg": "rl"}
        roots = {key: schema.rows(group)[0] for key, group in groups.items()}
        trunk = [*schema.trunk_frame_rows, schema.crl_rows[1], *roots.values()]
        centre = _mean(_mean(aligned[:, trunk], 0), 0)
        lengths = np.linalg.norm(positions[:, upper] - positions[:, lower], axis=1)
        length = float(_median(lengths))
        # aligned = turn @ position + shift, so that the middle of the mean trunk lies in the world at
        shift = _mean(aligned[:, trunk] - np.einsum("txy,tny->tnx", turns, positions[:, trunk]), 1)
        middle = np.einsum("tyx,ty->tx", turns, centre - shift) / length
        above = [roots["left_arm"], roots["right_arm"], upper, schema.head_frame_rows[2]]
        below = [roots["left_leg"], roots["right_leg"], lower, schema.crl_rows[1]]
        bend = _relative_turn(aligned[:, above], aligned[:, below])
        reach = {key: aligned[:, list(schema.rows(group)[1:])] for key, group in groups.items()}
        return cls(middle, turns, bend, reach)

    def trunk_moves(self) -> NDArray[np.bool_]:
        """(T,) whether the trunk is displaced, bends or turns by half of what makes an event, within a few frames."""
        count = len(self.middle)
        spans = [slice(max(frame - _WINDOW, 0), frame + _WINDOW + 1) for frame in range(count)]
        least = [_LEAST_NOISES * _noise(path) for path in (self.middle, self.bend)]
        return np.array(
            [
                _range(self.middle[span]) > max(_JUMPS_SHARE / 2, least[0])
                or _range(self.bend[span]) > max(_BENDS_DEG / 2, least[1])
                or _turned(self.turn[span]) > _TURNS_DEG / 2 + 2 * _GRAIN_DEG
                for span in spans
            ],
            dtype=bool,
        )

    def kind(self, first: int, last: int, parts: tuple[str, ...]) -> Kind:
        """Of the event between two frames, both included."""
        span = slice(first, last + 1)
        jumped = _range(self.middle[span])
        if jumped > _JUMPS_SHARE and jumped > _LEAST_NOISES * _noise(self.middle):
            return "jump"
        bent = _range(self.bend[span])
        if bent > _BENDS_DEG and bent > _LEAST_NOISES * _noise(self.bend):
            return "trunk"
        if _turned(self.turn[span]) > _TURNS_DEG:
            return "trunk"
        far = {key: max(map(_range, np.moveaxis(self.reach[key][span], 1, 0))) for key in self.reach if key in parts}
        most = max(far.values(), default=0.0)
        reaching = {key.split("_")[1] for key, value in far.items() if value >= _GOES_ALONG * most > 0}
        if len(reaching) != 1:
            return "other"
        return "arm" if reaching == {"arm"} else "leg"


def _relative_turn(above: Array, below: Array) -> Array:
    """(T, 3) rotation vectors in degrees between two groups of landmarks (T, R, 3), from their median arrangement."""
    turns = [_turns_from_median(points) for points in (above, below)]
    relative = np.einsum("txy,tzy->txz", turns[0], turns[1])
    found = np.full((len(above), 3), np.nan)
    known = np.isfinite(relative).all(axis=(1, 2))
    if known.any():
        found[known] = Rotation.from_matrix(relative[known]).as_rotvec(degrees=True)
    return found


def _turns_from_median(points: Array) -> Array:
    """(T, 3, 3) rotations of the points of each frame onto their medians; NaN where too few are known."""
    target = _median(points)
    found = np.full((len(points), 3, 3), np.nan)
    usable = (np.isfinite(points) & np.isfinite(target)).all(axis=2).sum(axis=1) >= MINIMUM_POINTS
    if usable.any():
        found[usable] = register(points[usable], target, scale=False).rotation
    return found


def _mean(values: Array, axis: int) -> Array:
    """Mean of the known values along an axis; NaN where none is."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    return np.asarray(np.where(known, values, 0.0).sum(axis=axis) / np.where(count > 0, count, np.nan))


def _median(values: Array) -> Array:
    """Median of the known values over the frames; NaN where none is."""
    known = np.isfinite(values).any(axis=0)
    return np.asarray(np.where(known, np.nanmedian(np.where(known, values, 0.0), axis=0), np.nan))


def _range(path: Array) -> float:
    """Largest distance between two frames of a path (T, D), of its running mean over three; 0 where unknown."""
    known = path[np.isfinite(path).all(axis=1)]
    if len(known) < 2:
        return 0.0
    if len(known) > 3:
        known = (known[:-2] + known[1:-1] + known[2:]) / 3
    return float(np.linalg.norm(known[:, None] - known[None], axis=2).max())


def _turned(turns: Array) -> float:
    """Largest angle between two of the rotations (T, 3, 3), degrees; 0 where unknown."""
    known = turns[np.isfinite(turns).all(axis=(1, 2))]
    if len(known) < 2:
        return 0.0
    traces = np.einsum("axy,bxy->ab", known, known)
    return float(np.degrees(np.arccos(np.clip((traces - 1) / 2, -1, 1))).max())


def _noise(path: Array) -> float:
    """Standard deviation per axis of what changes from frame to frame, from second differences; 0 where unknown.

    Slow and steady movement cancels; the median leaves movements out.
    """
    seconds = np.linalg.norm(np.diff(path, 2, axis=0), axis=1)
    known = seconds[np.isfinite(seconds)]
    # of three normal components of variance 6
    return float(np.median(known)) / math.sqrt(6 * 2.366) if len(known) else 0.0


def _joined(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last frame of every run of active frames, short pauses bridged."""
    joined: list[tuple[int, int]] = []
    for first, last in runs(active):
        if joined and first - joined[-1][1] - 1 <= _LONGEST_PAUSE:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _longest_rest(active: NDArray[np.bool_], known: NDArray[np.bool_], times: Array) -> float:
    spans = [float(times[last] - times[first]) for first, last in runs(known & ~active)]
    return max(spans, default=math.nan)
