"""What a graph costs at all sizes of a residue class, by propagating a few of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from FetusMapV2Lib.memory.paper.propagation import Facts


@dataclass(frozen=True)
class SizeFormula:
    """Facts as multi-affine functions of the steps from an origin, exact in integers.

    Attributes:
        origin: smallest size for which it holds.
        period: sizes per step.
        layout: see `Facts`.
        powers: (terms, axes), whether the term's product has the axis.
        coefficients: (numbers, terms).
    """

    origin: tuple[int, ...]
    period: int
    layout: tuple[tuple[str, int, torch.dtype | None, str, frozenset[str], int], ...]
    powers: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def through(
        cls, origin: tuple[int, ...], period: int, corners: Mapping[tuple[int, ...], Facts]
    ) -> SizeFormula | None:
        """The formula through the facts at all corners of the unit box of steps; None if their layouts differ."""
        layout = corners[(0,) * len(origin)].layout
        if any(facts.layout != layout for facts in corners.values()):
            return None
        terms = list(corners)
        columns = []
        for term in terms:  # the mixed difference along the term's axes
            below = [corner for corner in terms if all(c <= t for c, t in zip(corner, term, strict=True))]
            columns.append(sum((-1) ** (sum(term) - sum(corner)) * corners[corner].numbers for corner in below))
        return cls(origin, period, layout, np.array(terms), np.stack(columns, axis=1))

    def reaches(self, size: Sequence[int]) -> bool:
        """The size is none of the small ones."""
        return all(n >= first for n, first in zip(size, self.origin, strict=True))

    def at(self, size: Sequence[int]) -> Facts:
        """Facts at a size of the class."""
        steps = (np.array(size) - self.origin) // self.period
        products = np.where(self.powers, steps, 1).prod(axis=1)
        return Facts(self.layout, self.coefficients @ products)
