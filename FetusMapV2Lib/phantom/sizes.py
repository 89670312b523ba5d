"""Sizes of fetuses of 10-15 weeks: smoothed dating tables, and the measures of one individual.

Lengths in mm, gestational age in days.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from FetusMapV2Lib.phantom.build import Build
from FetusMapV2Lib.phantom.scene_options import ANATOMIES, CURRENT

EARLIEST_DAYS = 70.0
LATEST_DAYS = 107.0

_WEEKS = np.array([10.0, 11.0, 12.0, 13.0, 14.0, 15.0])
# Means per week of anatomy "2026-1". Head from 14 weeks: INTERGROWTH-21st (BPD 28, OFD 34); before it and for the
# abdomen, secondary tables of 11-15 weeks continued to 10 weeks. Bones: ossified diaphyses, second and third trimester
# charts and Prenat Diagn 2007 (n = 1489) at 12-14 weeks; the humerus is at least as long as the femur at this age.
_TABLE = {
    "bpd": np.array([12.6, 16.0, 20.0, 24.0, 28.0, 31.0]),
    "ofd": np.array([16.8, 20.6, 24.4, 29.0, 34.0, 38.0]),
    "ac": np.array([42.0, 52.0, 63.0, 74.0, 84.5, 96.0]),
    "femur": np.array([5.6, 7.4, 9.2, 11.5, 13.8, 16.6]),
    "humerus": np.array([5.9, 7.9, 9.6, 12.0, 14.3, 16.9]),
    "fluid_ml": np.array([30.0, 44.0, 60.0, 85.0, 118.0, 152.0]),
}
# Anatomy "2026-2". Head, abdomen and femur: NICHD, from 10 weeks (mean of the 50th centiles of four maternal
# groups); the OFD from head circumference and BPD, the humerus a little longer than the femur (Prenat Diagn 2007).
_NICHD = {
    **_TABLE,
    "bpd": np.array([12.0, 15.4, 19.0, 22.8, 26.5, 30.1]),
    "ofd": np.array([17.3, 21.6, 26.3, 31.0, 35.8, 40.6]),
    "ac": np.array([35.9, 45.3, 55.7, 66.8, 78.5, 90.4]),
    "femur": np.array([2.3, 4.0, 6.4, 9.2, 12.5, 16.0]),
    "humerus": np.array([2.5, 4.3, 6.8, 9.7, 12.9, 16.2]),
}
_TABLES = {"2026-1": _TABLE} | dict.fromkeys(ANATOMIES[1:], _NICHD)
# Standard deviations relative to the mean where a table gives none; bones: about 1.4 mm at 12-14 weeks.
_RELATIVE_SD = {"bpd": 0.055, "ofd": 0.05, "ac": 0.07, "femur": 0.10, "humerus": 0.10, "fluid_ml": 0.22}


def table(key: str, days: float, anatomy: str = CURRENT) -> tuple[float, float]:
    """Mean and standard deviation of one quantity at a gestational age, a smooth curve through the weekly means.

    Args:
        key: "crl" (INTERGROWTH-21st, Papageorghiou 2014: CRL = -50.6562 + 0.815118 d + 0.00535302 d^2,
            SD = -2.21626 + 0.0984894 d), "bpd", "ofd", "ac", "femur", "humerus" (ossified diaphyses) in mm, or
            "fluid_ml" (amniotic fluid, mL).
        days: gestational age.
        anatomy: one of `scene_options.ANATOMIES`.
    """
    if key == "crl":
        return -50.6562 + 0.815118 * days + 0.00535302 * days**2, -2.21626 + 0.0984894 * days
    fit = np.polynomial.Polynomial.fit(_WEEKS, _TABLES[anatomy][key], 3)
    mean = float(fit(days / 7.0))
    return mean, mean * _RELATIVE_SD[key]


@dataclass(frozen=True)
class Size:
    """Measures of one fetus, mm (fluid in mL). Bones are ossified diaphyses; `*_joint` are joint to joint.

    `build` says how the body differs from the usual one; the measures include it already.
    """

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
    build: Build = field(default_factory=Build)

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

    def as_dict(self) -> dict[str, Any]:
        """All measures by name, and the build."""
        measures = {key: round(float(value), 4) for key, value in asdict(self).items() if key != "build"}
        return measures if self.build == Build() else measures | {"build": self.build.as_dict()}

    def built(self, build: Build) -> Size:
        """The measures of a body that differs from the usual one."""
        factors = dict(build.measures)
        return replace(self, build=build, **{key: getattr(self, key) * factor for key, factor in factors.items()})


def _deviate(generator: np.random.Generator, most: float = 2.0) -> float:
    while True:
        value = float(generator.standard_normal())
        if abs(value) <= most:
            return value


def sample_size(generator: np.random.Generator, days: float | None = None, anatomy: str = CURRENT) -> Size:
    """Measures of a random fetus; all share part of the deviation of the CRL from its mean.

    Args:
        generator: source of randomness.
        days: gestational age; drawn evenly between 10 and 15 weeks if None.
        anatomy: one of `scene_options.ANATOMIES`; individual proportions are drawn by `build.draw_build`.
    """
    age = float(generator.uniform(EARLIEST_DAYS, LATEST_DAYS))
    days = age if days is None else float(days)
    common = _deviate(generator)

    def draw(key: str, shared: float = 0.7) -> float:
        mean, sd = table(key, days, anatomy)
        own = _deviate(generator)
        return mean + sd * float(np.clip(shared * common + np.sqrt(1 - shared**2) * own, -2.2, 2.2))

    crl_mean, crl_sd = table("crl", days)
    # The epiphyses are cartilage and long at this age; their share falls with ossification.
    epiphyses = 1.22 - 0.06 * float(np.clip((days - 70.0) / 35.0, 0.0, 1.0)) + 0.015 * _deviate(generator)
    femur, humerus = draw("femur"), draw("humerus")
    # The shaft is only a part of a bone that is cartilage still; as it grows by ossification, so do the epiphyses less.
    gristle = 0.0 if anatomy == "2026-1" else 2.2
    if gristle:
        epiphyses -= 0.08
    femur_joint, humerus_joint = femur * epiphyses + gristle, humerus * epiphyses + gristle
    return Size(
        days=days,
        crl=crl_mean + crl_sd * common,
        bpd=draw("bpd"),
        ofd=draw("ofd"),
        ac=draw("ac"),
        femur=femur,
        humerus=humerus,
        femur_joint=femur_joint,
        humerus_joint=humerus_joint,
        tibia_joint=femur_joint * (0.93 + 0.02 * _deviate(generator)),
        forearm_joint=humerus_joint * (0.91 + 0.02 * _deviate(generator)),
        foot=(femur + gristle) * (0.88 + 0.04 * _deviate(generator)) + 0.8,
        hand=(humerus + gristle) * (0.58 + 0.03 * _deviate(generator)) + 0.6,
        fluid_ml=draw("fluid_ml", 0.3),
    )
