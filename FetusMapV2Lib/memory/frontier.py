"""The ways to run a network that no other beats in both memory and time, found by single changes.

They are looked for whatever the budget is, so that every budget picks from the same ways: more memory is never slower.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.ledger import Ledger
from FetusMapV2Lib.memory.plan import Choices

# Peaks that changes are looked for at: between those of the fastest way and of ways that take up to so many times as
# long, and below.
_TARGETS, _SLOWDOWN, _LEAN_TARGETS = 9, 2.0, 3


@dataclass(eq=False)
class _Way:
    """A way on the frontier.

    Attributes:
        peak: in bytes.
        seconds: of a step.
        choices: how the network is run.
        place: of the change that is tried next; what has just failed for a way is not tried first for its successor.
        changes: its neighbours, once they are looked for.
        left: how many of them were not tried yet.
    """

    peak: int
    seconds: float
    choices: Choices
    place: int = 0
    changes: list[Choices] = field(default_factory=list)
    left: int = -1


class Frontier:
    """Ways by growing peak and falling duration.

    Args:
        cost_model: prices them.
        changes: gives the neighbours of a way.
    """

    def __init__(self, cost_model: CostModel, changes: Callable[[Choices], Iterator[Choices]]) -> None:
        self.cost_model, self._changes = cost_model, changes
        self._ways: list[_Way] = []

    @property
    def ways(self) -> list[Choices]:
        """From the leanest to the fastest."""
        return [way.choices for way in self._ways]

    def within(self, peak: float) -> Choices | None:
        """The fastest way that needs no more memory; None where none does."""
        way = self._within(peak)
        return None if way is None else way.choices

    def _within(self, peak: float) -> _Way | None:
        place = bisect_right(self._ways, peak, key=lambda way: way.peak)
        return self._ways[place - 1] if place else None

    def leanest(self, seconds: float) -> Choices:
        """The way of the least memory that takes no longer; the fastest where all do."""
        return next((way for way in self._ways if way.seconds <= seconds), self._ways[-1]).choices

    def add(self, ways: Iterable[Choices], place: int = 0) -> None:
        """Take up those that nothing here beats, and drop what they beat."""
        for choices in ways:
            price = self.cost_model.price_unless(choices, self.beats)
            if price is None or self.beats(price):
                continue
            new = _Way(price.peak, self.cost_model.machine.seconds(price), choices, place)
            kept = [way for way in self._ways if way.peak < new.peak or way.seconds < new.seconds]
            self._ways = sorted([*kept, new], key=lambda way: way.peak)

    def beats(self, price: Ledger) -> bool:
        """Whether a way here needs no more memory and no more time."""
        way = self._within(price.peak)
        return way is not None and way.seconds <= self.cost_model.machine.seconds(price)

    def improve(self, evaluations: int) -> None:
        """Try changes of ways all along, until none is left or so many have been priced."""
        end = self.cost_model.evaluations + evaluations
        improving = True
        while improving:
            improving = False
            for target in self._targets():
                if self.cost_model.evaluations >= end:
                    return
                improving |= self._try_at(target)

    def _targets(self) -> list[float]:
        fastest, least = self._ways[-1], self._ways[0].peak
        middle = next(way.peak for way in self._ways if way.seconds <= _SLOWDOWN * fastest.seconds)
        return [*_between(middle, fastest.peak, _TARGETS), *_between(least, middle, _LEAN_TARGETS)]

    def _try_at(self, peak: float) -> bool:
        """Price one more change of the way that is the fastest within a peak."""
        way = self._within(peak)
        if way is None:
            return False
        if way.left < 0:
            way.changes = list(self._changes(way.choices))
            way.left = len(way.changes)
        if not way.left:
            return False
        way.left -= 1
        way.place += 1
        self.add([way.changes[way.place % len(way.changes)]], way.place)
        return True


def _between(low: float, high: float, count: int) -> list[float]:
    """Peaks in even ratios; rounded up, as the least is to be among them."""
    return [low * (high / low) ** (n / max(1, count - 1)) + 0.5 for n in range(count)]
