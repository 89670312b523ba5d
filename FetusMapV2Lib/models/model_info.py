"""The description in a model file; every value is checked before anything is built from it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, get_args

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.core.json_files import field as json_field
from FetusMapV2Lib.models.older_files import fields_from_preset
from FetusMapV2Lib.network.normalisation import Normalisation
from FetusMapV2Lib.network.unet import PAPER_WIDTHS

#: How landmarks are decoded: each heatmap by its own peak, or arms and legs as wholes (`estimation.limb_decoding`).
Decoding = Literal["peaks", "limbs"]
#: What online refinement may move (Eq. 10): the refined set of the schema, or arms and legs.
RefinedLandmarks = Literal["trunk", "limbs"]
NOTICE = "Research use only."
NOTICE_SIMULATED = "Research use only; trained on simulated volumes."
NOTICE_MIXED = "Research use only; trained in part on simulated volumes."
#: Bounds that no trained network exceeds; building a larger one could take all memory.
_MOST_LEVELS, _WIDEST, _MOST_VOXELS, _MOST_ITEMS = 8, 4096, 2**27, 256
#: Of stored weights.
PRECISIONS = ("float32", "float16", "int8")
_VIEWS = ({"whole"}, {"close"}, {"whole", "close"}, {"whole", "close", "tight"}, {"patch"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: The remedy for a damaged model file.
FETCH_AGAIN = "Fetch or export the file again"


@dataclass(frozen=True)
class ModelInfo:
    """The description in a model file: plain JSON values.

    Attributes:
        name: short name.
        network: the description that `build_network` understands.
        input_size: (K, J, I) voxels of the network's grid.
        sigma: of the Gaussian heatmaps, voxels.
        views: views it was trained on: "whole" and perhaps "close", with both perhaps "tight", or "patch" alone.
        patch_spacing_mm: voxel size of patches, None where there are none.
        decoding: how landmarks are read from the heatmaps.
        anonymous_sides: whether either map of a pair may hold either limb, as after training with the Pair Loss; the
            geometry names the sides.
        refined_landmarks: which landmarks online refinement may move.
        normalisation: how grey values are brought to the range that the network was trained with.
        preset: the training recipe, for information.
        training: cases, steps, seed, duration, commands.
        weights: "float32", "float16" or "int8", as stored.
        evaluation: its own table on held-out cases.
        licence, notice: shown with its results.
    """

    name: str
    network: dict[str, Any]
    input_size: tuple[int, int, int]
    sigma: float
    views: tuple[str, ...] = ("whole",)
    patch_spacing_mm: float | None = None
    decoding: Decoding = "peaks"
    anonymous_sides: bool = False
    refined_landmarks: RefinedLandmarks = "trunk"
    normalisation: Normalisation = "bright-end"
    preset: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    weights: str = "float32"
    licence: str = "Apache-2.0"
    notice: str = NOTICE


def info_from(header: Mapping[str, Any], where: str | os.PathLike[str]) -> ModelInfo:
    """The description in a model file's header, all of its values in their range.

    Args:
        header: plain JSON values.
        where: the file, for messages.

    Raises:
        ModelError: something is missing, of another kind or out of range.
    """
    reader = _Reader(dict(header), where)
    network = reader.get("network", dict)
    reader.check_network(network)
    views = reader.get("views", list)
    if not all(isinstance(view, str) for view in views) or len(set(views)) != len(views) or set(views) not in _VIEWS:
        reader.refuse("views must be whole, close or both, both and tight, or patch")
    preset = reader.get("preset", dict, {})
    if not isinstance(preset.get("refinement", {}), dict):
        reader.refuse("preset.refinement must be an object")
    older = fields_from_preset(preset)
    return ModelInfo(
        name=reader.text("name", None, 200),
        network=network,
        input_size=reader.input_size(),
        sigma=reader.number("sigma", 0.01, 100.0),
        views=tuple(views),
        patch_spacing_mm=reader.patch_spacing("patch" in views),
        decoding=reader.choice("decoding", get_args(Decoding), older["decoding"]),
        anonymous_sides=reader.get("anonymous_sides", bool, older["anonymous_sides"]),
        refined_landmarks=reader.choice("refined_landmarks", get_args(RefinedLandmarks), older["refined_landmarks"]),
        normalisation=reader.choice("normalisation", get_args(Normalisation), older["normalisation"]),
        preset=preset,
        training=reader.get("training", dict, {}),
        evaluation=reader.get("evaluation", dict, {}),
        weights=reader.choice("weights", PRECISIONS, "float32"),
        licence=reader.text("licence", "Apache-2.0", 2000),
        notice=reader.text("notice", NOTICE, 2000),
    )


class _Reader:
    """Reads checked values from a header."""

    def __init__(self, header: dict[str, Any], where: str | os.PathLike[str]) -> None:
        self._header = header
        self._where = where

    def refuse(self, problem: str) -> NoReturn:
        raise ModelError(
            f"the model's description is incomplete or wrong ({problem})", where=self._where, remedy=FETCH_AGAIN
        )

    def get(self, key: str, kind: type[Any], default: Any = None) -> Any:
        try:
            options = {} if default is None else {"default": default}
            return json_field(self._header, key, kind, error=ModelError, **options)
        except ModelError as error:
            self.refuse(error.problem)

    def number(self, key: str, least: float, most: float) -> float:
        value = float(self.get(key, float))
        if not least <= value <= most:
            self.refuse(f"{key} must lie in {least:g}-{most:g}")
        return value

    def choice(self, key: str, known: tuple[str, ...], default: str) -> Any:
        value = self.get(key, str, default)
        if value not in known:
            self.refuse(f"{key} must be {' or '.join(known)}")
        return value

    def patch_spacing(self, needed: bool) -> float | None:
        key = "patch_spacing_mm"
        return self.number(key, 0.01, 100.0) if needed or self._header.get(key) is not None else None

    def text(self, key: str, default: str | None, most: int) -> str:
        value = str(self.get(key, str, default))
        if len(value) > most or _CONTROL.search(value):
            self.refuse(f"{key} must be one line of at most {most} characters")
        return value

    def input_size(self) -> tuple[int, int, int]:
        size = self.get("input_size", list)
        if len(size) != 3 or not all(type(n) is int and n > 0 for n in size) or math.prod(size) > _MOST_VOXELS:
            self.refuse(f"input_size must be three whole numbers of at most {_MOST_VOXELS} voxels")
        multiple = 2 ** (len(self._header["network"].get("widths", PAPER_WIDTHS)) - 1)
        if any(n % multiple for n in size):
            self.refuse(f"input_size must be multiples of {multiple}")
        return size[0], size[1], size[2]

    def check_network(self, network: dict[str, Any]) -> None:
        """Refuse a network too large to build, or with another number of heatmaps than there are landmarks."""
        widths = network.get("widths", list(PAPER_WIDTHS))
        if not isinstance(widths, list) or not 2 <= len(widths) <= _MOST_LEVELS:
            self.refuse(f"network.widths must be 2-{_MOST_LEVELS} numbers")
        if not all(_is_whole(width, 1, _WIDEST) for width in widths):
            self.refuse(f"network.widths must lie in 1-{_WIDEST}")
        count = default_schema().count
        for key, default, least, most in (
            ("in_channels", 1, 1, 1),
            ("landmarks", count, count, count),
            ("part_channels", 1, 1, _MOST_ITEMS),
            ("boosted_level", 0, 0, _MOST_LEVELS),
        ):
            if not _is_whole(network.get(key, default), least, most):
                self.refuse(f"network.{key} must be {least if least == most else f'{least}-{most}'}")
        if not isinstance(network.get("coordinates", False), bool):
            self.refuse("network.coordinates must be true or false")
        edges = network.get("edges", [])
        if not isinstance(edges, list) or len(edges) > _MOST_ITEMS or not all(map(_is_edge, edges)):
            self.refuse("network.edges must be pairs of rows")
        self._check_reversible(network.get("reversible"))

    def _check_reversible(self, reversible: Any) -> None:
        if reversible is None or reversible == {}:
            return
        if not isinstance(reversible, dict):
            self.refuse("network.reversible must be an object")
        passes = reversible.get("passes")
        if not isinstance(passes, list) or not all(isinstance(path, str) for path in passes[:_MOST_ITEMS]):
            self.refuse("network.reversible.passes must be names")
        if len(passes) > _MOST_ITEMS:
            self.refuse("network.reversible.passes are too many")
        if not all(_is_whole(reversible.get(key), 1, 8) for key in ("couplings", "depth")):
            self.refuse("network.reversible.couplings and depth must lie in 1-8")


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_edge(value: Any) -> bool:
    count = default_schema().count
    return isinstance(value, list) and len(value) == 2 and all(_is_whole(row, 0, count - 1) for row in value)
