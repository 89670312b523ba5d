"""The tissues of the simulated scene: integer labels and their acoustic properties.

A tissue map is a uint8 array of `Tissue` values; the tables here are indexed by that value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Tissue(IntEnum):
    """Labels of a tissue map. The numbers are stable: files written with them stay readable."""

    OUTSIDE = 0  # nothing there (no echo, no loss)
    FLUID = 1  # amniotic fluid
    MATERNAL = 2  # maternal soft tissue outside the uterus
    UTERINE_WALL = 3  # myometrium
    PLACENTA = 4
    MEMBRANE = 5  # amnion, thin and bright where the beam meets it squarely
    EXTRA_FLUID = 6  # coelomic fluid between amnion and chorion, slightly echogenic
    SKIN = 7
    SOFT = 8  # undifferentiated fetal soft tissue
    MUSCLE = 9
    BONE = 10  # ossified: diaphyses, calvaria, vertebral centres, ribs
    CARTILAGE = 11  # epiphyses, unossified vertebrae, carpus and tarsus: nearly echo-free
    BRAIN = 12
    VENTRICLE = 13  # cerebrospinal fluid
    CHOROID = 14  # choroid plexus, bright, fills the lateral ventricles at this age
    FALX = 15
    ORBIT = 16  # globe of the eye
    LENS = 17
    HEART = 18  # myocardium
    BLOOD = 19
    LUNG = 20
    LIVER = 21
    BOWEL = 22
    STOMACH = 23  # its fluid
    BLADDER = 24  # its fluid
    KIDNEY = 25
    CORD = 26  # Wharton's jelly and vessel walls
    YOLK_SAC = 27  # its wall
    SPINAL_CORD = 28
    BOUNDARY = 29  # uterine cavity line, fat planes: bright interfaces of maternal tissue


@dataclass(frozen=True)
class Acoustics:
    """Acoustic properties of one tissue.

    Attributes:
        echogenicity: RMS scatterer amplitude relative to maternal soft tissue (1.0); 20 log10 of it is its
            brightness in dB before compression.
        impedance: MRayl (kg m^-2 s^-1 x 10^6).
        attenuation: dB/cm/MHz, one way.
    """

    echogenicity: float
    impedance: float
    attenuation: float


# Impedance and attenuation follow common textbook ranges (Duck, Physical Properties of Tissue, 1990; Szabo,
# Diagnostic Ultrasound Imaging, 2014): water 1.50 / 0.002, soft tissue 1.60-1.70 / 0.3-1.0, muscle 1.70 / 1.0,
# adult cortical bone 6-8 / 5-10. Bone of the first and early second trimester is thin and half mineralised: its
# values here lie between cartilage and adult bone so that it shadows partially, as it does in images of this age.
# Echogenicity has no tabulated unit; the order is that of first-trimester images: bone >> choroid plexus, bowel,
# placenta > myometrium > liver, lung > muscle > brain > cartilage > fluid.
_ACOUSTICS: dict[Tissue, Acoustics] = {
    Tissue.OUTSIDE: Acoustics(0.0, 1.50, 0.0),
    Tissue.FLUID: Acoustics(0.010, 1.51, 0.005),
    Tissue.MATERNAL: Acoustics(1.00, 1.65, 0.55),
    Tissue.UTERINE_WALL: Acoustics(0.80, 1.66, 0.60),
    Tissue.PLACENTA: Acoustics(1.15, 1.64, 0.50),
    Tissue.MEMBRANE: Acoustics(0.90, 1.70, 0.30),
    Tissue.EXTRA_FLUID: Acoustics(0.035, 1.52, 0.01),
    Tissue.SKIN: Acoustics(1.10, 1.70, 0.50),
    Tissue.SOFT: Acoustics(0.62, 1.62, 0.40),
    Tissue.MUSCLE: Acoustics(0.50, 1.68, 0.60),
    Tissue.BONE: Acoustics(4.50, 3.60, 5.00),
    Tissue.CARTILAGE: Acoustics(0.22, 1.80, 0.90),
    Tissue.BRAIN: Acoustics(0.28, 1.58, 0.35),
    Tissue.VENTRICLE: Acoustics(0.015, 1.51, 0.01),
    Tissue.CHOROID: Acoustics(1.80, 1.63, 0.40),
    Tissue.FALX: Acoustics(1.70, 1.75, 0.50),
    Tissue.ORBIT: Acoustics(0.020, 1.52, 0.02),
    Tissue.LENS: Acoustics(0.50, 1.73, 0.60),
    Tissue.HEART: Acoustics(0.70, 1.68, 0.50),
    Tissue.BLOOD: Acoustics(0.030, 1.61, 0.15),
    Tissue.LUNG: Acoustics(0.85, 1.62, 0.45),
    Tissue.LIVER: Acoustics(0.60, 1.66, 0.45),
    Tissue.BOWEL: Acoustics(1.30, 1.65, 0.50),
    Tissue.STOMACH: Acoustics(0.012, 1.51, 0.01),
    Tissue.BLADDER: Acoustics(0.010, 1.51, 0.01),
    Tissue.KIDNEY: Acoustics(0.80, 1.62, 0.45),
    Tissue.CORD: Acoustics(0.85, 1.60, 0.25),
    Tissue.YOLK_SAC: Acoustics(1.60, 1.70, 0.30),
    Tissue.SPINAL_CORD: Acoustics(0.18, 1.59, 0.30),
    Tissue.BOUNDARY: Acoustics(2.00, 1.72, 0.60),
}


def _column(name: str) -> np.ndarray:
    column = np.array([getattr(_ACOUSTICS[tissue], name) for tissue in Tissue], dtype=np.float32)
    column.setflags(write=False)
    return column


#: Number of labels; every table has this length.
COUNT = len(Tissue)
#: Relative scatterer amplitude, float32 (COUNT,).
ECHOGENICITY = _column("echogenicity")
#: Acoustic impedance in MRayl, float32 (COUNT,).
IMPEDANCE = _column("impedance")
#: Attenuation in dB/cm/MHz one way, float32 (COUNT,).
ATTENUATION = _column("attenuation")
