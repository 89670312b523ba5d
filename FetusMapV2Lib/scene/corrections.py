"""Corrections of an estimate besides moved points, stored with the landmarks: confirmed, refined, sides swapped.

Positions are stored, not flags: a confirmed point that is moved is no longer confirmed, whoever moved it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.scene.node_attributes import read_attribute, write_attribute

Array = NDArray[np.float64]

CORRECTIONS_ATTRIBUTE = "FetusMapV2.Corrections"

#: The limbs whose sides can be swapped, with the groups of the landmark schema that they exchange.
LIMBS = {"arms": ("la", "ra"), "legs": ("ll", "rl")}


@dataclass(frozen=True, eq=False)
class Corrections:
    """The corrections of one pose.

    Attributes:
        confirmed: (N, 3) mm where a landmark was confirmed, in the node's own coordinates; NaN = it was not.
        refined: (N, 3) where refinement around landmarks set by hand put it; NaN = it was not refined.
        swapped: limbs ("arms", "legs") that have the sides opposite to the estimate's.
    """

    confirmed: Array
    refined: Array
    swapped: frozenset[str] = frozenset()

    @classmethod
    def none(cls, count: int) -> Corrections:
        """Nothing was corrected."""
        return cls(np.full((count, 3), np.nan), np.full((count, 3), np.nan))

    def with_confirmed(self, rows: Iterable[int], places: Array) -> Corrections:
        """With rows confirmed at `places` (N, 3), or not confirmed where those are NaN."""
        return replace(self, confirmed=_replaced(self.confirmed, rows, places))

    def with_refined(self, rows: Iterable[int], places: Array) -> Corrections:
        """With rows refined to `places` (N, 3), or not refined where those are NaN."""
        return replace(self, refined=_replaced(self.refined, rows, places))

    def with_sides_swapped(self, limbs: Iterable[str], schema: Schema) -> Corrections:
        """With the sides of limbs exchanged again; what is known of a point is kept under its new name."""
        limbs = frozenset(limbs)
        order = swapped_rows(limbs, schema)
        return Corrections(self.confirmed[order], self.refined[order], self.swapped ^ limbs)

    def save(self, node: Any) -> None:
        """Store the corrections in a landmarks node."""
        write_attribute(node, CORRECTIONS_ATTRIBUTE, self)

    @classmethod
    def load(cls, node: Any, count: int) -> Corrections:
        """The corrections stored in a landmarks node; none if there are none, or not for `count` landmarks."""
        found = read_attribute(node, CORRECTIONS_ATTRIBUTE, cls)
        if found is None or not found.confirmed.shape == found.refined.shape == (count, 3):
            return cls.none(count)
        return replace(found, swapped=found.swapped & LIMBS.keys())


def swapped_rows(limbs: Iterable[str], schema: Schema) -> NDArray[np.intp]:
    """Permutation p, (N,), its own inverse: ``pose[p]`` has the sides of `limbs` exchanged."""
    order = np.arange(schema.count)
    rows = [row for limb in limbs for group in LIMBS[limb] for row in schema.rows(group)]
    order[rows] = schema.mirror_rows[rows]
    return order


def _replaced(stored: Array, rows: Iterable[int], places: Array) -> Array:
    result = stored.copy()
    chosen = list(rows)
    result[chosen] = places[chosen]
    return result
