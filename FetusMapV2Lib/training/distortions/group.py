"""`Distortions`: all of them as a group of a preset, in the order in which a picture comes about."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from FetusMapV2Lib.training.distortions.field_of_view import FieldOfView
from FetusMapV2Lib.training.distortions.fields import BiasField, BlobShadow, DepthBands, WedgeShadow
from FetusMapV2Lib.training.distortions.greys import BlackLevel, Gain, GreyCurve, Haze, SCurve
from FetusMapV2Lib.training.distortions.picture import Distortion, Picture
from FetusMapV2Lib.training.distortions.sharpness import Blur, CoarseAxis, Despeckle, Noise, Speckle
from FetusMapV2Lib.training.distortions.surroundings import FillValue, Marks, Surroundings
from FetusMapV2Lib.training.preset_options import Checked


@dataclass(frozen=True)
class Distortions(Checked):
    """Random changes of a picture before its grey values are normalised, in this order; by default there are none.

    Attributes:
        share: of the samples that may be distorted; the others stay as they are.
    """

    share: float = 1.0
    field_of_view: FieldOfView = field(default_factory=FieldOfView)
    surroundings: Surroundings = field(default_factory=Surroundings)
    wedge_shadow: WedgeShadow = field(default_factory=WedgeShadow)
    blob_shadow: BlobShadow = field(default_factory=BlobShadow)
    speckle: Speckle = field(default_factory=Speckle)
    blur: Blur = field(default_factory=Blur)
    coarse_axis: CoarseAxis = field(default_factory=CoarseAxis)
    bias_field: BiasField = field(default_factory=BiasField)
    depth_bands: DepthBands = field(default_factory=DepthBands)
    haze: Haze = field(default_factory=Haze)
    noise: Noise = field(default_factory=Noise)
    despeckle: Despeckle = field(default_factory=Despeckle)
    grey_curve: GreyCurve = field(default_factory=GreyCurve)
    s_curve: SCurve = field(default_factory=SCurve)
    gain: Gain = field(default_factory=Gain)
    black_level: BlackLevel = field(default_factory=BlackLevel)
    marks: Marks = field(default_factory=Marks)
    fill_value: FillValue = field(default_factory=FillValue)

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        return {"distortions.share must lie in 0-1": 0 <= self.share <= 1}

    @property
    def active(self) -> bool:
        """Whether there are any."""
        largest = max(self.field_of_view.probability, *(one.probability for one in self._of_pictures()))
        return self.share > 0 and largest > 0

    def applied(self, picture: Picture, draw: np.random.Generator) -> Picture:
        """The picture after those changes that were drawn; the field of view was chosen before it was sampled."""
        for distortion in self._of_pictures():
            if draw.random() < distortion.probability:
                picture = distortion.applied(picture, draw)
        return picture

    def _of_pictures(self) -> list[Distortion]:
        values = (getattr(self, one.name) for one in dataclasses.fields(self))
        return [value for value in values if isinstance(value, Distortion)]
