"""Drawing on a picture: text, lines and panels with soft edges, on a (height, width, 3) uint8 array.

Coordinates are pixels, x to the right, y down. Text is set by VTK's own font, so that it looks the same everywhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkIOImage import vtkPNGWriter
from vtkmodules.vtkRenderingCore import vtkTextProperty, vtkTextRenderer

from FetusMapV2Lib.scene.node_names import printable

Image = NDArray[np.uint8]
Colour = tuple[float, float, float]
Point = tuple[float, float]

_DPI = 72


class Canvas:
    """A picture to draw on.

    Attributes:
        pixels: (height, width, 3) uint8.
    """

    def __init__(self, width: int, height: int, background: Colour) -> None:
        self.pixels: Image = np.empty((height, width, 3), dtype=np.uint8)
        self.pixels[:] = _bytes(background)

    def paste(self, image: Image, x: int, y: int) -> None:
        """Put an image with its top left corner at (x, y)."""
        height, width, _ = image.shape
        self.pixels[y : y + height, x : x + width] = image

    def box(self, x: float, y: float, width: float, height: float, colour: Colour, opacity: float = 1.0) -> None:
        """A filled rectangle."""
        x0, y0, x1, y1 = (round(value) for value in (x, y, x + width, y + height))
        part = self.pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
        _blend(part, np.full(part.shape[:2], opacity), colour)

    def line(self, start: Point, end: Point, colour: Colour, width: float = 1.5, opacity: float = 1.0) -> None:
        """A straight line with round ends."""
        height, breadth, _ = self.pixels.shape
        margin = width + 1
        x0, x1 = sorted((start[0], end[0]))
        y0, y1 = sorted((start[1], end[1]))
        left, right = max(int(x0 - margin), 0), min(int(x1 + margin) + 1, breadth)
        top, bottom = max(int(y0 - margin), 0), min(int(y1 + margin) + 1, height)
        if left >= right or top >= bottom:
            return
        y, x = np.mgrid[top:bottom, left:right].astype(float)
        dx, dy = end[0] - start[0], end[1] - start[1]
        along = ((x - start[0]) * dx + (y - start[1]) * dy) / max(dx * dx + dy * dy, 1e-9)
        along = np.clip(along, 0, 1)
        distance = np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)
        _blend(self.pixels[top:bottom, left:right], opacity * np.clip(width / 2 + 0.5 - distance, 0, 1), colour)

    def dot(self, centre: Point, colour: Colour, diameter: float) -> None:
        """A filled circle."""
        self.line(centre, centre, colour, diameter)

    def text(
        self, x: float, y: float, text: str, colour: Colour, size: int, *, bold: bool = False, align: str = "left"
    ) -> None:
        """One line of text, vertically centred on y; `align` says which end of it is at x (left, centre, right)."""
        cover = text_mask(text, size, bold)
        height, width = cover.shape
        left = round(x - {"left": 0.0, "centre": width / 2, "right": float(width)}[align])
        top = round(y - height / 2)
        left = min(max(left, 0), self.pixels.shape[1] - width)
        top = min(max(top, 0), self.pixels.shape[0] - height)
        _blend(self.pixels[top : top + height, left : left + width], cover, colour)

    def png(self) -> bytes:
        """The picture as PNG."""
        height, width, _ = self.pixels.shape
        image = vtkImageData()
        image.SetDimensions(width, height, 1)
        flat = np.ascontiguousarray(self.pixels[::-1]).reshape(-1, 3)
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
        writer = vtkPNGWriter()
        writer.SetInputData(image)
        writer.WriteToMemoryOn()
        writer.Write()
        return bytes(numpy_support.vtk_to_numpy(writer.GetResult()).tobytes())


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Width of a line of text in pixels."""
    return int(text_mask(text, size, bold).shape[1])


@lru_cache(maxsize=512)
def text_mask(text: str, size: int, bold: bool = False) -> NDArray[Any]:
    """Coverage 0..1 of a line of text, (height, width); the height depends on the size alone."""
    renderer = vtkTextRenderer.GetInstance()
    style = vtkTextProperty()
    style.SetFontFamilyToArial()
    style.SetFontSize(size)
    style.SetBold(bold)
    style.SetColor(1.0, 1.0, 1.0)
    text = printable(text)
    if not text:
        return np.zeros((round(size * 1.3), 1))
    # Brackets before and behind give every line the same height and baseline; they are cut off again.
    framed = _rendered(renderer, style, f"[ {text} ]")
    inked = np.flatnonzero(framed.max(axis=0) > 0)
    gaps = np.flatnonzero(np.diff(inked) > 1)
    if len(gaps) < 2:
        return np.zeros((round(size * 1.3), 1))
    return framed[:, inked[gaps[0] + 1] : inked[gaps[-1]] + 1]


def _rendered(renderer: Any, style: Any, text: str) -> NDArray[Any]:
    image = vtkImageData()
    size = [0, 0]
    # A dollar sign would start a formula and a bar a column; file names may hold them.
    plain = text.replace("$", "\\$").replace("|", "\u00a6")
    if not renderer.RenderString(style, plain, image, size, _DPI):
        return np.zeros((1, 1))
    width, height, _ = image.GetDimensions()
    pixels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
    return np.asarray(pixels[: size[1], : size[0], 3][::-1] / 255.0)


def _bytes(colour: Colour) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * np.asarray(colour)), dtype=np.uint8)


def _blend(part: Image, cover: NDArray[Any], colour: Colour) -> None:
    """Mix a colour into part of the picture, in place."""
    ink = 255.0 * np.asarray(colour)
    part[:] = np.rint(part * (1 - cover[..., None]) + ink * cover[..., None]).astype(np.uint8)
