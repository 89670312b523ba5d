"""What tissues do to ultrasound: how much they scatter, their impedance, and how fast they weaken the beam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tissue:
    """Acoustics of one tissue.

    Attributes:
        echo: mean scattered level, dB over soft fetal tissue.
        impedance: of water = 1.
        loss: dB / (cm MHz), one way.
    """

    echo: float
    impedance: float
    loss: float


#: Echo levels are chosen by what first-trimester pictures show; losses after Szabo, Diagnostic Ultrasound Imaging,
#: appendix B, with thin fetal bone far below the 20 dB / (cm MHz) of adult skull.
TISSUES = {
    "fluid": Tissue(-50, 1.000, 0.01),
    "soft": Tissue(-3, 1.050, 0.45),
    "skin": Tissue(4, 1.080, 0.6),
    "muscle": Tissue(-5, 1.055, 0.6),
    "cartilage": Tissue(-17, 1.085, 0.8),
    "bone": Tissue(20, 1.50, 7.0),
    "thin_bone": Tissue(14, 1.30, 4.0),
    "brain": Tissue(-22, 1.035, 0.25),
    "brain_core": Tissue(-13, 1.04, 0.4),
    "choroid": Tissue(1, 1.055, 0.5),
    "falx": Tissue(0, 1.07, 0.5),
    "eye": Tissue(-38, 1.02, 0.1),
    "lung": Tissue(-5, 1.045, 0.5),
    "liver": Tissue(-8, 1.06, 0.5),
    "heart": Tissue(-7, 1.055, 0.5),
    "blood": Tissue(-32, 1.04, 0.2),
    "bowel": Tissue(3, 1.06, 0.6),
    "kidney": Tissue(-1, 1.05, 0.5),
    "cyst": Tissue(-48, 1.0, 0.02),
    "lucency": Tissue(-26, 1.03, 0.15),
    "jelly": Tissue(-9, 1.03, 0.3),
    "membrane": Tissue(2, 1.06, 0.3),
    "placenta": Tissue(3, 1.055, 0.5),
    "decidua": Tissue(6, 1.06, 0.6),
    "uterus": Tissue(-3, 1.06, 0.65),
    "fat": Tissue(-7, 0.97, 0.5),
    "fascia": Tissue(10, 1.13, 0.8),
    "maternal": Tissue(-2, 1.055, 0.7),
    "gas": Tissue(14, 0.6, 8.0),
}
NAMES = tuple(TISSUES)
NUMBER = {name: number for number, name in enumerate(NAMES)}
ECHO = np.array([10 ** (tissue.echo / 20) for tissue in TISSUES.values()], np.float32)
IMPEDANCE = np.array([tissue.impedance for tissue in TISSUES.values()], np.float32)
LOSS = np.array([tissue.loss for tissue in TISSUES.values()], np.float32)
