"""Sizes of fetuses of 10-15 weeks: smoothed dating tables, and the measures of one individual.

Lengths in mm, gestational age in days.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

EARLIEST_DAYS = 70.0
LATEST_DAYS = 107.0

_WEEKS = np.array([10.0, 11.0, 12.0, 13.0, 14.0, 15.0])
# Means per week. Head from 14 weeks: INTERGROWTH-21st (BPD 28, OFD 34); before it and for the abdomen, secondary
# tables of 11-15 weeks continued to 10 weeks. Bones: ossified diaphyses, second and third trimester charts and
# Prenat Diagn 2007 (n = 1489) at 12-14 weeks; the humerus is at least as long as the femur at this age.
_TABLE = {
    "bpd": np.array([12.6, 16.0, 20.0, 24.0, 28.0, 31.0]),
    "ofd": np.array([16.8, 20.6, 24.4, 29.0, 34.0, 38.0]),
    "ac": np.array([42.0, 52.0, 63.0, 74.0, 84.5, 96.0]),
    "femur": np.array([5.6, 7.4, 9.2, 11.5, 13.8, 16.6]),
    "humerus": np.array([5.9, 7.9, 9.6, 12.0, 14.3, 16.9]),
    "fluid_ml": np.array([30.0, 44.0, 60.0, 85.0, 118.0, 152.0]),
}
# Standard deviations relative to the mean where a table gives none; bones: about 1.4 mm at 12-14 weeks.
_RELATIVE_SD = {"bpd": 0.055, "ofd": 0.05, "ac": 0.07, "femur": 0.10, "humerus": 0.10, "fluid_ml": 0.22}


def table(key: str, days: float) -> tuple[float, float]:
    """Mean and standard deviation of one quantity at a gestational age, a smooth curve through the weekly means.

    Args:
        key: "crl" (INTERGROWTH-21st, Papageorghiou 2014: CRL = -50.6562 + 0.815118 d + 0.00535302 d^2,
            SD = -2.21626 + 0.0984894 d), "bpd", "ofd", "ac", "femur", "humerus" (ossified diaphyses) in mm, or
            "fluid_ml" (amniotic fluid, mL).
        days: gestational age.
    """
    if key == "crl":
        return -50.6562 + 0.815118 * days + 0.00535302 * days**2, -2.21626 + 0.0984894 * days
    fit = np.polynomial.Polynomial.fit(_WEEKS, _TABLE[key], 3)
    mean = float(fit(days / 7.0))
    return mean, mean * _RELATIVE_SD[key]


@dataclass(frozen=True)
class Size:
    """Measures of one fetus, mm (fluid in mL). Bones are ossified diaphyses; `*_joint` are joint to joint."""

    days: float
    crl: float
    bpd: float
    ofd: float
    ac: float
    femur: float
    humerus: float
    femur_joint: float
    humerus_joint: float
    tibia_joint: float
    forearm_joint: float
    foot: float
    hand: float
    fluid_ml: float

    @property
    def girth(self) -> float:
        """Radius of a circle with the circumference of the abdomen, mm."""
        return self.ac / (2 * np.pi)

    @property
    def ossified(self) -> float:
        """Progress of ossification, 0 (10 weeks) to 1 (15 weeks)."""
        return float(np.clip((self.days - 70.0) / 35.0, 0.0, 1.0))

    @property
    def body_ml(self) -> float:
        """Volume of the fetus, mL: 8.4e-5 CRL^3 (about 14 mL at 12 weeks, 70 mL at 15, as the weights in g)."""
        return 8.4e-5 * self.crl**3

    def as_dict(self) -> dict[str, float]:
        """All measures by name."""
        return {key: round(float(value), 4) for key, value in asdict(self).items()}


def _deviate(generator: np.random.Generator, most: float = 2.0) -> float:
    while True:
        value = float(generator.standard_normal())
        if abs(value) <= most:
            return value


def sample_size(generator: np.random.Generator, days: float | None = None) -> Size:
    """Measures of a random fetus; all share part of the deviation of the CRL from its mean.

    Args:
        generator: source of randomness.
        days: gestational age; drawn evenly between 10 and 15 weeks if None.
    """
    age = float(generator.uniform(EARLIEST_DAYS, LATEST_DAYS))
    days = age if days is None else float(days)
    common = _deviate(generator)

    def draw(key: str, shared: float = 0.7) -> float:
        mean, sd = table(key, days)
        own = _deviate(generator)
        return mean + sd * float(np.clip(shared * common + np.sqrt(1 - shared**2) * own, -2.2, 2.2))

    crl_mean, crl_sd = table("crl", days)
    # The epiphyses are cartilage and long at this age; their share falls with ossification.
    epiphyses = 1.22 - 0.06 * float(np.clip((days - 70.0) / 35.0, 0.0, 1.0)) + 0.015 * _deviate(generator)
    femur, humerus = draw("femur"), draw("humerus")
    return Size(
        days=days,
        crl=crl_mean + crl_sd * common,
        bpd=draw("bpd"),
        ofd=draw("ofd"),
        ac=draw("ac"),
        femur=femur,
        humerus=humerus,
        femur_joint=femur * epiphyses,
        humerus_joint=humerus * epiphyses,
        tibia_joint=femur * epiphyses * (0.93 + 0.02 * _deviate(generator)),
        forearm_joint=humerus * epiphyses * (0.91 + 0.02 * _deviate(generator)),
        foot=femur * (0.88 + 0.04 * _deviate(generator)) + 0.8,
        hand=humerus * (0.58 + 0.03 * _deviate(generator)) + 0.6,
        fluid_ml=draw("fluid_ml", 0.3),
    )
