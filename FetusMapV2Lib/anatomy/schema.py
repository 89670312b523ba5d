"""The landmark schema: what each landmark is, how they connect, and which sets the method uses.

Landmarks are data (``Resources/Landmarks/fetusmapv2.json``); code asks the schema for rows.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.schema_reading import read_document, schema_fields
from FetusMapV2Lib.core.resources import resource_path


@dataclass(frozen=True)
class Landmark:
    """One landmark; `number` counts from 1, `partner` is the number of the same joint on the other side."""

    number: int
    key: str
    name: str
    definition: str
    group: str
    side: str | None
    partner: int | None
    colour: tuple[float, float, float]
    source: str

    @property
    def row(self) -> int:
        """Row of this landmark in a pose array."""
        return self.number - 1

    @property
    def assumed(self) -> bool:
        """True if the paper's text does not name this landmark."""
        return self.source == "assumed"


@dataclass(frozen=True)
class Edge:
    """One line of the skeleton between two pose rows, drawn in the colour of `group`."""

    start: int
    end: int
    group: str


@dataclass(frozen=True)
class Schema:
    """All landmarks and the sets of rows the method needs. Rows count from 0; index with ``list(rows)``.

    Attributes:
        registration_rows: set M of Eq. 9.
        refined_rows: the set of Eq. 10.
        crl_rows: crown and rump.
        bones: rows of the two ends, proximal first, of ``left_femur``, ``right_femur``, ``left_humerus``,
            ``right_humerus``.
        midsagittal_rows: landmarks of the median plane.
        head_frame_rows: (1, 4, 6) of Eq. 7, for the arms.
        trunk_frame_rows: the same for the legs. For both, ``cross(b - a, c - a)`` points to the fetal left.
        face_rows: forehead and chin, parallel to the trunk when the neck is neutral.
    """

    id: str
    landmarks: tuple[Landmark, ...]
    edges: tuple[Edge, ...]
    registration_rows: tuple[int, ...]
    refined_rows: tuple[int, ...]
    crl_rows: tuple[int, int]
    bones: dict[str, tuple[int, int]] = field(hash=False)
    midsagittal_rows: tuple[int, ...]
    head_frame_rows: tuple[int, int, int]
    trunk_frame_rows: tuple[int, int, int]
    face_rows: tuple[int, int]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Schema:
        """Read a schema file.

        Raises:
            InputError: the file is missing, is not JSON, or breaks a rule of the schema.
        """
        return cls.from_document(read_document(Path(path)), where=path)

    @classmethod
    def from_document(cls, document: Any, *, where: str | os.PathLike[str] | None = None) -> Schema:
        """Build a schema from the parsed JSON `document`; `where` names it in messages.

        Raises:
            InputError: the document breaks a rule of the schema.
        """
        fields = schema_fields(document, where)
        landmarks = tuple(Landmark(**entry) for entry in fields.pop("landmarks"))
        edges = tuple(Edge(**entry) for entry in fields.pop("edges"))
        return cls(landmarks=landmarks, edges=edges, **fields)

    @property
    def count(self) -> int:
        """Number of landmarks, the rows of a pose."""
        return len(self.landmarks)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key of each row."""
        return tuple(landmark.key for landmark in self.landmarks)

    @cached_property
    def _row_of_key(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    def index(self, key: str) -> int:
        """Row of a landmark key.

        Raises:
            KeyError: the schema has no such landmark.
        """
        return self._row_of_key[key]

    def rows(self, group: str) -> tuple[int, ...]:
        """Rows of a group (``ht``, ``la``, ``ra``, ``ll``, ``rl``), limbs from the trunk outwards."""
        return tuple(landmark.row for landmark in self.landmarks if landmark.group == group)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups in the order of their first landmark."""
        return tuple(dict.fromkeys(landmark.group for landmark in self.landmarks))

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(left row, right row) of every paired landmark."""
        lefts = (mark for mark in self.landmarks if mark.side == "left")
        return tuple((mark.row, mark.partner - 1) for mark in lefts if mark.partner is not None)

    def pairs_of(self, left_group: str) -> tuple[tuple[int, int], ...]:
        """(left row, right row) pairs of the arms (``la``) or legs (``ll``), from the trunk outwards."""
        rows = set(self.rows(left_group))
        return tuple(pair for pair in self.pairs if pair[0] in rows)

    @cached_property
    def mirror_rows(self) -> np.ndarray:
        """Permutation p, (count,): a mirrored body's pose is ``pose[p]``. Its own inverse, read-only."""
        order = [mark.row if mark.partner is None else mark.partner - 1 for mark in self.landmarks]
        permutation = np.array(order, dtype=np.intp)
        permutation.flags.writeable = False
        return permutation

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what a model depends on: id, keys and their order, groups, sides, partners."""
        marks = [[mark.number, mark.key, mark.group, mark.side, mark.partner] for mark in self.landmarks]
        text = json.dumps({"id": self.id, "landmarks": marks}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


@lru_cache(maxsize=1)
def default_schema() -> Schema:
    """The bundled schema of 22 landmarks."""
    return Schema.load(resource_path("Landmarks", "fetusmapv2.json"))
