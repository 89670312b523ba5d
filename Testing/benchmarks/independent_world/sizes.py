"""How large a fetus of 10-15 weeks and its parts are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.anatomy.dating import expected_crl_mm

#: Weeks, then mm: abdominal circumference, biparietal diameter, ossified femur shaft, head circumference. NICHD Fetal
#: Growth Studies, mean of the 50th centiles of four groups (Buck Louis et al., Am J Obstet Gynecol 2015;213:449).
NICHD = np.array(
    [
        (10, 35.9, 12.0, 2.3, 46.1),
        (11, 45.3, 15.4, 4.0, 58.2),
        (12, 55.7, 19.0, 6.4, 71.1),
        (13, 66.8, 22.8, 9.2, 84.5),
        (14, 78.5, 26.5, 12.5, 97.9),
        (15, 90.4, 30.1, 16.0, 111.1),
        (16, 102.4, 33.5, 19.5, 123.8),
    ]
)
SMALLEST_CRL, LARGEST_CRL = 33.0, 100.0
#: Cartilage at both ends of a long bone together, as a part of the crown-rump length: joint centres are farther apart
#: than the ends of the ossified shaft by so much.
CARTILAGE = 0.055


@dataclass(frozen=True)
class Sizes:
    """Of one fetus, mm unless said otherwise.

    Attributes:
        days: gestational age.
        crl: crown-rump length in a straight, neutral posture.
        skull: half width, half length and half height of the cranium on the skin.
        girth: mean radius of the abdomen.
        femur, humerus, tibia, forearm: lengths of the ossified shafts.
        thigh, upper_arm, shank, lower_arm: between the centres of the joints.
        hand, foot: lengths.
        plump: thickness of the limbs over the usual one.
    """

    days: float
    crl: float
    skull: tuple[float, float, float]
    girth: float
    femur: float
    humerus: float
    tibia: float
    forearm: float
    thigh: float
    upper_arm: float
    shank: float
    lower_arm: float
    hand: float
    foot: float
    plump: float


def typical(crl: float) -> dict[str, float]:
    """Weeks at which this CRL is the mean, and the NICHD sizes at that age."""
    days = np.linspace(56, 115, 1000)
    weeks = float(np.interp(crl, expected_crl_mm_of(days), days)) / 7
    names = ("abdomen", "biparietal", "femur", "head")
    values = {name: float(np.interp(weeks, NICHD[:, 0], NICHD[:, column + 1])) for column, name in enumerate(names)}
    if weeks < NICHD[0, 0]:
        values = {name: value * crl / SMALLEST_CRL for name, value in values.items()}
    return values | {"weeks": weeks}


def expected_crl_mm_of(days: np.ndarray) -> np.ndarray:
    """Mean CRL in mm at each age, (N,) days to (N,) mm (INTERGROWTH-21st)."""
    return np.array([expected_crl_mm(float(day))[0] for day in days])


def draw_sizes(random: np.random.Generator, crl: float | None = None) -> Sizes:
    """A fetus of 10-15 weeks; each part differs from the table by up to 12 %."""
    days = float(random.uniform(70, 106))
    mean, spread = expected_crl_mm(days)
    length = mean + spread * float(np.clip(random.normal(), -2, 2)) if crl is None else crl
    length = float(np.clip(length, SMALLEST_CRL, LARGEST_CRL))
    usual = typical(length)

    def own(value: float, spread: float = 0.05) -> float:
        return value * (1 + float(np.clip(spread * random.normal(), -0.12, 0.12)))

    width = own(usual["biparietal"]) * 1.06
    circumference = own(usual["head"])
    depth = max(2 * circumference / math.pi - width, 1.15 * width)
    femur = own(usual["femur"])
    humerus = own(femur * float(np.interp(usual["weeks"], [10, 15], [1.15, 1.02])), 0.03)
    tibia, forearm = own(0.88 * femur, 0.03), own(0.87 * humerus, 0.03)
    ends = own(CARTILAGE * length, 0.06)
    return Sizes(
        days=days,
        crl=length,
        skull=(width / 2, depth / 2, own(0.40 * depth, 0.04)),
        girth=own(usual["abdomen"]) / (2 * math.pi),
        femur=femur,
        humerus=humerus,
        tibia=tibia,
        forearm=forearm,
        thigh=femur + ends,
        upper_arm=humerus + ends,
        shank=tibia + ends,
        lower_arm=forearm + 0.9 * ends,
        hand=own(0.125 * length, 0.04),
        foot=own(0.15 * length, 0.04),
        plump=own(1.0, 0.06),
    )
