"""The bundled presets: one JSON file each in this folder, read by `load_preset`."""

from FetusMapV2Lib.training.preset import Preset, list_presets, load_preset, preset_names

__all__ = ["Preset", "list_presets", "load_preset", "preset_names"]
