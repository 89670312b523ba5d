"""A second ultrasound image of a tissue map, on purpose another one: it shares no image code with `ultrasound`.

It works on voxels instead of beams: a point spread that widens with depth, scattering of K statistics, rays from a
virtual apex for losses and edge shadows, mirror echoes, clutter, time-gain bands, persistence and the speckle reduction
of three kinds of machines. Its tables of brightness and loss are its own. What a network learns from one of the two is
tried on the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from FetusMapV2Lib.phantom.tissues import Tissue

#: Mean brightness in dB below the brightest soft tissue, and loss in dB/mm at 4 MHz, two ways.
_TISSUES: dict[Tissue, tuple[float, float]] = {
    Tissue.OUTSIDE: (-90, 0.0), Tissue.FLUID: (-48, 0.002), Tissue.MATERNAL: (-4, 0.4),
    Tissue.UTERINE_WALL: (-7, 0.45), Tissue.PLACENTA: (-2, 0.38), Tissue.MEMBRANE: (-6, 0.3),
    Tissue.EXTRA_FLUID: (-36, 0.01), Tissue.SKIN: (-5, 0.5), Tissue.SOFT: (-10, 0.35), Tissue.MUSCLE: (-13, 0.5),
    Tissue.BONE: (6, 3.0), Tissue.CARTILAGE: (-19, 0.7), Tissue.BRAIN: (-21, 0.3), Tissue.VENTRICLE: (-42, 0.01),
    Tissue.CHOROID: (1, 0.35), Tissue.FALX: (0, 0.4), Tissue.ORBIT: (-40, 0.02), Tissue.LENS: (-9, 0.5),
    Tissue.HEART: (-11, 0.45), Tissue.BLOOD: (-37, 0.12), Tissue.LUNG: (-6, 0.5), Tissue.LIVER: (-9, 0.4),
    Tissue.BOWEL: (1, 0.45), Tissue.STOMACH: (-44, 0.01), Tissue.BLADDER: (-46, 0.01), Tissue.KIDNEY: (-8, 0.4),
    Tissue.CORD: (-8, 0.2), Tissue.YOLK_SAC: (0, 0.3), Tissue.SPINAL_CORD: (-22, 0.3), Tissue.BOUNDARY: (3, 0.4),
}  # fmt: skip
_RAY_MM = 1.6
_DEPTHS = 3  # widths of the point spread that are blended


@dataclass(frozen=True)
class Machine:
    """The settings of one examination with this former.

    Attributes:
        name: kind of machine, one of `MACHINES`.
        frequency_mhz: losses grow with it, the point spread shrinks.
        pulse_mm: standard deviation of the point spread along the axis of the map nearest to the beam.
        beam_mm: the same across it, at the focus.
        spread: relative growth of the latter per 50 mm beyond the focus.
        scatterers: shape of the gamma distribution of scattered power; small = few scatterers, spotted tissue.
        mirror: amplitude of mirror echoes of strong interfaces.
        clutter_db: of the blurred surroundings, relative to them.
        edges: loss in dB behind edges along the beam.
        range_db: that is shown.
        floor_db: electronic noise below the brightest tissue.
        bands_db: (8,) of time-gain bands from near to far.
        frames: averaged by persistence, each shifted by `motion_mm`.
        motion_mm: movement between frames.
        smoothing: "median", "diffusion" or "none": speckle reduction.
        curve: exponent of the S-shaped display curve.
        opening: half angle of the field of view, radians.
    """

    name: str
    frequency_mhz: float = 4.0
    pulse_mm: float = 0.45
    beam_mm: float = 0.8
    spread: float = 0.7
    scatterers: float = 2.0
    mirror: float = 0.15
    clutter_db: float = -22.0
    edges: float = 2.0
    range_db: float = 55.0
    floor_db: float = -46.0
    bands_db: tuple[float, ...] = (0.0,) * 8
    frames: int = 1
    motion_mm: float = 0.3
    smoothing: str = "none"
    curve: float = 1.0
    opening: float = 0.7


MACHINES = {
    "grainy": Machine("grainy", scatterers=0.9, beam_mm=1.0, range_db=62.0, clutter_db=-19.0, floor_db=-42.0),
    "smooth": Machine("smooth", frames=3, smoothing="diffusion", range_db=50.0, curve=1.4, clutter_db=-21.0),
    "harmonic": Machine(
        "harmonic", frequency_mhz=6.0, pulse_mm=0.35, beam_mm=0.65, clutter_db=-30.0, floor_db=-40.0, mirror=0.05,
        smoothing="median", range_db=46.0,
    ),
}  # fmt: skip


def draw_machine(generator: torch.Generator, name: str | None = None) -> Machine:
    """A machine of one kind, or of any, with settings around those of its kind."""

    def around(value: float, share: float) -> float:
        return value * (1 + share * (2 * float(torch.rand((), generator=generator)) - 1))

    names = list(MACHINES)
    kind = MACHINES[name or names[int(torch.randint(len(names), (), generator=generator))]]
    bands = (2.5 * torch.randn(8, generator=generator)).tolist()
    return replace(
        kind,
        frequency_mhz=around(kind.frequency_mhz, 0.25),
        pulse_mm=around(kind.pulse_mm, 0.2),
        beam_mm=around(kind.beam_mm, 0.25),
        scatterers=around(kind.scatterers, 0.4),
        clutter_db=kind.clutter_db + 4 * (2 * float(torch.rand((), generator=generator)) - 1),
        range_db=around(kind.range_db, 0.15),
        floor_db=kind.floor_db + 4 * (2 * float(torch.rand((), generator=generator)) - 1),
        bands_db=tuple(bands),
        curve=around(kind.curve, 0.25),
        opening=around(kind.opening, 0.2),
    )


@torch.no_grad()
def form_image(tissue_map: Tensor, spacing_mm: float, machine: Machine, generator: torch.Generator) -> Tensor:
    """The 8-bit image of a tissue map.

    Args:
        tissue_map: labels of `tissues.Tissue`, uint8 [k, j, i].
        spacing_mm: isotropic voxel size.
        machine: see `draw_machine`.
        generator: source of randomness, on any device; it also draws from where the volume is looked at.

    Returns:
        uint8 [k, j, i] on the map's device, 0 outside the field of view.
    """
    scene = _Scene.of(tissue_map, spacing_mm, machine, generator)
    brightness = _tissue_levels(tissue_map.long(), generator)
    level = brightness - scene.losses_db(tissue_map, machine)
    amplitude = _with_mirrors(10 ** (level / 20), tissue_map, scene, machine)
    amplitude = _with_clutter(amplitude, spacing_mm, machine)
    echo = _persistent_speckle(amplitude, scene, spacing_mm, machine, generator)
    floor = 10 ** (machine.floor_db / 20) * _noise(echo.shape, generator, echo.device).abs()
    grey = _displayed(20 * torch.log10(echo + floor + 1e-6) + scene.gain_db(machine), machine)
    grey = _reduced_speckle(grey, machine)
    image = (255 * grey).round().clamp(1, 255).to(torch.uint8)
    image[~scene.seen(machine)] = 0
    return image


@dataclass(frozen=True, eq=False)
class _Scene:
    """Where voxels lie as seen from the apex of the rays.

    Attributes:
        apex: (3,) mm (k, j, i) from the centre of the map.
        towards: (3,) unit vector of the central ray.
        place: (3, k, j, i) from the apex, mm.
        depth: distance from the apex, less that of the transducer's face.
        face_mm: distance of the face from the apex.
        axis: axis of the map nearest to the central ray.
        spacing: voxel size, mm.
    """

    apex: Tensor
    towards: Tensor
    place: Tensor
    depth: Tensor
    face_mm: float
    axis: int
    spacing: float

    @classmethod
    def of(cls, labels: Tensor, spacing: float, machine: Machine, generator: torch.Generator) -> _Scene:
        axis = int(torch.randint(3, (), generator=generator))
        sign = 1.0 if torch.rand((), generator=generator) < 0.5 else -1.0
        towards = 0.15 * torch.randn(3, generator=generator)
        towards[axis] = sign
        towards = towards / towards.norm()
        extent = torch.tensor(labels.shape) * spacing
        face = 25.0 + 30.0 * float(torch.rand((), generator=generator))
        apex = -towards * (float(extent[axis]) / 2 + face)
        axes = [(torch.arange(n, device=labels.device) - (n - 1) / 2) * spacing - apex[a] for a, n in
                enumerate(labels.shape)]  # fmt: skip
        place = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        return cls(apex, towards.to(labels.device), place, place.norm(dim=0) - face, face, axis, spacing)

    def losses_db(self, labels: Tensor, machine: Machine) -> Tensor:
        """What attenuation and edges have taken on the way to each voxel and back, less the mean at its depth."""
        table = torch.tensor([_TISSUES[tissue][1] for tissue in Tissue], device=labels.device)
        loss = table[labels.long()] * (machine.frequency_mhz / 4.0)
        impedance = torch.tensor([_TISSUES[tissue][0] / 20 for tissue in Tissue], device=labels.device)[labels.long()]
        across = [a for a in range(3) if a != self.axis]
        edge = torch.stack([torch.gradient(impedance, dim=a)[0].abs() for a in across]).amax(dim=0)
        loss = loss + machine.edges * (edge > 0.5).float() * 0.25
        passed = self._along_rays(loss)
        usual = 0.55 * 0.4 * machine.frequency_mhz / 4.0 * self.depth.clamp_min(0)  # what the gain gives back
        return passed - usual

    def _along_rays(self, per_mm: Tensor) -> Tensor:
        """The integral of a quantity from the face to each voxel, by sampling it along rays."""
        longest = float(self.depth.max())
        steps = max(8, math.ceil(longest / _RAY_MM))
        small = F.avg_pool3d(per_mm[None, None], 2) if min(per_mm.shape) >= 4 else per_mm[None, None]
        coarse = [max(2, round(n * self.spacing / (2 * _RAY_MM))) for n in per_mm.shape]
        targets = F.interpolate(self.place[None], size=coarse, mode="trilinear", align_corners=True)[0]
        far = targets.norm(dim=0).clamp_min(1e-3)
        half = torch.tensor([(n - 1) / 2 * self.spacing for n in per_mm.shape], device=per_mm.device)
        apex = self.apex.to(per_mm.device)
        total = torch.zeros(coarse, device=per_mm.device)
        for step in range(steps):
            share = (step + 0.5) / steps
            reach = self.face_mm + share * (far - self.face_mm)
            point = (targets / far * reach).permute(1, 2, 3, 0) + apex
            grid = (point / half).flip(-1)
            found = F.grid_sample(small, grid[None], mode="bilinear", padding_mode="zeros", align_corners=True)[0, 0]
            total += found * (far - self.face_mm).clamp_min(0) / steps
        return F.interpolate(total[None, None], size=tuple(per_mm.shape), mode="trilinear", align_corners=True)[0, 0]

    def gain_db(self, machine: Machine) -> Tensor:
        """Of the time-gain bands, piecewise linear over depth."""
        bands = torch.tensor(machine.bands_db, device=self.depth.device)
        place = (self.depth / float(self.depth.max().clamp_min(1.0))).clamp(0, 1) * (len(bands) - 1)
        low = place.floor().long().clamp(max=len(bands) - 2)
        return torch.lerp(bands[low], bands[low + 1], place - low)

    def seen(self, machine: Machine) -> Tensor:
        """Which voxels lie in the sector."""
        along: Tensor = torch.tensordot(self.towards, self.place, dims=1)
        in_sector: Tensor = along > math.cos(machine.opening) * self.place.norm(dim=0)
        return in_sector & (self.depth > 0)


def _tissue_levels(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness in dB with a patient's own deviations and a slow variation within tissues."""
    table = torch.tensor([_TISSUES[tissue][0] for tissue in Tissue], dtype=torch.float32)
    own = 2.5 * torch.randn(len(table), generator=generator)
    coarse = torch.randn((1, 1, 7, 7, 7), generator=generator, device=generator.device).to(labels.device)
    slow = F.interpolate(coarse, size=tuple(labels.shape), mode="trilinear", align_corners=True)[0, 0]
    return (table + own).to(labels.device)[labels] + 1.8 * slow


def _with_mirrors(amplitude: Tensor, labels: Tensor, scene: _Scene, machine: Machine) -> Tensor:
    """Weak copies of bright interfaces some millimetres farther along the axis nearest to the beam."""
    if machine.mirror <= 0:
        return amplitude
    bright = amplitude * (labels == int(Tissue.BONE)).float() + amplitude * (labels == int(Tissue.BOUNDARY)).float()
    shift = max(1, round(6.0 / scene.spacing))
    direction = 1 if float(scene.towards[scene.axis]) > 0 else -1
    moved = torch.roll(bright, direction * shift, dims=scene.axis)
    return amplitude + machine.mirror * moved


def _with_clutter(amplitude: Tensor, spacing: float, machine: Machine) -> Tensor:
    """Side lobes: a broad blur of everything, far below it."""
    factor = max(1, round(4.0 / spacing))
    small = F.avg_pool3d(amplitude[None, None], factor, ceil_mode=True)
    broad = F.interpolate(small, size=tuple(amplitude.shape), mode="trilinear", align_corners=False)[0, 0]
    return amplitude + 10 ** (machine.clutter_db / 20) * broad


def _persistent_speckle(
    amplitude: Tensor, scene: _Scene, spacing: float, machine: Machine, generator: torch.Generator
) -> Tensor:
    """The mean of some frames of the echo envelope, while the patient moves a little."""
    shape = amplitude.shape
    strength = amplitude * _gamma_root(shape, machine.scatterers, generator, amplitude.device)
    field = [_noise(shape, generator, amplitude.device) for _ in range(2)]
    total = torch.zeros_like(amplitude)
    for frame in range(machine.frames):
        shift = round(frame * machine.motion_mm / spacing)
        across = (scene.axis + 1) % 3
        parts = [_through_point_spread(strength * torch.roll(part, shift, dims=across), scene, spacing, machine)
                 for part in field]  # fmt: skip
        total += (parts[0].square() + parts[1].square()).sqrt()
    return total / machine.frames


def _gamma_root(shape: torch.Size, order: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Square root of scattered power of unit mean that varies as a gamma law of this order does.

    Drawn from a Weibull law, which has a spread near that of the gamma law and costs one number for each voxel.
    """
    uniform = torch.rand(tuple(shape), generator=generator, device=generator.device).to(device).clamp_min(1e-6)
    exponential = -uniform.log()
    power = 1.0 / math.sqrt(max(order, 0.3))
    drawn = exponential**power
    return (drawn / math.gamma(1 + power)).sqrt()


def _through_point_spread(echo: Tensor, scene: _Scene, spacing: float, machine: Machine) -> Tensor:
    """Blurred along the beam by the pulse, across it by a beam that widens away from the focus."""
    echo = _blur(echo, scene.axis, machine.pulse_mm * (4.0 / machine.frequency_mhz) / spacing)
    deepest = float(scene.depth.max())
    place = (scene.depth / max(deepest, 1.0)).clamp(0, 1) * (_DEPTHS - 1)
    result = torch.zeros_like(echo)
    for number in range(_DEPTHS):
        depth = deepest * number / (_DEPTHS - 1)
        width = machine.beam_mm * (1 + machine.spread * abs(depth - 0.5 * deepest) / 50.0) * 4.0 / machine.frequency_mhz
        blurred = echo
        for axis in range(3):
            if axis != scene.axis:
                blurred = _blur(blurred, axis, width / spacing)
        result += blurred * (1 - (place - number).abs()).clamp_min(0)
    return result


def _blur(image: Tensor, axis: int, sigma: float) -> Tensor:
    radius = max(1, math.ceil(2.5 * sigma))
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offsets / max(sigma, 0.05)) ** 2)
    weights = (kernel / kernel.square().sum().sqrt()).tolist()  # white noise keeps its variance
    ends = [image.narrow(axis, place, 1).repeat_interleave(radius, dim=axis) for place in (0, image.shape[axis] - 1)]
    wide = torch.cat((ends[0], image, ends[1]), dim=axis)
    result = torch.zeros_like(image)
    for start, weight in enumerate(weights):  # few taps: quicker than a convolution of long rows
        result.add_(wide.narrow(axis, start, image.shape[axis]), alpha=weight)
    return result


def _displayed(level_db: Tensor, machine: Machine) -> Tensor:
    """Greys 0-1: the range below the bright end, through an S-shaped curve."""
    sample = level_db.flatten()[:: max(1, level_db.numel() // 100_000)]
    top = float(torch.quantile(sample, 0.997))
    share = ((level_db - top) / machine.range_db + 1).clamp(0, 1)
    rising = share**machine.curve
    return rising / (rising + (1 - share).clamp_min(0) ** machine.curve).clamp_min(1e-6)


def _reduced_speckle(grey: Tensor, machine: Machine) -> Tensor:
    if machine.smoothing == "median":
        flat = F.pad(grey[None, None], (1, 1, 1, 1, 1, 1), mode="replicate")[0, 0]
        near = [flat[1:-1, 1:-1, 1:-1]]
        for axis in range(3):
            for start in (0, 2):
                place = [slice(1, -1)] * 3
                place[axis] = slice(start, start + grey.shape[axis])
                near.append(flat[tuple(place)])
        return torch.stack(near).median(dim=0).values
    if machine.smoothing == "diffusion":  # Perona and Malik, IEEE PAMI 12:629, 1990
        for _ in range(5):
            change = torch.zeros_like(grey)
            for axis in range(3):
                step = torch.diff(grey, dim=axis)
                flow = step * torch.exp(-((step / 0.12) ** 2))
                change.narrow(axis, 0, step.shape[axis]).add_(flow)
                change.narrow(axis, 1, step.shape[axis]).sub_(flow)
            grey = grey + 0.14 * change
        return grey
    return grey


def _noise(shape: torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=generator.device).to(device)
