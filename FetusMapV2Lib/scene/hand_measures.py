"""What a person measured by hand besides landmarks: outlines of head and abdomen, tries of the nuchal translucency.

Stored in the landmarks node: saved with the scene, copied into sequences, and restored by undo with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_sections import SectionKey
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.serialisation import from_json, to_json
from FetusMapV2Lib.scene.node_attributes import DIGITS, RULES, read_attribute, write_attribute

Array = NDArray[np.float64]

HAND_ATTRIBUTE = "FetusMapV2.HandMeasures"


@dataclass(frozen=True, eq=False)
class HandMeasures:
    """Places in mm, in the landmarks node's own coordinates.

    Attributes:
        head: (4, 3) handles of the outline of the head, see `anatomy.section_handles`; (0, 3) = not set by hand.
        abdomen: the same for the abdomen.
        nuchal: (T, 2, 3) callipers of each try.
        moved: (T, 2) 1 where a person has moved that calliper, else 0: a try counts once both were moved.
    """

    head: Array = field(default_factory=lambda: np.zeros((0, 3)))
    abdomen: Array = field(default_factory=lambda: np.zeros((0, 3)))
    nuchal: Array = field(default_factory=lambda: np.zeros((0, 2, 3)))
    moved: Array = field(default_factory=lambda: np.zeros((0, 2)))

    @classmethod
    def load(cls, node: Any) -> HandMeasures:
        """What a landmarks node stores; nothing if it is damaged."""
        found = read_attribute(node, HAND_ATTRIBUTE, cls)
        return cls() if found is None else cls._checked(found)

    @classmethod
    def _checked(cls, found: HandMeasures) -> HandMeasures:
        """What is sound of it."""
        tries = len(found.nuchal)
        wanted = {"head": (4, 3), "abdomen": (4, 3), "nuchal": (tries, 2, 3), "moved": (tries, 2)}
        sound = {key: one for key in wanted if _fits(one := getattr(found, key), wanted[key])}
        return cls(**sound) if ("nuchal" in sound) == ("moved" in sound) else cls()

    def save(self, node: Any) -> None:
        """Store it in a landmarks node; nothing leaves no trace."""
        if self.anything:
            write_attribute(node, HAND_ATTRIBUTE, self)
        elif node.GetAttribute(HAND_ATTRIBUTE) is not None:
            node.RemoveAttribute(HAND_ATTRIBUTE)

    def document(self) -> dict[str, Any]:
        """As values for a file of the case; empty without anything."""
        return to_json(self, digits=DIGITS) if self.anything else {}

    @classmethod
    def from_document(cls, document: Any) -> HandMeasures:
        """What a file of the case has; nothing if it is damaged."""
        try:
            return cls() if not document else cls._checked(from_json(cls, document, rules=RULES))
        except UserError:
            return cls()

    @property
    def anything(self) -> bool:
        """Whether anything was measured by hand."""
        return bool(len(self.head) or len(self.abdomen) or len(self.nuchal))

    def handles(self, key: SectionKey) -> Array | None:
        """(4, 3) handles of an outline; None if it was not set by hand."""
        places: Array = self.head if key == "head" else self.abdomen
        return places if len(places) else None

    def with_handles(self, key: SectionKey, places: Array | None) -> HandMeasures:
        """With an outline set by hand, or no longer."""
        return replace(self, **{key: np.zeros((0, 3)) if places is None else places})

    @property
    def counted(self) -> Array:
        """(T, 2, 3) the tries that count."""
        return np.asarray(self.nuchal[self.moved.all(axis=1)])

    def with_try(self, places: Array) -> HandMeasures:
        """With one more try at places (2, 3), which does not count yet; an earlier one that does not either is gone."""
        kept = self.moved.all(axis=1)
        nuchal, moved = self.nuchal[kept], self.moved[kept]
        return replace(self, nuchal=np.concatenate([nuchal, places[None]]), moved=np.concatenate([moved, [[0.0, 0.0]]]))

    def with_calliper(self, places: Array) -> HandMeasures:
        """With the callipers of the last try at places (2, 3); those that lie elsewhere than before were moved."""
        nuchal, moved = self.nuchal.copy(), self.moved.copy()
        moved[-1] = np.maximum(moved[-1], (np.abs(places - nuchal[-1]) > _SAME_MM).any(axis=1))
        nuchal[-1] = places
        return replace(self, nuchal=nuchal, moved=moved)

    def without_last_try(self) -> HandMeasures:
        """Without the last try."""
        return replace(self, nuchal=self.nuchal[:-1], moved=self.moved[:-1])


#: Files hold fewer digits than memory.
_SAME_MM = 1e-4


def _fits(places: Array, shape: tuple[int, ...]) -> bool:
    return places.shape == shape and bool(np.isfinite(places).all())
