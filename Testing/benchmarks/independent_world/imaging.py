"""From a scene to a volume: scatterers, beam, shadows, clutter, compression and scan conversion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, gaussian_filter, gaussian_filter1d, map_coordinates

from .beam import Probe, pulse, sideways_kernels
from .fields import Field, upsample
from .scene import Scene
from .sector import Sector
from .styles import Style, to_greys

_ZONES = 5
#: dB of enhancement behind fluid that automatic gain leaves.
_MOST_ENHANCED = 7.0
#: Millimetres between samples along a ray, and between rays at the middle of the depth; larger for coarse volumes.
_DEPTH_STEP, _RAY_GAP = 0.48, 1.0


@dataclass(frozen=True)
class Machine:
    """What is set at, or wrong with, a scan.

    Attributes:
        gain: dB above the style's own.
        tgc_errors: (4,) dB of wrong time-gain compensation at depths from near to far.
        lumps: shape parameter of the K distribution; low = few strong scatterers.
        loss_scale: attenuation over the usual one.
        refraction: dB lost per tangential edge.
        haze: dB of clutter above the style's own.
        lobes: dB of side lobes relative to the main lobe.
    """

    gain: float
    tgc_errors: tuple[float, ...]
    lumps: float
    loss_scale: float
    refraction: float
    haze: float
    lobes: float


def draw_machine(random: np.random.Generator) -> Machine:
    """Settings of one scan."""
    return Machine(
        gain=float(random.normal(0, 2.0)),
        tgc_errors=tuple(float(error) for error in random.normal(0, 2.0, 4)),
        lumps=float(random.uniform(1.0, 4.0)),
        loss_scale=float(random.uniform(0.45, 0.8)),
        refraction=float(random.uniform(2, 6)),
        haze=float(random.normal(0, 3.0)),
        lobes=float(random.uniform(-34, -24)),
    )


@dataclass(frozen=True, eq=False)
class Rays:
    """The polar grid of a scan: depths in mm, angles in the plane and of the sweep in radians."""

    depths: Field
    angles: Field
    sweeps: Field

    @classmethod
    def of(cls, sector: Sector, spacing: float) -> Rays:
        """A grid that resolves the beam, or what a volume of this spacing (mm) can show."""
        step, gap = max(_DEPTH_STEP, 0.53 * spacing), max(_RAY_GAP, 1.1 * spacing)
        middle = 0.6 * sector.depth
        counts = [
            int(2 * half * (middle + arm) / gap) + 2
            for half, arm in ((sector.width, sector.curve), (sector.sweep, sector.swing))
        ]
        return cls(
            np.arange(0, sector.depth, step, dtype=np.float32),
            np.linspace(-sector.width, sector.width, counts[0], dtype=np.float32),
            np.linspace(-sector.sweep, sector.sweep, counts[1], dtype=np.float32),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Depths, angles, sweeps."""
        return len(self.depths), len(self.angles), len(self.sweeps)

    @property
    def depth_step(self) -> float:
        """Between depths, mm."""
        return float(self.depths[1] - self.depths[0])

    @property
    def steps(self) -> tuple[float, float]:
        """Between angles and between sweeps, radians."""
        return float(self.angles[1] - self.angles[0]), float(self.sweeps[1] - self.sweeps[0])


def scan(
    scene: Scene,
    sector: Sector,
    probe: Probe,
    machine: Machine,
    style: Style,
    spacing: float,
    random: np.random.Generator,
) -> tuple[Field, Rays]:
    """Greys 0..255 on the polar grid of a scan, as fine as a volume of this spacing (mm) needs."""
    rays = Rays.of(sector, spacing)
    points = sector.points(rays.depths[:, None, None], rays.angles[None, :, None], rays.sweeps[None, None, :])
    index = scene.lattice.index(points.reshape(-1, 3).astype(np.float32)).astype(np.float32)
    echo, impedance, loss = (
        map_coordinates(field, index, order=order, mode="nearest").reshape(rays.shape)
        for field, order in ((scene.echo, 1), (scene.impedance, 1), (scene.loss, 0))
    )
    mirror, grazing = _edges(impedance)
    through = _transmission(loss * machine.loss_scale, grazing * machine.refraction, probe, machine, rays)
    power = np.zeros(rays.shape, np.float32)
    for _ in range(style.looks):
        power += np.abs(_received(echo * through, mirror * through, sector, probe, machine, rays, random)) ** 2
    envelope = _with_clutter(power / np.float32(style.looks), machine, style, rays, random)
    return to_greys(envelope, style, 1.0, machine.gain), rays


def _edges(impedance: Field) -> tuple[Field, Field]:
    """Reflection where the beam meets an edge squarely, and 0..1 where it grazes one."""
    smooth = gaussian_filter(np.log(impedance), 0.8)
    down, left, across = np.gradient(smooth)
    steep = np.sqrt(down * down + left * left + across * across) + 1e-6
    square = np.abs(down) / steep
    mirror = (40 * steep * square**3).astype(np.float32)
    grazing = np.clip(steep * 12, 0, 1) * (1 - square * square) ** 6
    return mirror, grazing.astype(np.float32)


def _transmission(loss: Field, grazing: Field, probe: Probe, machine: Machine, rays: Rays) -> Field:
    """Gain of echoes from every depth after time-gain compensation for the mean ray, with its errors."""
    lost = np.cumsum(loss, axis=0) * (0.2 * rays.depth_step * probe.frequency)
    lost = lost + np.cumsum(grazing, axis=0) * (rays.depth_step / 2.0)
    lost = gaussian_filter(lost.astype(np.float32), (0, 0.8, 0.8))
    usual = gaussian_filter1d(np.median(lost, axis=(1, 2)), 12, mode="nearest")
    knots = np.linspace(0, rays.depths[-1], len(machine.tgc_errors))
    gained = usual.astype(np.float32)[:, None, None] - lost
    gained = np.where(gained > 0, _MOST_ENHANCED * np.tanh(gained / _MOST_ENHANCED), gained)
    gained += np.interp(rays.depths, knots, machine.tgc_errors).astype(np.float32)[:, None, None]
    return np.asarray(10 ** (gained / 20), np.float32)


def _received(
    scattered: Field,
    mirrored: Field,
    sector: Sector,
    probe: Probe,
    machine: Machine,
    rays: Rays,
    random: np.random.Generator,
) -> NDArray[np.complex64]:
    """Complex echoes: grains of K statistics and smooth reflectors, through the beam of each zone."""
    shape = rays.shape
    half = tuple(-(-size // 2) for size in shape)
    lumps = np.sqrt(random.standard_gamma(machine.lumps, half, np.float32) / np.float32(machine.lumps))
    lumps = lumps.repeat(2, 0).repeat(2, 1).repeat(2, 2)[: shape[0], : shape[1], : shape[2]]
    grains = random.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0] * np.float32(0.7071)
    phase = np.complex64(0.5 * np.exp(1j * random.uniform(0, 2 * np.pi)))
    field = grains * (scattered * lumps) + (mirrored * (phase + 0.5 * grains)).astype(np.complex64)
    field = convolve1d(field, pulse(probe, rays.depth_step), axis=0, mode="nearest")
    centres = (np.arange(_ZONES) + 0.5) * rays.depths[-1] / _ZONES
    answer = np.zeros(shape, np.complex64)
    for number, centre in enumerate(centres):
        weight = np.clip(1 - np.abs(rays.depths - centre) / (centres[1] - centres[0]), 0, 1)
        if number in (0, _ZONES - 1):
            outer = rays.depths < centre if number == 0 else rays.depths > centre
            weight = np.where(outer, 1, weight)
        rows = np.flatnonzero(weight > 0)
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        plane, sweep = sideways_kernels(probe, sector, float(centre), rays.steps)
        blurred = convolve1d(convolve1d(field[part], plane, axis=1), sweep, axis=2)
        answer[part] += np.sqrt(weight[part]).astype(np.float32)[:, None, None] * blurred
    return answer


def _with_clutter(power: Field, machine: Machine, style: Style, rays: Rays, random: np.random.Generator) -> Field:
    """Envelope with side lobes, haze that is worst near the probe, reverberation and electronic noise."""
    coarse = power[::2, ::2, ::2]
    sideways = upsample(gaussian_filter(np.minimum(coarse, 30), (0.3, 2.5, 2.5)), rays.shape)
    wide = upsample(gaussian_filter(np.minimum(coarse, 8), (5, 4, 4)), rays.shape)
    depth = (rays.depths / rays.depths[-1])[:, None, None]
    haze = 10 ** ((style.haze + machine.haze) / 10) * (0.5 + 1.8 * np.exp(-depth * 5)) * (wide + np.float32(0.15))
    grain = random.standard_exponential(power.shape, np.float32)
    hiss = np.float32(10 ** (style.noise / 10)) * 10 ** (1.2 * (depth - 1)) * grain
    total = power + np.float32(10 ** (machine.lobes / 10)) * sideways + hiss
    total += haze * (0.5 + 0.5 * gaussian_filter(grain, 0.7))
    return np.asarray(np.sqrt(total), np.float32)


def scan_convert(
    greys: Field, rays: Rays, sector: Sector, points: Field, shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Greys at points (N, 3) as a volume [z, y, x]; 0 outside the field of view."""
    depth, angle, sweep = sector.polar(points)
    steps = rays.steps
    index = np.stack(
        [depth / rays.depth_step, (angle - rays.angles[0]) / steps[0], (sweep - rays.sweeps[0]) / steps[1]]
    )
    seen = (depth >= 0) & (depth < rays.depths[-1]) & (np.abs(angle) < sector.width) & (np.abs(sweep) < sector.sweep)
    values = np.zeros(len(points), np.float32)
    values[seen] = np.maximum(map_coordinates(greys, index[:, seen], order=1, mode="nearest"), 1)
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8).reshape(shape)
