"""The point spread function of a pulse from an aperture, by Fourier transforms of its pupil."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sector import Sector

Array = NDArray[np.floating]
SOUND = 1.54  # mm / us


@dataclass(frozen=True)
class Probe:
    """Of a transducer.

    Attributes:
        frequency: centre frequency in MHz.
        cycles: length of the pulse's envelope in periods (full width at half maximum).
        width, height: active aperture along the array and across it, in mm.
        focus, lens: depth of the transmitted focus and of the elevational lens, in mm.
        window: 0 = the aperture is used evenly, 1 = weighed down to nothing at its edges (less side lobes).
    """

    frequency: float
    cycles: float
    width: float
    height: float
    focus: float
    lens: float
    window: float

    @property
    def wavelength(self) -> float:
        """In mm."""
        return SOUND / self.frequency


def draw_probe(random: np.random.Generator, depth: float) -> Probe:
    """A convex volume probe of 3.5-7 MHz."""
    return Probe(
        frequency=float(random.uniform(3.8, 7.0)),
        cycles=float(random.uniform(1.6, 3.0)),
        width=float(random.uniform(14, 24)),
        height=float(random.uniform(9, 14)),
        focus=float(random.uniform(0.35, 0.75) * depth),
        lens=float(random.uniform(0.45, 0.75) * depth),
        window=float(random.uniform(0.2, 0.9)),
    )


def pupil_response(probe: Probe, aperture: float, depth: float, focus: float, offsets: Array) -> Array:
    """Complex field at sideways `offsets` (N,) in mm at a depth, of an aperture (mm) focused at `focus` mm.

    The Fresnel integral over the pupil: weight times exp(i pi x^2 / wavelength (1 / depth - 1 / focus)), transformed
    at spatial frequencies offset / (wavelength depth) (Goodman, Introduction to Fourier Optics, chapter 5).
    """
    places = (np.arange(256) + 0.5) / 256 - 0.5
    weight = 1 - probe.window * (1 - np.cos(np.pi * places) ** 2)
    metres = places * aperture
    curvature = np.pi * metres**2 / probe.wavelength * (1 / depth - 1 / focus)
    waves = np.exp(-2j * np.pi * np.outer(offsets, metres) / (probe.wavelength * depth))
    return np.asarray(waves @ (weight * np.exp(1j * curvature)) / weight.sum())


def sideways_kernels(probe: Probe, sector: Sector, depth: float, steps: tuple[float, float]) -> tuple[Array, Array]:
    """Two-way kernels at a depth along the angle in the plane and along the sweep; `steps` in radians.

    Reception in the plane is focused everywhere, transmission at one depth; the lens has one focus both ways.
    """
    near = max(depth, 8.0)
    arms = sector.curve + depth, sector.swing + depth
    kernels = []
    for step, arm, plane in zip(steps, arms, (True, False), strict=True):
        half = int(
            np.clip(
                np.ceil(3.2 * probe.wavelength * near / (probe.width if plane else probe.height) / (step * arm)), 3, 11
            )
        )
        offsets = np.arange(-half, half + 1) * step * arm
        size = probe.width if plane else probe.height
        size = min(size, near * 0.6)
        sent = pupil_response(probe, size, near, probe.focus if plane else probe.lens, offsets)
        heard = pupil_response(probe, size, near, near if plane else probe.lens, offsets)
        kernel = sent * heard
        kernels.append((kernel / np.sqrt(np.sum(np.abs(kernel) ** 2))).astype(np.complex64))
    return kernels[0], kernels[1]


def pulse(probe: Probe, step: float) -> Array:
    """Envelope of the two-way pulse along the depth, sampled every `step` mm, of unit energy."""
    width = probe.cycles * probe.wavelength / 2
    spread = max(width / 2.355, 0.45 * step)
    half = int(np.ceil(3 * spread / step))
    offsets = np.arange(-half, half + 1) * step
    kernel = np.exp(-(offsets**2) / (2 * spread**2)) * (1 + 0.25 * np.tanh(offsets / spread))
    return np.asarray(kernel / np.sqrt(np.sum(kernel**2)), np.float32)
